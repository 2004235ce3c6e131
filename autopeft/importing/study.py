"""Results that were found elsewhere as the trials and the specification of a study.

Such a study has no data and no space: it can be looked at and warm-start a search, and nothing of
it can be trained. Several results of one configuration are its replicates.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autopeft.domain.architecture import Architecture, Configuration, canonical
from autopeft.domain.errors import StudyError
from autopeft.domain.methods.layer_sizes import size_field
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.objective import Objective
from autopeft.domain.space import Branch, Space
from autopeft.domain.study import Budget, Resources, SearchSettings, StudySpec
from autopeft.domain.trial import Rung, State, Trial
from autopeft.importing.found import Found
from autopeft.importing.values import module_values, recipe_values

_NOT_FIELDS = (
    *("peft_type", "auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version"),
    *("revision", "task_type"),
)
_OUTCOMES = {"ADALORA": ("rank_pattern", "total_step")}  # what a run wrote, not what it was given
_BYTES = 4  # of a stored parameter, where only bytes are known: PEFT keeps adapters in float32


def trials_of(
    found: Sequence[Found], shape: ModelShape, *, objectives: Sequence[Objective] = (), now: float
) -> tuple[list[Trial], list[str]]:
    """The results as completed trials, and why each of the others was left out.

    objectives: what each has to have; now: when they were imported, in seconds since the epoch.
    """
    trials: list[Trial] = []
    left_out: list[str] = []
    times: Counter[str] = Counter()
    for result in found:
        try:
            configuration = _configuration(result, shape)
            seed = times[configuration.key]
            known = _known(result, configuration.architecture, shape)
            _refuse_lacking({**known, **result.metrics}, objectives)
        except ValueError as error:
            left_out.append(f"{result.name}: {error}")
            continue
        except (ArithmeticError, AttributeError, KeyError, TypeError) as error:
            said = f"{type(error).__name__}: {error}"
            left_out.append(f"{result.name}: no configuration that PEFT takes ({said})")
            continue
        rung = Rung(
            index=0,
            step=result.step,
            metrics=result.metrics,
            stderr=result.stderr,
            seconds=result.seconds,
            started=now,
            ended=now,
        )
        trials.append(
            Trial(
                number=len(trials),
                configuration=configuration,
                seed=seed,
                point={},
                known=known,
                why=f"imported: {result.name}",
                state=State.COMPLETED,
                rungs=(rung,),
                created=now,
                provenance={"imported": result.name},
            )
        )
        times[configuration.key] += 1
    return trials, left_out


def _configuration(result: Found, shape: ModelShape) -> Configuration:
    """
    Raises:
        ValueError: no such method or value, or the model has no such modules.
    """
    tree: dict[str, Any] = {"training": recipe_values(result.recipe)}
    branch = "full"
    if result.fields is None:
        tree["full_fine_tuning"] = True
    else:
        module = _module(result.fields)
        branch = module["peft_type"].lower()
        tree["modules"] = [module]
    return canonical(tree, branch=branch, shape=shape, training={}, defaults=PEFT_DEFAULTS)


def _module(fields: Mapping[str, Any]) -> dict[str, Any]:
    peft_type = str(fields["peft_type"])
    if peft_type not in PEFT_DEFAULTS:
        raise ValueError(f"this PEFT has no {peft_type}")
    dropped = (*_NOT_FIELDS, *_OUTCOMES.get(peft_type, ()))
    kept = {k: v for k, v in fields.items() if k not in dropped and v not in (None, {}, [])}
    size = size_field(peft_type)
    if PEFT_DEFAULTS[peft_type].get(size, 1) is None and size not in kept:
        raise ValueError(f"{size} takes a whole number from 1, got nothing")
    return module_values({**kept, "peft_type": peft_type})


def _known(result: Found, architecture: Architecture, shape: ModelShape) -> dict[str, float]:
    """What was told is kept; what was not follows from the architecture, where it can."""
    try:
        counted = dict(known_metrics(architecture, shape))
    except (ValueError, KeyError):  # a method, or a way to use it, that is not counted
        counted = {}
    known = {**counted, **result.known}
    if "adapter_params" not in known and "adapter_bytes" in known:
        known["adapter_params"] = known["adapter_bytes"] / _BYTES
    return known


def _refuse_lacking(values: Mapping[str, float], objectives: Sequence[Objective]) -> None:
    """
    Raises:
        ValueError: an objective has no value.
    """
    for name in (o.metric for o in objectives if o.metric not in values):
        raise ValueError(f"{name} is not counted for this configuration: give it a column {name}")


def document_of(
    name: str,
    *,
    kind: str,
    source: str,
    model: Mapping[str, Any],
    objectives: Sequence[Objective],
    branches: Sequence[str],
    trials: int,
) -> dict[str, Any]:
    """What the store keeps of an imported study beside its trials. branches: of its trials."""
    return {
        "autopeft": 1,
        "study": name,
        "imported": {
            "from": kind,
            "source": source,
            "model": dict(model),
            "objectives": [
                {"metric": o.metric, "goal": o.goal, "scale": o.scale} for o in objectives
            ],
            "branches": list(branches),
            "trials": trials,
        },
    }


def is_imported(document: Mapping[str, Any]) -> bool:
    """Whether the document of a study is that of an imported one."""
    return "imported" in document


def refuse_imported(spec: StudySpec) -> None:
    """
    Raises:
        StudyError: the study was imported, so there is nothing to train it with.
    """
    if is_imported(spec.document):
        raise StudyError(
            f"study {spec.name!r} was imported: it can be looked at and warm-start a search "
            f"(`search: {{warm_start: [{spec.name}]}}`), and nothing of it can be trained"
        )


def imported_spec(document: Mapping[str, Any], *, folder: str) -> StudySpec:
    """The specification of an imported study, for what looks at it."""
    told = document["imported"]
    return StudySpec(
        name=document["study"],
        model=told["model"],
        trainer="",
        data={},
        training={},
        space=Space(tuple(Branch(name, {}) for name in told["branches"])),
        objectives=tuple(Objective(**objective) for objective in told["objectives"]),
        constraints=(),
        budget=Budget(trials=told["trials"]),
        resources=Resources(),
        search=SearchSettings(),
        document=document,
        folder=folder,
    )


def looked_up(history: Sequence[Trial]) -> Callable[[Architecture], Mapping[str, float]]:
    """The exact metrics of an imported study's architectures: what its trials say."""
    known = {trial.configuration.architecture.key: trial.known for trial in history}
    return lambda architecture: known[architecture.key]

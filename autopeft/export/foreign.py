"""What a trial asks of another tool, and what that tool has no name for.

A tool is told by its own names; every field that it cannot express is named in one refusal, so
nothing of a trial is dropped silently.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from autopeft.domain.errors import ExportError
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS, TRAINER_DEFAULTS
from autopeft.domain.methods.strategies import BEFORE_TRAINING
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.data_inits import DATA_INITS
from autopeft.domain.networks.peft_config import OWN
from autopeft.domain.recipes.stopping import EarlyStopping
from autopeft.domain.space import Json
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.export.configs import config_arguments
from autopeft.export.prepared import Prepared
from autopeft.export.script import training_arguments
from autopeft.export.template import template_argument

_SFT = "trl.SFTTrainer"
_NOT_ASKED = ("report_to", "disable_tqdm", "label_names", "eval_strategy", "logging_steps")
"""What autopeft sets for itself: no part of a recipe."""


@dataclass(frozen=True)
class Asked:
    """A trial by PEFT's and transformers' names.

    module: the arguments of PEFT's config, `peft_type` among them; {} for full fine-tuning.
    training: arguments of SFTConfig as the trial had them, its defaults not among them.
    model: what `from_pretrained` was given besides the name.
    columns: of the rows. conversations: whether prompts are lists of messages.
    unsaid: what no tool has a name for.
    """

    number: int
    name: str
    module: Mapping[str, Json]
    training: Mapping[str, Json]
    model: Mapping[str, Json]
    columns: tuple[str, ...]
    conversations: bool
    steps: int
    unsaid: tuple[str, ...]

    def recipe(self, name: str) -> Json:
        """A training argument, SFTConfig's default included."""
        return self.training.get(name, TRAINER_DEFAULTS[_SFT][name])

    @property
    def warmup_steps(self) -> int:
        """As transformers counts them: below 1 it is a share of all steps."""
        given = float(self.recipe("warmup_steps"))
        return int(given) if given >= 1 else ceil(given * self.steps)

    @property
    def mixed(self) -> str | None:
        """The dtype of mixed precision; SFTConfig takes bfloat16 where nothing is said."""
        if self.recipe("fp16"):
            return "float16"
        return None if self.recipe("bf16") is False else "bfloat16"

    @property
    def dtype(self) -> str | None:
        """The dtype of the base's weights; None where only the hub knows it."""
        given = self.model.get("dtype", "auto")
        return self.checkpoint_dtype if given == "auto" else str(given).removeprefix("torch.")

    @property
    def checkpoint_dtype(self) -> str | None:
        from transformers import AutoConfig

        source = ("revision", "subfolder", "trust_remote_code")
        passed = {k: self.model[k] for k in source if k in self.model}
        try:
            found = AutoConfig.from_pretrained(self.name, **passed).dtype
        except (OSError, ValueError):
            return None
        return "float32" if found is None else str(found).removeprefix("torch.")


@dataclass(frozen=True)
class Word:
    """A tool's name of a field, and the values that it takes under it.

    write: what is written of such a value. name "": taken, and nothing is written.
    """

    name: str
    takes: Callable[[Json], bool] = lambda value: True
    write: Callable[[Json], Json] = lambda value: value


def whole(value: Json) -> bool:
    """Whether a number is an integer: tools that type a field so refuse others."""
    return float(value) == int(value)


def only(expected: Json) -> Callable[[Json], bool]:
    return lambda value: bool(value == expected)


def refuse_unfinished(tool: str, spec: StudySpec, trial: Trial) -> None:
    """
    Raises:
        ExportError: the trial is not complete, or its own evaluations were part of its training.
    """
    if trial.state is not State.COMPLETED or "total_steps" not in trial.provenance:
        raise ExportError(
            f"export takes a completed trial that autopeft trained, trial {trial.number} is "
            f"{trial.state}: choose one of `autopeft front {spec.name}`"
        )
    if EarlyStopping.of(trial.configuration.recipe) is not None:
        raise ExportError(
            f"a recipe of {tool} trains to its end, trial {trial.number} was stopped by its own "
            "evaluations or went back to the best: take --to script, which does the same"
        )


def asked_of(spec: StudySpec, trial: Trial, shape: ModelShape, prepared: Prepared) -> Asked:
    """A trial of a language model, whose steps its provenance or the caller knows.

    Raises:
        ExportError: it is the frozen model, or PEFT cannot take its modules together.
    """
    architecture = trial.configuration.architecture
    strategy = architecture.allocation[0]
    unsaid = [] if spec.task.name == "CAUSAL_LM" else [f"model.task_type {spec.task.name}"]
    if strategy not in ("uniform", *BEFORE_TRAINING):
        unsaid.append(f"allocation {strategy}")
    described: tuple[dict[str, Json], ...] = ()
    if not architecture.full_fine_tuning:
        described = config_arguments(
            trial.configuration,
            shape,
            task_type=spec.model["task_type"],
            total_steps=trial.provenance["total_steps"],
            ranks=trial.provenance.get("ranks") if strategy in BEFORE_TRAINING else None,
        )
    kinds = [str(module["peft_type"]) for module in described]
    if len(described) > 1:
        unsaid.append(f"{len(described)} modules ({', '.join(kinds)})")
    unsaid += [f"peft_type {kind}, which PEFT does not have" for kind in kinds if kind in OWN]
    inits = [module.get("init_lora_weights") for module in described]
    unsaid += [
        f"modules.init_lora_weights = {init}, which looks at rows"
        for init in inits
        if _by_data(init)
    ]
    row = next(iter(prepared.splits["train"]), {})
    columns = tuple(name for name, value in row.items() if value is not None)
    training = {**training_arguments(trial), **template_argument(spec, trial)}
    return Asked(
        number=trial.number,
        name=prepared.model,
        module=described[0] if len(described) == 1 else {},
        training={k: v for k, v in training.items() if k not in _NOT_ASKED},
        model=dict(prepared.load_arguments),
        columns=columns,
        conversations=isinstance(row.get("prompt"), list),
        steps=int(trial.provenance["total_steps"]),
        unsaid=tuple(unsaid),
    )


def _by_data(init: Json) -> bool:
    return isinstance(init, str) and (init in DATA_INITS or init == "loftq")


def with_defaults(module: Mapping[str, Json], *names: str) -> dict[str, Json]:
    """The module with PEFT's default of fields that other tools have other defaults for."""
    defaults = PEFT_DEFAULTS[str(module["peft_type"])]
    return {**{name: defaults[name] for name in names}, **module}


def translated(
    where: str, given: Mapping[str, Json], words: Mapping[str, Word]
) -> tuple[dict[str, Any], list[str]]:
    """What is written, by the tool's names, and the fields that it cannot express.

    A field at None, False or empty says nothing, unless the tool has a name for it.
    """
    told: dict[str, Any] = {}
    lacks = []
    for name, value in given.items():
        word = words.get(name)
        if word is None:
            if value not in (None, False, [], {}, ""):
                lacks.append(f"{where}.{name}")
        elif not word.takes(value):
            lacks.append(f"{where}.{name} = {value}")
        elif word.name:
            told[word.name] = word.write(value)
    return told, lacks


def refuse(tool: str, asked: Asked, lacks: Iterable[str]) -> None:
    """Nothing, where the tool has a name for everything.

    Raises:
        ExportError: it names every field that it has not.
    """
    further = [lack for lack in lacks if not any(said.startswith(lack) for said in asked.unsaid)]
    if said := [*asked.unsaid, *further]:
        raise ExportError(
            f"{tool} has no name for what trial {asked.number} has: {'; '.join(said)}. "
            "Take --to script, which says all of it, or another trial"
        )

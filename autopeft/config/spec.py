"""A document to a StudySpec: what the file alone can show."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from autopeft.config.benchmarks import benchmark_objectives, expand_benchmark
from autopeft.config.branching import SHORT, Offer
from autopeft.config.confirm import check_confirm
from autopeft.config.effort import check_budget, check_resources, check_search
from autopeft.config.evaluation import check_evaluation
from autopeft.config.evaluator import check_evaluator, measurable
from autopeft.config.goals import check_asked, check_constraints, check_objectives
from autopeft.config.harness import check_harness
from autopeft.config.names import check_names
from autopeft.config.own_metrics import check_declared
from autopeft.config.parts import check_data, check_model, check_trainer
from autopeft.config.places import Places
from autopeft.config.processes import check_alone, check_processes
from autopeft.config.quantization import written_out
from autopeft.config.reading import override, read
from autopeft.config.recipe import check_pauses, check_recipe
from autopeft.config.secrecy import refuse_secrets
from autopeft.config.tree import fields, grow, section, told
from autopeft.config.values import is_number
from autopeft.config.warm_start import check_warm_start
from autopeft.domain.errors import Mistake, SpecError
from autopeft.domain.estimates import ESTIMATED
from autopeft.domain.objective import METRICS
from autopeft.domain.study import StudySpec, asked
from autopeft.namespaces import RULE, STUDY, namespace_of, whole_name

KEYS = (
    *("autopeft", "study", "model", "trainer", "data", "training", "space", "objectives"),
    *("constraints", "baselines", "budget", "resources", "search", "evaluation", "confirm"),
    *("evaluator", "metrics", "parameters"),
    *SHORT,
)


def is_study_name(name: Any) -> bool:
    """Letters, digits, _ and, not first, a dash or a point; a namespace before it, and a /."""
    return isinstance(name, str) and STUDY.fullmatch(name) is not None


def load(path: Path, overrides: Sequence[str] = ()) -> StudySpec:
    """Read and check a space file; needs neither torch nor the model.

    Args:
        overrides: `key.path=value`, as `--set` takes them.

    Raises:
        SpecError: every mistake of the file.
    """
    document, places = read(path)
    document = override(document, overrides)
    if is_study_name(document.get("study")):
        document = {**document, "study": whole_name(document["study"])}
    folder = str(path.resolve().parent)
    refuse_secrets(document, places, str(path))
    return parse(document, folder=folder, source=str(path), places=places)


def parse(
    document: Mapping[str, Any],
    *,
    folder: str,
    source: str = "space file",
    places: Places | None = None,
) -> StudySpec:
    """Check a plain document; see `load`.

    Args:
        folder: where relative paths start from.
        source: what mistakes call the document; places: where its paths stand.
    """
    return _Parser(document, folder, source, places or Places()).spec()


class _Parser:
    """One pass over a document; collects every mistake on the way."""

    def __init__(
        self, document: Mapping[str, Any], folder: str, source: str, places: Places
    ) -> None:
        self._document = document
        self._folder = folder
        self._source = source
        self._places = places
        self._mistakes: dict[str, Mistake] = {}
        self._own = check_evaluator(document.get("evaluator"), self.complain)
        # One that makes no sense is one all the same: nothing else is wrong then.
        self._is_own = document.get("evaluator") is not None

    def spec(self) -> StudySpec:
        document = self._document
        part = partial(section, document, complain=self.complain)
        self._head()
        model = part("model", needed=not self._is_own)
        # Elsewhere the data's labels decide it; an evaluator keeps its data to itself.
        counted = self._is_own and is_number(model.get("num_labels"))
        kept = {k: v for k, v in model.items() if k != "num_labels" or not counted}
        task = check_model(kept, self.complain) if model else None
        usual = task.trainer if task else None
        if self._is_own:
            task = None  # whatever it trains with, and measures, is the evaluator's
        model = written_out(model, self.complain)
        trainer = check_trainer(document.get("trainer", usual), task, self.complain)
        given_data = part("data", needed=not self._is_own)
        data = given_data
        if data and self._is_own:
            self.complain("data", "an evaluator loads its own data", "put paths into its options")
        elif data := expand_benchmark(given_data, model, self.complain):
            check_data(data, task, self.complain)
        grown = grow(part("training"), "training", self.complain)
        given = fields(grown, "training", self.complain)
        recipe = check_recipe(given, "training", trainer, self.complain)
        declared, functions = check_declared(
            document.get("metrics"), self.complain, evaluator=self._is_own
        )
        offer = Offer(
            document,
            trainer=trainer,
            recipe=recipe,
            task=task,
            computed=declared if functions else {},
            own=self._is_own,
            complain=self.complain,
        )
        space = offer.space()
        harness, of_tasks = check_harness(document, task, self.complain)
        own_only = measurable(declared, model=bool(model))
        declared = {**declared, **of_tasks}
        metrics = own_only if self._is_own else {**METRICS, **declared}
        wanted = document.get("objectives", benchmark_objectives(given_data))
        objectives = check_objectives(wanted, task, self.complain, metrics)
        constraints = check_constraints(
            document.get("constraints") or [],
            [branch.name for branch in space.baselines],
            task,
            self.complain,
            metrics,
        )
        if self._is_own:
            offer.check_computed(space, [o.metric for o in objectives])
        generation = check_evaluation(
            document.get("evaluation"),
            task,
            asked(objectives, constraints) | set(functions),
            self.complain,
            own=set(functions),
        )
        budget = check_budget(part("budget"), self.complain)
        means = part("resources")
        resources = check_processes(
            check_resources(means, self.complain),
            means,
            model=model,
            own=self._is_own,
            complain=self.complain,
        )
        check_alone(resources, document, functions, self.complain)
        if not self._is_own:  # whose metrics are what its code makes of them
            check_asked(
                objectives,
                constraints,
                price=resources.price_per_hour,
                general="general" in data,
                complain=self.complain,
            )
        length = {"num_train_epochs": None, **recipe} if self._is_own else recipe
        given = part("search")
        estimated = frozenset[str]() if self._is_own else ESTIMATED
        search = check_search(given, length, objectives, self.complain, estimated)
        if not self._is_own:
            check_pauses(search.rungs, space.branches, self.complain)
        earlier = given.get("warm_start")
        earlier = check_warm_start(earlier, search.sampler, objectives, self.complain, estimated)
        confirm = check_confirm(
            document.get("confirm"), budget, len(space.baselines), self.complain
        )
        if self._mistakes or budget is None:
            found = sorted(self._mistakes.values(), key=lambda m: (m.line is None, m.line or 0))
            raise SpecError(found, self._source)
        namespace = namespace_of(document["study"])
        return StudySpec(
            name=document["study"],
            model=model,
            trainer=trainer,
            data=data,
            training=recipe,
            space=space,
            objectives=objectives,
            constraints=constraints,
            budget=budget,
            resources=resources,
            search=replace(search, warm_start=tuple(whole_name(n, namespace) for n in earlier)),
            document=dict(document),
            folder=self._folder,
            evaluator=self._own,
            metrics=declared,
            own_metrics=functions,
            generation=generation,
            confirm=confirm,
            harness=harness,
        )

    def complain(self, path: str, message: str, suggestion: str = "") -> None:
        # One place, one mistake: what follows from the first would only bury it.
        mistake = self._places.mistake(path, message, suggestion, checked=self._document)
        self._mistakes.setdefault(path, mistake)

    def _head(self) -> None:
        document = self._document
        check_names("", document, KEYS, "a space file", self.complain)
        version = document.get("autopeft")
        if version != 1 or isinstance(version, bool):
            message = f"the format version is 1, got {told(version)}"
            self.complain("autopeft", message, "write `autopeft: 1`")
        name = document.get("study")
        if not is_study_name(name):
            message = f"a study takes {RULE}, got {told(name)}"
            self.complain("study", message, "name the study")

"""A document to a StudySpec: what the file alone can show."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autopeft.config.benchmarks import benchmark_objectives, expand_benchmark
from autopeft.config.branches import check_branch
from autopeft.config.confirm import check_confirm
from autopeft.config.effort import check_budget, check_resources, check_search
from autopeft.config.evaluation import check_evaluation
from autopeft.config.evaluator import (
    bare,
    check_evaluator,
    check_own_branch,
    check_parameters,
    measurable,
)
from autopeft.config.goals import check_asked, check_constraints, check_objectives
from autopeft.config.harness import check_harness
from autopeft.config.names import check_names
from autopeft.config.own_metrics import check_declared
from autopeft.config.parts import check_data, check_model, check_trainer
from autopeft.config.places import Places
from autopeft.config.processes import check_alone, check_processes
from autopeft.config.quantization import written_out
from autopeft.config.reading import override, read
from autopeft.config.recipe import check_recipe
from autopeft.config.secrecy import refuse_secrets
from autopeft.config.stopping import check_stopping, with_goal
from autopeft.config.tree import grow, told
from autopeft.config.values import is_number
from autopeft.config.warm_start import check_warm_start
from autopeft.domain.errors import Mistake, SpecError
from autopeft.domain.objective import METRICS
from autopeft.domain.own_code import computed
from autopeft.domain.space import Branch, Space
from autopeft.domain.study import StudySpec, asked
from autopeft.namespaces import STUDY, namespace_of, whole_name

SHORT = ("modules", "layers", "allocation", "full_fine_tuning")  # a space of one branch
KEYS = (
    *("autopeft", "study", "model", "trainer", "data", "training", "space", "objectives"),
    *("constraints", "baselines", "budget", "resources", "search", "evaluation", "confirm"),
    *("evaluator", "metrics", "parameters"),
    *SHORT,
)
BRANCH_NAMES = {"space": re.compile(r"[\w-]{1,100}"), "baselines": re.compile(r"\w{1,100}")}
LEARNING_RATE = {"low": 1e-5, "high": 1e-2, "log": True}
"""Of every branch that neither sets it nor inherits it from the study's training."""

BASELINES = {
    "lora_all_linear": {
        "modules": [
            {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "all-linear"}
        ],
        "training": {"learning_rate": LEARNING_RATE},
    }
}
"""What the front is compared with where the file names no baseline."""


def is_study_name(name: Any) -> bool:
    """Letters, digits, - _ and, not first, a point; a namespace before it, and a /."""
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
        self._head()
        model = self._mapping("model", needed=not self._is_own)
        # Elsewhere the data's labels decide it; an evaluator keeps its data to itself.
        counted = self._is_own and is_number(model.get("num_labels"))
        kept = {k: v for k, v in model.items() if k != "num_labels" or not counted}
        task = check_model(kept, self.complain) if model else None
        usual = task.trainer if task else None
        if self._is_own:
            task = None  # whatever it trains with, and measures, is the evaluator's
        model = written_out(model, self.complain)
        trainer = check_trainer(document.get("trainer", usual), task, self.complain)
        given_data = self._mapping("data", needed=not self._is_own)
        data = given_data
        if data and self._is_own:
            self.complain("data", "an evaluator loads its own data", "put paths into its options")
        elif data := expand_benchmark(given_data, model, self.complain):
            check_data(data, task, self.complain)
        grown = grow(self._mapping("training"), "training", self.complain)
        given = self._tree(grown, "training")
        recipe = check_recipe(given, "training", trainer, self.complain)
        declared, functions = check_declared(
            document.get("metrics"), self.complain, evaluator=self._is_own
        )
        self._task, self._computed = task, declared if functions else {}
        space = self._space(trainer, recipe)
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
            self._check_computed(space, [o.metric for o in objectives])
        generation = check_evaluation(
            document.get("evaluation"),
            task,
            asked(objectives, constraints) | set(functions),
            self.complain,
            own=set(functions),
        )
        budget = check_budget(self._mapping("budget"), self.complain)
        means = self._mapping("resources")
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
        search = check_search(self._mapping("search"), length, objectives, self.complain)
        earlier = self._mapping("search").get("warm_start")
        earlier = check_warm_start(earlier, search.sampler, objectives, self.complain)
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
            message = f"a study takes letters, digits, - _ and (not first) ., got {told(name)}"
            self.complain("study", message, "name the study")

    def _mapping(self, key: str, *, needed: bool = False) -> dict[str, Any]:
        value = self._document.get(key)
        if needed and (value is None or value == {}):
            self.complain(key, "is needed, got nothing", "search_spaces/ has examples")
        elif value is not None and not isinstance(value, Mapping):
            self.complain(key, f"takes a mapping (`key: value`), got {told(value)}")
        return dict(value) if isinstance(value, Mapping) else {}

    def _tree(self, value: Any, path: str) -> dict[str, Any]:
        """A grown mapping; a mapping that varies as a whole is none."""
        if value is None or isinstance(value, dict):
            return value or {}
        self.complain(path, f"takes a mapping (`key: value`), got {told(value)}")
        return {}

    def _space(self, trainer: str, recipe: Mapping[str, Any]) -> Space:
        short = {key: self._document[key] for key in SHORT if key in self._document}
        free = self._document.get("parameters")
        shared = grow(self._mapping("parameters"), "parameters", self.complain)
        self._parameters = check_parameters(shared, "parameters", self._is_own, self.complain)
        trees = self._mapping("space", needed=not short and not (self._is_own and free))
        if trees and "allocation" in short:  # for every branch that names none
            shared = {"allocation": short.pop("allocation")}
            trees = {n: {**shared, **t} if isinstance(t, dict) else t for n, t in trees.items()}
        if short and trees:
            key = next(iter(short))
            self.complain(key, "is one branch at the top beside space:", "move it into space:")
        single = short or (free and not trees)
        searched = (
            {"main": ("", short)} if single else {n: (f"space.{n}", t) for n, t in trees.items()}
        )
        baselines = {
            name: (f"baselines.{name}", tree) for name, tree in self._baselines(searched).items()
        }
        for name in set(searched) & set(baselines):
            at = f"baselines.{name}" if "baselines" in self._document else f"space.{name}"
            self.complain(at, f"a baseline and a branch are both called {name!r}", "rename one")
        found = []
        for group, members in (("space", searched), ("baselines", baselines)):
            for name, (path, tree) in members.items():
                if not BRANCH_NAMES[group].fullmatch(name):
                    self.complain(path, f"a name here takes letters, digits and _, got {name!r}")
                if isinstance(tree, Mapping):
                    grown = self._branch(tree, path, trainer, recipe)
                    found.append(Branch(name, grown, baseline=group == "baselines"))
                else:
                    self.complain(path, f"a branch is a mapping with modules, got {told(tree)}")
        return Space(tuple(found))

    def _all_build(self, searched: Mapping[str, tuple[str, Any]]) -> bool:
        """Whether every branch has modules or trains the whole model, so that LoRA compares."""
        trees = [tree for _, tree in searched.values() if isinstance(tree, Mapping)]
        return all(tree.get("modules") or tree.get("full_fine_tuning") for tree in trees)

    def _check_computed(self, space: Space, metrics: Sequence[str]) -> None:
        """What is computed from modules needs them in every branch."""
        for i, metric in enumerate(metrics):
            for branch in space.branches:
                if computed(metric) and bare(branch.tree):
                    rule = f"{metric} is computed from modules, and branch {branch.name} has none"
                    self.complain(f"objectives[{i}].metric", rule, "declare one of your own")

    def _baselines(self, searched: Mapping[str, tuple[str, Any]]) -> Mapping[str, Any]:
        """By name; false: none, as in a control."""
        if self._document.get("baselines") is False:
            return {}
        usual = {} if self._is_own and not self._all_build(searched) else BASELINES
        return self._mapping("baselines") or usual

    def _branch(
        self, tree: Mapping[str, Any], path: str, trainer: str, recipe: Mapping[str, Any]
    ) -> dict[str, Any]:
        at = f"{path}.training" if path else "training"
        grown = self._tree(grow(tree, path, self.complain), path)
        own = self._tree(grown.get("training"), at)
        own = check_recipe(own, at, trainer, self.complain, over=recipe)
        at_parameters = f"{path}.parameters" if path else "parameters"
        given = grown.pop("parameters", {})
        free = check_parameters(given, at_parameters, self._is_own, self.complain)
        if free := {**self._parameters, **free}:
            grown["parameters"] = free
        if self._is_own:
            check_own_branch(grown, path, bool(self._document.get("model")), self.complain)
        if "learning_rate" in free and tree is BASELINES.get(path.rpartition(".")[2]):
            own.pop("learning_rate")  # tuned by the user's code, as in the branches
        elif not bare(grown) and "learning_rate" not in {**recipe, **own, **free}:
            own["learning_rate"] = grow(LEARNING_RATE, at, self.complain)
        # A study-wide variable varies in every branch by itself.
        grown["training"] = with_goal({**recipe, **own}, self._computed)
        check_stopping(
            grown["training"],
            lambda name: f"{at}.{name}" if name in own else f"training.{name}",
            self._task,
            self._computed,
            self.complain,
            evaluator=self._is_own,
        )
        check_branch(grown, path, self.complain)
        return grown

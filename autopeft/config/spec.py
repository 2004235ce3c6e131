"""A document to a StudySpec: what the file alone can show."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autopeft.config.branches import check_branch, check_recipe
from autopeft.config.reading import Lines, line_of, override, read
from autopeft.config.tree import grow
from autopeft.domain.errors import Mistake, SpecError
from autopeft.domain.objective import METRICS, Constraint, Objective
from autopeft.domain.peft_fields import TRAINER_DEFAULTS
from autopeft.domain.space import Branch, Space
from autopeft.domain.study import Budget, Resources, Rungs, SearchSettings, StudySpec

_KEYS = (
    *("autopeft", "study", "model", "trainer", "data", "training", "space", "objectives"),
    *("constraints", "baselines", "budget", "resources", "search"),
    *("modules", "layers", "allocation", "full_fine_tuning"),
)
_SHORT = ("modules", "layers", "allocation", "full_fine_tuning")  # a space of one branch
_LATER = ("confirm", "evaluator", "parameters", "metrics")
_TASKS = ("SEQ_CLS", "CAUSAL_LM")
_DATA = ("train", "validation", "test", "columns", "max_length", "limit")
_COLUMNS = ("text", "text_pair", "label", "messages", "prompt", "completion")
_SAMPLERS = ("autopeft", "random", "optuna.TPESampler", "optuna.NSGAIISampler")
LEARNING_RATE = {"low": 1e-5, "high": 1e-2, "log": True}
BASELINE = {
    "lora_all_linear": {
        "modules": [{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "all-linear"}]
    }
}
"""What the front is compared with where the file names no baseline."""


def load(path: Path, overrides: Sequence[str] = ()) -> StudySpec:
    """Read and check a space file; needs neither torch nor the model.

    Raises:
        SpecError: every mistake of the file.
    """
    document, lines = read(path)
    folder = str(path.resolve().parent)
    return parse(override(document, overrides), folder=folder, source=str(path), lines=lines)


def parse(
    document: Mapping[str, Any],
    *,
    folder: str,
    source: str = "space file",
    lines: Lines | None = None,
) -> StudySpec:
    """Check a plain document; see `load`."""
    return _Parser(document, folder, source, lines or {}).spec()


class _Parser:
    """One pass over a document; collects every mistake on the way."""

    def __init__(self, document: Mapping[str, Any], folder: str, source: str, lines: Lines) -> None:
        self._document = document
        self._folder = folder
        self._source = source
        self._lines = lines
        self._mistakes: list[Mistake] = []

    def spec(self) -> StudySpec:
        document = self._document
        self._names("", document, _KEYS, "a space file")
        for key in _LATER:
            if document.get(key):
                self.complain(key, f"{key} is not supported by this version: remove it")
        if document.get("autopeft") != 1:
            got = document.get("autopeft")
            self.complain("autopeft", f"the format version is 1, got {got!r}: write `autopeft: 1`")
        name = document.get("study")
        if not (isinstance(name, str) and name and all(c.isalnum() or c in "-_." for c in name)):
            self.complain(
                "study", f"takes letters, digits, - _ and ., got {name!r}: name the study"
            )
        elif name.startswith("."):
            self.complain("study", f"a name does not start with a dot, got {name!r}")
        model = self._model()
        trainer = self._trainer(model)
        data = self._data(model)
        training = self._mapping("training")
        recipe = check_recipe(training, "training", trainer, self.complain)
        space = self._space(trainer, recipe)
        objectives = self._objectives()
        constraints = self._constraints(space)
        parts = self._budget(), self._resources(), self._search(recipe)
        if self._mistakes:
            order = sorted(self._mistakes, key=lambda m: (m.line is None, m.line or 0))
            raise SpecError(order, self._source)
        budget, resources, search = parts
        assert budget is not None
        return StudySpec(
            name=str(name),
            model=model,
            trainer=trainer,
            data=data,
            training=recipe,
            space=space,
            objectives=objectives,
            constraints=constraints,
            budget=budget,
            resources=resources,
            search=search,
            document=dict(document),
            folder=self._folder,
        )

    def complain(self, path: str, message: str, suggestion: str = "") -> None:
        self._mistakes.append(Mistake(path, message, suggestion, line_of(self._lines, path)))

    def _names(self, path: str, got: Iterable[str], known: Sequence[str], what: str) -> None:
        for key in got:
            if key in known or (not path and key in _LATER):
                continue
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"{what} takes {', '.join(known)}"
            self.complain(f"{path}.{key}" if path else key, f"{what} has no {key!r}", hint)

    def _mapping(self, key: str, *, needed: bool = False) -> dict[str, Any]:
        value = self._document.get(key)
        if value is None:
            if needed:
                self.complain(key, "is needed, got nothing: see search_spaces/ for examples")
            return {}
        if not isinstance(value, Mapping):
            self.complain(key, f"takes a mapping (`key: value`), got {value!r}")
            return {}
        return dict(value)

    def _model(self) -> dict[str, Any]:
        model = self._mapping("model", needed=True)
        if not model:
            return model
        name = model.get("model_name_or_path")
        if not (isinstance(name, str) and name):
            self.complain("model.model_name_or_path", f"takes a folder or a hub name, got {name!r}")
        if model.get("task_type") not in _TASKS:
            self.complain(
                "model.task_type",
                f"this version has {' and '.join(_TASKS)}, got {model.get('task_type')!r}",
            )
        if not isinstance(model.get("trust_remote_code", False), bool):
            self.complain("model.trust_remote_code", "takes true or false")
        return model

    def _trainer(self, model: Mapping[str, Any]) -> str:
        trainer = self._document.get("trainer", "transformers.Trainer")
        if trainer not in TRAINER_DEFAULTS:
            self.complain("trainer", f"takes {' or '.join(TRAINER_DEFAULTS)}, got {trainer!r}")
            return "transformers.Trainer"
        language = model.get("task_type") == "CAUSAL_LM"
        if language != (trainer == "trl.SFTTrainer") and model.get("task_type") in _TASKS:
            wanted = "trl.SFTTrainer" if language else "transformers.Trainer"
            self.complain("trainer", f"task_type {model['task_type']} trains with {wanted}")
        return str(trainer)

    def _data(self, model: Mapping[str, Any]) -> dict[str, Any]:
        data = self._mapping("data", needed=True)
        if not data:
            return data
        self._names("data", data, _DATA, "data")
        for split in ("train", "validation", "test"):
            source, path = data.get(split), f"data.{split}"
            if source is None:
                if split != "test":
                    hint = "validation: {carve: 0.1, from: train, seed: 0} takes it from train"
                    self.complain(path, "is needed, got nothing", "" if split == "train" else hint)
                continue
            if not isinstance(source, Mapping) or not ("path" in source or "carve" in source):
                self.complain(path, f"takes {{path: ...}} or {{carve: ...}}, got {source!r}")
            elif "carve" in source:
                self._names(path, source, ("carve", "from", "seed"), "a carved split")
                share = source["carve"]
                if split == "train" or not isinstance(share, float) or not 0 < share < 1:
                    self.complain(
                        f"{path}.carve", f"takes a share between 0 and 1 of train, got {share!r}"
                    )
        columns = data.get("columns", {})
        if isinstance(columns, Mapping):
            self._names("data.columns", columns, _COLUMNS, "columns")
        else:
            self.complain("data.columns", f"takes a mapping, got {columns!r}")
        for key in ("max_length",):
            if key in data and not (isinstance(data[key], int) and data[key] > 0):
                self.complain(f"data.{key}", f"takes a whole number above 0, got {data[key]!r}")
        return data

    def _space(self, trainer: str, recipe: Mapping[str, Any]) -> Space:
        short = {key: self._document[key] for key in _SHORT if key in self._document}
        trees = self._mapping("space", needed=not short)
        if short and trees:
            self.complain("space", "give either space: or one branch at the top, not both")
        if short:
            trees = {"main": short}
        baselines = self._mapping("baselines") or BASELINE
        found = []
        for place, group in (("space", trees), ("baselines", baselines)):
            for name, tree in group.items():
                path = f"{place}.{name}" if place in self._document else ""
                if place == "baselines" and name in trees:
                    self.complain(path, f"a baseline needs a name of its own, got {name!r} twice")
                if not isinstance(tree, Mapping):
                    self.complain(path, f"a branch is a mapping with modules, got {tree!r}")
                    continue
                grown = grow(tree, path, self.complain)
                training = dict(grown.get("training") or {})
                if "learning_rate" not in {**recipe, **training}:
                    training["learning_rate"] = grow(LEARNING_RATE, path, self.complain)
                grown["training"] = training
                check_branch(grown, path, trainer, self.complain)
                # A study-wide variable varies in every branch.
                varying = {k: v for k, v in recipe.items() if k not in training}
                grown["training"] = {**varying, **training}
                found.append(Branch(str(name), grown, baseline=place == "baselines"))
        return Space(tuple(found))

    def _objectives(self) -> tuple[Objective, ...]:
        given = self._document.get("objectives")
        if not isinstance(given, list) or not given:
            self.complain("objectives", "takes a list of at least one {metric, goal}, got nothing")
            return ()
        found = []
        for i, item in enumerate(given):
            path = f"objectives[{i}]"
            if isinstance(item, str):
                item = {"metric": item}
            if not isinstance(item, Mapping):
                self.complain(path, f"takes {{metric, goal}}, got {item!r}")
                continue
            self._names(path, item, ("metric", "goal", "scale", "reference"), "an objective")
            metric = str(item.get("metric"))
            if not self._metric(f"{path}.metric", metric):
                continue
            goal, scale = item.get("goal", METRICS[metric].goal), item.get("scale", "linear")
            if goal not in ("maximize", "minimize"):
                self.complain(f"{path}.goal", f"takes maximize or minimize, got {goal!r}")
                continue
            if scale not in ("linear", "log"):
                self.complain(f"{path}.scale", f"takes linear or log, got {scale!r}")
                continue
            reference = item.get("reference")
            found.append(
                Objective(metric, goal, scale, None if reference is None else float(reference))
            )
        if len({o.metric for o in found}) < len(found):
            self.complain("objectives", "each metric counts once, got one twice")
        return tuple(found)

    def _metric(self, path: str, metric: str) -> bool:
        if metric in METRICS:
            return True
        near = difflib.get_close_matches(metric, METRICS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(METRICS)}"
        self.complain(path, f"there is no metric {metric!r}", hint)
        return False

    def _constraints(self, space: Space) -> tuple[Constraint, ...]:
        given = self._document.get("constraints") or []
        if not isinstance(given, list):
            self.complain("constraints", f"takes a list of texts, got {given!r}")
            return ()
        found = []
        names = [branch.name for branch in space.baselines]
        for i, text in enumerate(given):
            path = f"constraints[{i}]"
            try:
                constraint = Constraint.parse(str(text))
            except ValueError as error:
                self.complain(path, str(error))
                continue
            self._metric(path, constraint.metric)
            if constraint.baseline is not None:
                self._metric(path, str(constraint.baseline_metric))
                if constraint.baseline not in names:
                    self.complain(
                        path,
                        f"there is no baseline {constraint.baseline!r}",
                        f"one of {', '.join(names)}",
                    )
            found.append(constraint)
        return tuple(found)

    def _numbers(self, key: str, known: Mapping[str, float]) -> dict[str, Any]:
        given = self._mapping(key)
        self._names(key, given, tuple(known), key)
        for name, value in given.items():
            least = known.get(name, 0)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or value < least:
                self.complain(f"{key}.{name}", f"takes a number from {least}, got {value!r}")
        return {name: value for name, value in given.items() if name in known}

    def _budget(self) -> Budget | None:
        if "budget" not in self._document:
            self.complain("budget", "is needed, got nothing: `budget: {trials: 50}`")
            return None
        given = self._numbers("budget", {"trials": 1, "gpu_hours": 0, "wall_hours": 0})
        if isinstance(given.get("trials"), float):
            self.complain("budget.trials", f"takes a whole number, got {given['trials']}")
        try:
            return Budget(**given)
        except ValueError as error:
            self.complain("budget", str(error))
            return None

    def _resources(self) -> Resources:
        given = self._numbers("resources", {"cpus_per_trial": 0, "gpus_per_trial": 0})
        return Resources(**given)

    def _search(self, recipe: Mapping[str, Any]) -> SearchSettings:
        given = self._mapping("search")
        self._names("search", given, ("sampler", "parallel", "rungs", "seed"), "search")
        sampler, options = given.get("sampler", "autopeft"), {}
        if isinstance(sampler, Mapping):
            self._names("search.sampler", sampler, ("name", "options"), "a sampler")
            options = dict(sampler.get("options") or {})
            sampler = sampler.get("name")
        if sampler not in _SAMPLERS and not str(sampler).startswith("optuna."):
            known = f"one of {', '.join(_SAMPLERS)}"
            self.complain("search.sampler", f"there is no sampler {sampler!r}", known)
        for key, least in (("parallel", 1), ("seed", 0)):
            value = given.get(key, least)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                self.complain(f"search.{key}", f"takes a whole number from {least}, got {value!r}")
                given.pop(key)
        return SearchSettings(
            sampler=str(sampler),
            options=options,
            parallel=given.get("parallel", 1),
            rungs=self._rungs(given.get("rungs")),
            seed=given.get("seed", 0),
        )

    def _rungs(self, given: Any) -> Rungs | None:
        if given is None:
            return None
        path, units = "search.rungs", ("epochs", "steps")
        if not isinstance(given, Mapping) or len(set(units) & set(given)) != 1:
            self.complain(path, f"takes {{epochs: [...]}} or {{steps: [...]}}, got {given!r}")
            return None
        self._names(path, given, (*units, "eta"), "rungs")
        unit = "epochs" if "epochs" in given else "steps"
        at, eta = given[unit], given.get("eta", 3)
        numbers = isinstance(at, list) and all(
            isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in at
        )
        if not numbers or not at or sorted(set(at)) != at:
            self.complain(f"{path}.{unit}", f"takes increasing numbers above 0, got {at!r}")
            return None
        if not isinstance(eta, int | float) or eta <= 1:
            self.complain(f"{path}.eta", f"takes a number above 1, got {eta!r}")
            return None
        return Rungs("epochs" if unit == "epochs" else "steps", tuple(at), float(eta))

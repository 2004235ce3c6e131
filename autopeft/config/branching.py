"""The space of a file: its branches and baselines, or the one branch at the top."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from autopeft.config.branches import check_branch
from autopeft.config.evaluator import bare, check_own_branch, check_parameters
from autopeft.config.recipe import check_recipe
from autopeft.config.stopping import check_stopping, with_goal
from autopeft.config.tree import Complain, fields, grow, section, told
from autopeft.domain.objective import Metric
from autopeft.domain.own_code import computed
from autopeft.domain.space import Branch, Space
from autopeft.domain.tasks import TaskKind

SHORT = ("modules", "layers", "allocation", "full_fine_tuning")  # a space of one branch
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


@dataclass(frozen=True)
class Offer:
    """What a document offers to search, and what it is compared with.

    trainer, recipe: the study's. task: None where the user's own code trains (`own`).
    computed: metrics that the study's own functions compute.
    """

    document: Mapping[str, Any]
    trainer: str
    recipe: Mapping[str, Any]
    task: TaskKind | None
    computed: Mapping[str, Metric]
    own: bool
    complain: Complain

    def space(self) -> Space:
        """Its branches, baselines last."""
        part = partial(section, self.document, complain=self.complain)
        short = {key: self.document[key] for key in SHORT if key in self.document}
        free = self.document.get("parameters")
        shared = grow(part("parameters"), "parameters", self.complain)
        everywhere = check_parameters(shared, "parameters", self.own, self.complain)
        trees = part("space", needed=not short and not (self.own and free))
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
            at = f"baselines.{name}" if "baselines" in self.document else f"space.{name}"
            self.complain(at, f"a baseline and a branch are both called {name!r}", "rename one")
        found = []
        for group, members in (("space", searched), ("baselines", baselines)):
            for name, (path, tree) in members.items():
                if not BRANCH_NAMES[group].fullmatch(name):
                    self.complain(path, f"a name here takes letters, digits and _, got {name!r}")
                if isinstance(tree, Mapping):
                    grown = self._branch(tree, path, everywhere)
                    found.append(Branch(name, grown, baseline=group == "baselines"))
                else:
                    self.complain(path, f"a branch is a mapping with modules, got {told(tree)}")
        return Space(tuple(found))

    def check_computed(self, space: Space, metrics: Sequence[str]) -> None:
        """What is computed from modules needs them in every branch."""
        for i, metric in enumerate(metrics):
            for branch in space.branches:
                if computed(metric) and bare(branch.tree):
                    rule = f"{metric} is computed from modules, and branch {branch.name} has none"
                    self.complain(f"objectives[{i}].metric", rule, "declare one of your own")

    def _all_build(self, searched: Mapping[str, tuple[str, Any]]) -> bool:
        """Whether every branch has modules or trains the whole model, so that LoRA compares."""
        trees = [tree for _, tree in searched.values() if isinstance(tree, Mapping)]
        return all(tree.get("modules") or tree.get("full_fine_tuning") for tree in trees)

    def _baselines(self, searched: Mapping[str, tuple[str, Any]]) -> Mapping[str, Any]:
        """By name; false: none, as in a control."""
        if self.document.get("baselines") is False:
            return {}
        usual = {} if self.own and not self._all_build(searched) else BASELINES
        return section(self.document, "baselines", self.complain) or usual

    def _branch(
        self, tree: Mapping[str, Any], path: str, everywhere: Mapping[str, Any]
    ) -> dict[str, Any]:
        recipe = self.recipe
        at = f"{path}.training" if path else "training"
        grown = fields(grow(tree, path, self.complain), path, self.complain)
        own = fields(grown.get("training"), at, self.complain)
        own = check_recipe(own, at, self.trainer, self.complain, over=recipe)
        at_parameters = f"{path}.parameters" if path else "parameters"
        given = grown.pop("parameters", {})
        free = check_parameters(given, at_parameters, self.own, self.complain)
        if free := {**everywhere, **free}:
            grown["parameters"] = free
        if self.own:
            check_own_branch(grown, path, bool(self.document.get("model")), self.complain)
        if "learning_rate" in free and tree is BASELINES.get(path.rpartition(".")[2]):
            own.pop("learning_rate")  # tuned by the user's code, as in the branches
        elif not bare(grown) and "learning_rate" not in {**recipe, **own, **free}:
            own["learning_rate"] = grow(LEARNING_RATE, at, self.complain)
        # A study-wide variable varies in every branch by itself.
        grown["training"] = with_goal({**recipe, **own}, self.computed)
        check_stopping(
            grown["training"],
            lambda name: f"{at}.{name}" if name in own else f"training.{name}",
            self.task,
            self.computed,
            self.complain,
            evaluator=self.own,
        )
        check_branch(grown, path, self.complain)
        return grown

"""Early stopping: the fields of a recipe that ask for it, by the names that users of Trainer know.

    early_stopping_patience     training ends after so many evaluations without a better value
    early_stopping_threshold    by how much a value has to be better than the best to count
    metric_for_best_model       what is compared; default eval_loss
    eval_strategy, eval_steps   when; default: after every epoch
    load_best_model_at_end      the weights of the best evaluation are the result, not the last

The first two are arguments of `transformers.EarlyStoppingCallback`, the others of
TrainingArguments. `load_best_model_at_end` asks for evaluations also without a patience.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from autopeft.domain.architecture import Architecture
from autopeft.domain.networks.allocation import growth, rank_budget, schedule
from autopeft.domain.objective import METRICS
from autopeft.domain.space import Json

CALLBACK: Mapping[str, Json] = {"early_stopping_patience": 1, "early_stopping_threshold": 0.0}
"""Arguments of EarlyStoppingCallback, with its defaults."""

ARGUMENTS = ("eval_steps", "eval_strategy", "load_best_model_at_end", "metric_for_best_model")
"""Fields of TrainingArguments that mean something here alone."""

JUDGED_BY = ("eval_loss", "accuracy", "mae")
"""What a `train.py` measures by itself, as far as the kind of task has it."""


@dataclass(frozen=True)
class EarlyStopping:
    """patience: evaluations without a better value; None: training never ends early.

    threshold: a value counts as better that is so by more than this. best: whether the weights of
    the best evaluation are the result. metric: what is compared. goal: of it.
    """

    patience: int | None
    threshold: float
    best: bool
    metric: str
    goal: str

    @classmethod
    def of(cls, recipe: Mapping[str, Json]) -> "EarlyStopping | None":
        """None where the recipe asks for none."""
        patience, best = recipe.get("early_stopping_patience"), recipe.get("load_best_model_at_end")
        if patience is None and not best:
            return None
        metric = metric_name(recipe.get("metric_for_best_model"))
        known = METRICS.get(metric)
        usual = known.goal if known else "maximize"
        greater = recipe.get("greater_is_better")
        return cls(
            patience=None if patience is None else int(patience),
            threshold=float(recipe.get("early_stopping_threshold", 0.0)),
            best=bool(best),
            metric=metric,
            goal=usual if greater is None else "maximize" if greater else "minimize",
        )

    def arguments(self, recipe: Mapping[str, Json]) -> dict[str, Json]:
        """What TrainingArguments are given instead of the recipe's fields.

        Going back to the best is not among them: the Trainer's own way needs checkpoints that
        hold neither AdaLoRA nor several modules.
        """
        found: dict[str, Json] = {
            "eval_strategy": recipe.get("eval_strategy", "epoch"),
            "metric_for_best_model": self.metric,
            "greater_is_better": self.goal == "maximize",
            "load_best_model_at_end": False,
        }
        if "eval_steps" in recipe:
            found["eval_steps"] = recipe["eval_steps"]
        return found


def metric_name(given: Json) -> str:
    """The metric that `metric_for_best_model` means; transformers takes it without `eval_` too."""
    if given in (None, "", "loss", "eval_loss"):
        return "eval_loss"
    return str(given).removeprefix("eval_")


def settled_at(architecture: Architecture, total_steps: int) -> int:
    """The step from which the ranks are those of the end: no earlier model is the one counted."""
    name = architecture.allocation[0]
    if name == "increlora":
        (module,) = architecture.modules
        budget, plan = rank_budget(architecture, module), growth(architecture, total_steps)
        components = (budget.r - budget.lowest) * len(module.targets)
        rounds = -(-components // min(plan.grown, len(module.targets)))
        return plan.warm_up + plan.period * rounds
    own = [module.fields for module in architecture.modules if module.peft_type == "ADALORA"]
    fields = architecture.allocation[1] if name == "adalora" else own[0] if own else None
    if fields is None:
        return 0
    return total_steps - schedule(fields, total_steps)["tfinal"]

"""The allocation strategy of a trial, made for its model."""

from collections.abc import Mapping
from typing import Any

from autopeft.allocation.eva import eva_ranks
from autopeft.allocation.increlora import IncreLora
from autopeft.allocation.ist import ImportanceSparseTuning
from autopeft.allocation.lisa import Lisa
from autopeft.allocation.owlore import OwLore
from autopeft.allocation.probing import probe_batches
from autopeft.allocation.random_ranks import random_ranks
from autopeft.allocation.spt import spt_ranks
from autopeft.allocation.strategy import UpdateStrategy
from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.methods.strategies import STRATEGIES
from autopeft.domain.networks.allocation import growth, rank_budget
from autopeft.domain.space import Json


def strategy_of(
    architecture: Architecture, trainer: Any, *, total_steps: int, seed: int
) -> UpdateStrategy | None:
    """The strategy that acts while training; None where nothing does, or AdaLoRA's own callback.

    Raises:
        ValueError: the model cannot be trained with it.
    """
    name, given = architecture.allocation
    options = {**STRATEGIES[name].options, **given}
    if name == "ist":
        probes = probe_batches(trainer, seed=seed)
        return ImportanceSparseTuning(trainer.model, probes, seed=seed)
    if name == "lisa":
        return Lisa(trainer.model, seed=seed, **options)
    if name == "owlore":
        return OwLore(trainer.model, seed=seed, **options)
    if name == "increlora":
        (module,) = architecture.modules
        budget, plan = rank_budget(architecture, module), growth(architecture, total_steps)
        return IncreLora(
            trainer.model,
            target_r=budget.r,
            init_r=budget.lowest,
            period=plan.period,
            grown=plan.grown,
            warm_up=plan.warm_up,
        )
    return None


def ranks_before_training(architecture: Architecture, trainer: Any, *, seed: int) -> dict[str, int]:
    """Target -> rank, by eva, random or spt.

    Args:
        trainer: with the pretrained model, nothing injected.

    Raises:
        ValueError: the batches are too small for the ranks.
    """
    found: dict[str, int] = {}
    for module in architecture.modules:
        found |= _ranks(architecture, module, trainer, seed)
    return found


def _ranks(architecture: Architecture, module: Module, trainer: Any, seed: int) -> dict[str, int]:
    name, given = architecture.allocation
    options = {**STRATEGIES[name].options, **given}
    budget = rank_budget(architecture, module)
    bounds = {"max_r": budget.highest, "min_r": budget.lowest}
    if name == "random":
        return random_ranks(module.targets, r=budget.r, seed=seed, **bounds)
    model = trainer.model.to(trainer.args.device)
    batches = probe_batches(trainer, seed=seed, count=int(options["batches"]))
    if name == "spt":
        return spt_ranks(model, module.targets, batches, r=budget.r, **bounds)
    return eva_ranks(model, module.targets, batches, r=budget.r, rho=float(options["rho"]))


def curve(record: Mapping[str, Json]) -> dict[str, float]:
    """What a strategy records, as numbers for a curve: the sum of the ranks, a score a layer."""
    numbers: dict[str, float] = {}
    if ranks := record.get("ranks"):
        numbers["rank_sum"] = float(sum(ranks.values()))
    for layer, score in record.get("layer_scores", {}).items():
        numbers[f"layer_score/{layer}"] = float(score)
    return numbers

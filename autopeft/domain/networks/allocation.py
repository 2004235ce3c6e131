"""What an allocation strategy does to the modules, in figures: for counting, training and export.

The strategies that change ranks take LORA modules of rank r and deploy r on average:

- adalora starts at `init_r` and prunes (Zhang et al. 2023, arXiv 2303.10512); in PEFT that is
  another peft_type, so the pair (LORA module, adalora) is translated here, once;
- increlora is built at `max_r` and grows from `init_r`;
- eva, spt and random find every module's rank before training, by data or by lot.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.methods.strategies import BEFORE_TRAINING, STRATEGIES
from autopeft.domain.space import Json

_SHARED = ("lora_alpha", "lora_dropout", "bias", "modules_to_save")
_UNEVEN = ("alpha_pattern", "bias", "layer_replication", "lora_bias", "rank_pattern", "use_dora")
"""Fields of LoRA whose size or meaning changes with a rank that is not known yet."""

_WARM_UP, _FINE_TUNING = 0.1, 0.3  # shares of the run before and after the ranks change
_ROUNDS = 20  # of IncreLoRA's growth, where each grows few enough
_LORA_RANK, _LORA_ALPHA = 8, 8  # PEFT's defaults


@dataclass(frozen=True)
class RankBudget:
    """The ranks that a strategy may deploy in n modules: `r` on average, so r n in all."""

    r: int
    lowest: int
    highest: int


@dataclass(frozen=True)
class Growth:
    """IncreLoRA's plan: after `warm_up` steps, `grown` modules get a rank more every `period`."""

    period: int
    grown: int
    warm_up: int


def deployed(architecture: Architecture) -> tuple[Module, ...]:
    """The modules as PEFT sees them before training, allocation applied.

    Raises:
        ValueError: the allocation does not fit the modules.
    """
    name, options = architecture.allocation
    if name not in STRATEGIES:
        raise ValueError(f"allocation takes one of {', '.join(STRATEGIES)}, got {name!r}")
    modules = architecture.modules
    if STRATEGIES[name].changes == "ranks":
        for module in modules:
            _refuse_other_than_lora(name, module)
    if name == "adalora":
        return tuple(_adalora(module, options) for module in modules)
    if name == "increlora":
        if len(modules) > 1:
            raise ValueError(
                f"allocation increlora grows one LORA module, got {len(modules)}: "
                "give each a branch of its own"
            )
        return tuple(_at_highest(module, rank_budget(architecture, module)) for module in modules)
    if STRATEGIES[name].changes == "updates":
        _refuse_without_layers(architecture)
    return modules


def rank_budget(architecture: Architecture, module: Module) -> RankBudget:
    """What eva, increlora, random or spt may spend on one LORA module.

    Raises:
        ValueError: the bounds contradict each other.
    """
    name, given = architecture.allocation
    options = {**STRATEGIES[name].options, **given}
    rank = int(module.fields.get("r", _LORA_RANK))
    if name == "eva":
        lowest, highest = 0, int(float(options["rho"]) * rank)
    else:
        lowest = int(options["init_r" if name == "increlora" else "min_r"])
        highest = 2 * rank if options["max_r"] is None else int(options["max_r"])
    if not lowest <= rank <= highest or highest < 1 or lowest < (name == "increlora"):
        raise ValueError(
            f"allocation {name} needs {lowest} <= r <= {highest}, its bounds of a module's rank, "
            f"got r={rank}: change r or the bounds"
        )
    return RankBudget(rank, lowest, highest)


def with_ranks(module: Module, ranks: Mapping[str, int]) -> Module:
    """A LORA module with the rank that was found for each of its targets; every scaling stays.

    Args:
        ranks: target -> rank; 0 leaves the target out.
    """
    rank = int(module.fields.get("r", _LORA_RANK))
    scale = float(module.fields.get("lora_alpha", _LORA_ALPHA)) / rank
    if module.fields.get("use_rslora"):
        alphas = {name: scale * (rank * ranks[name]) ** 0.5 for name in module.targets}
    else:
        alphas = {name: scale * ranks[name] for name in module.targets}
    targets = tuple(name for name in module.targets if ranks[name])
    patterns = {
        "rank_pattern": {name: ranks[name] for name in targets},
        "alpha_pattern": {name: alphas[name] for name in targets},
    }
    return replace(module, fields={**module.fields, **patterns}, targets=targets)


def schedule(fields: Mapping[str, Json], total_steps: int) -> dict[str, int]:
    """AdaLoRA's schedule for a run of `total_steps` optimiser steps.

    The budget stays for `tinit` steps, shrinks, and is final for the last `tfinal`.

    Raises:
        ValueError: nothing is left between tinit and total_steps - tfinal.
    """
    tinit = int(fields.get("tinit", round(_WARM_UP * total_steps)))
    tfinal = int(fields.get("tfinal", max(1, round(_FINE_TUNING * total_steps))))
    if tinit >= total_steps - tfinal:
        raise ValueError(
            "AdaLoRA needs tinit < total steps - tfinal, got "
            f"tinit={tinit}, tfinal={tfinal} of {total_steps} steps: train longer or lower them"
        )
    return {"tinit": tinit, "tfinal": tfinal, "total_step": total_steps}


def growth(architecture: Architecture, total_steps: int) -> Growth:
    """IncreLoRA's plan for a run of `total_steps` optimiser steps.

    What the file leaves open is spread like AdaLoRA's schedule: nothing grows in the first tenth
    of the run, and everything has grown before the last three.

    Raises:
        ValueError: the run is too short for the budget.
    """
    options = {**STRATEGIES["increlora"].options, **architecture.allocation[1]}
    budgets = [(rank_budget(architecture, m), len(m.targets)) for m in architecture.modules]
    modules = sum(count for _, count in budgets)
    components = sum((budget.r - budget.lowest) * count for budget, count in budgets)
    warm_up = options["warm_up"]
    warm_up = round(_WARM_UP * total_steps) if warm_up is None else int(warm_up)
    window = total_steps - warm_up - round(_FINE_TUNING * total_steps)
    fewest = max((budget.r - budget.lowest for budget, _ in budgets), default=0)
    rounds = max(1, fewest, min(_ROUNDS, components, window))
    grown = options["grown"]
    grown = max(1, -(-components // rounds)) if grown is None else int(grown)
    rounds = -(-components // min(grown, modules))
    period = options["period"]
    period = max(1, window // max(1, rounds)) if period is None else int(period)
    if warm_up + period * rounds > total_steps:
        raise ValueError(
            f"IncreLoRA needs {warm_up + period * rounds} steps to spend its budget of "
            f"{components} ranks more ({grown} every {period} after {warm_up}), got {total_steps}: "
            "train longer, or raise grown"
        )
    return Growth(period, grown, warm_up)


def _refuse_other_than_lora(name: str, module: Module) -> None:
    if module.peft_type != "LORA":
        raise ValueError(f"allocation {name} takes LORA modules, got {module.peft_type}")
    if name == "adalora":
        return  # has its own, shorter list of fields that it takes
    if found := sorted(set(_UNEVEN) & set(module.fields)):
        raise ValueError(
            f"allocation {name} has no place for {', '.join(found)}: "
            "use them with allocation uniform"
        )
    if name == "increlora" and module.fields.get("init_lora_weights") not in (None, "gaussian"):
        raise ValueError(
            "allocation increlora needs a LoRA that starts at B = 0, got init_lora_weights "
            f"{module.fields['init_lora_weights']!r}: leave it out or take gaussian"
        )


def _refuse_without_layers(architecture: Architecture) -> None:
    """Strategies that sample layers need some to choose from."""
    name, given = architecture.allocation
    if architecture.full_fine_tuning:
        return
    wrapping = [module.peft_type for module in architecture.modules if not module.targets]
    if wrapping:
        raise ValueError(
            f"allocation {name} needs modules inside layers, got {wrapping[0]}, which surrounds "
            "the model"
        )
    layers = {layer for module in architecture.modules for layer in module.layers}
    wanted = max(2, int({**STRATEGIES[name].options, **given}.get("gamma", 2)))
    if layers and len(layers) < wanted:
        raise ValueError(
            f"allocation {name} chooses among {wanted} layers or more, got {len(layers)}: place "
            "the modules in more layers"
        )
    if name == "ist":
        for module in architecture.modules:
            init = str(module.fields.get("init_lora_weights", ""))
            if init.startswith(("pissa", "olora")):
                raise ValueError(
                    "allocation ist turns adapters down, so they must hold nothing of the "
                    f"pretrained weights, got init_lora_weights {init!r}"
                )


def _at_highest(module: Module, budget: RankBudget) -> Module:
    """Built with every rank that it may get; the scaling is that of rank r."""
    share = budget.highest / budget.r
    alpha = float(module.fields.get("lora_alpha", _LORA_ALPHA))
    alpha *= share**0.5 if module.fields.get("use_rslora") else share
    return replace(module, fields={**module.fields, "r": budget.highest, "lora_alpha": alpha})


def _adalora(module: Module, options: Mapping[str, Json]) -> Module:
    rank = int(module.fields.get("r", _LORA_RANK))
    fields = {name: module.fields[name] for name in _SHARED if name in module.fields}
    dropped = set(module.fields) - set(_SHARED) - {"r"}
    if dropped:
        raise ValueError(
            f"allocation adalora has no place for {', '.join(sorted(dropped))}: "
            "use them with allocation uniform"
        )
    fields |= {"init_r": int(1.5 * rank + 0.5), "target_r": rank, **options}
    _check_ranks(fields)
    return replace(module, peft_type="ADALORA", fields=fields)


def _check_ranks(fields: Mapping[str, Json]) -> None:
    if not fields["target_r"] < fields["init_r"]:
        raise ValueError(
            "AdaLoRA needs target_r < init_r, got "
            f"target_r={fields['target_r']}, init_r={fields['init_r']}: raise init_r"
        )


def found_before_training(architecture: Architecture) -> bool:
    """Whether the ranks are found before the first step."""
    return architecture.allocation[0] in BEFORE_TRAINING

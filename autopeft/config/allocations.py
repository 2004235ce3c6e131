"""The checks of `allocation:`: its name, its fields, and what it is put on."""

from collections.abc import Mapping

from autopeft.config.tree import Complain, options_of, told
from autopeft.config.values import check_value
from autopeft.domain.methods.strategies import STRATEGIES
from autopeft.domain.nearest import nearest
from autopeft.domain.space import Json

_LEAST: Mapping[str, float] = {
    "batches": 1,
    "gamma": 1,
    "grown": 1,
    "init_r": 1,
    "max_r": 1,
    "min_r": 0,
    "outlier": 0,
    "period": 1,
    "rho": 1,
    "warm_up": 0,
}


def check_allocation(tree: Mapping[str, Json], path: str, complain: Complain) -> None:
    """Complain of every option of a branch's allocation that it cannot be."""
    modules = tree.get("modules")
    listed = modules if isinstance(modules, list) else []
    types = {str(m.get("peft_type")) for m in listed if isinstance(m, Mapping)}
    for suffix, value in options_of(tree.get("allocation", "uniform")):
        at, name, options = path + suffix, value, None
        if isinstance(value, Mapping) and len(value) == 1:
            ((name, options),) = value.items()
        if not isinstance(name, str) or name not in STRATEGIES:
            known = f"one of {', '.join(STRATEGIES)}"
            complain(at, f"no allocation is {told(name)}", nearest(name, STRATEGIES, known))
            continue
        strategy = STRATEGIES[name]
        if strategy.changes == "ranks" and types - {"LORA"}:
            got = ", ".join(sorted(types)) or "full fine-tuning"
            complain(at, f"{name} allocates LORA modules, got {got}", "peft_type: LORA")
        elif tree.get("full_fine_tuning") and not strategy.on_full:
            complain(at, f"{name} needs modules, got full fine-tuning", "take lisa or owlore")
        _check_options(name, options, f"{at}.{name}", complain)


def _check_options(name: str, options: Json, path: str, complain: Complain) -> None:
    known = STRATEGIES[name].options
    if options is not None and not isinstance(options, Mapping):
        complain(path, f"takes a mapping of {name}'s fields, got {told(options)}")
        return
    for field, value in (options or {}).items():
        at = f"{path}.{field}"
        if field not in known:
            hint = nearest(field, known, f"it takes {', '.join(known) or 'none'}")
            complain(at, f"allocation {name} has no field {field!r}", hint)
            continue
        check_value(at, field, value, known[field], complain)
        if name != "adalora":
            _check_least(at, field, value, complain)


def _check_least(at: str, field: str, value: Json, complain: Complain) -> None:
    for suffix, option in options_of(value):
        low = getattr(option, "low", option)
        if isinstance(low, int | float) and low < _LEAST[field]:
            complain(at + suffix, f"{field} is at least {_LEAST[field]}, got {low}")

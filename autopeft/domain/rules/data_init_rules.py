"""What the LoRA initialisations that look at data ask of a module, of its model and its company."""

from collections.abc import Mapping

from autopeft.domain.architecture import Architecture
from autopeft.domain.methods.strategies import BEFORE_TRAINING
from autopeft.domain.networks.counting.count import Placed
from autopeft.domain.networks.data_inits import data_init, rewrites_base
from autopeft.domain.space import Json

_VARIANTS = ("alora_invocation_tokens", "kasa_config", "use_bdlora")
_OPTIONS: Mapping[str, Mapping[str, tuple[Json, ...]]] = {
    "corda": {"corda_method": ("ipm", "kpm"), "cache_file": (None,), "covariance_file": (None,)},
    "eva": {"rho": (1,)},
    "lora_ga": {
        "direction": ("ArBr", "A2rBr", "ArB2r", "random"),
        "scale": ("stable", "weight_svd", "gd_scale", "unit"),
    },
}
"""{init: {option of its config: the values that it takes here}}"""

_WHY = {
    "rho": "for other ranks take allocation eva",
    "cache_file": "every trial looks anew",
    "covariance_file": "every trial looks anew",
}


def broken_data_init(placed: Placed) -> str | None:
    """The first reason why a LORA module cannot start by data; None: it can, or does not."""
    init = data_init(placed.module)
    if init is None:
        return None
    if found := [name for name in _VARIANTS if name in placed.module.fields]:
        return f"init {init} starts a plain LoRA or DoRA, got {found[0]}: leave one out"
    if init == "eva" and placed.module.fields.get("rank_pattern"):
        return "init eva deals the ranks of a rank_pattern anew: leave the pattern out"
    return _side(placed, init) or _options(placed, init) or _rank(placed, init)


def _side(placed: Placed, init: str) -> str | None:
    if init != "eva" or not placed.shape.encodes_and_decodes:
        return None
    found = next((t.name for t in placed.targets if "decoder" in t.name.split(".")), None)
    if found is None:
        return None
    return (
        "init eva knows the tokens of the encoder's text, not of the decoder's, got "
        f"{found}: take targets in the encoder, or another init"
    )


def _options(placed: Placed, init: str) -> str | None:
    field = f"{init}_config"
    given = placed.field(field) or {}
    for name, values in _OPTIONS[init].items():
        if name in given and given[name] not in values:
            hint = _WHY.get(name, "take one of these")
            known = ", ".join(map(str, values))
            return f"{field} takes {name} {known}, got {given[name]!r}: {hint}"
    return None


def _rank(placed: Placed, init: str) -> str | None:
    for target in placed.targets:
        # EVA's randomised SVD draws twice the components; LoRA-GA's A and B take r each.
        widths = {
            "corda": min(target.inputs, target.outputs),
            "eva": target.inputs // 2,
            "lora_ga": min(target.inputs, target.outputs) // 2,
        }
        if placed.rank(target) > widths[init]:
            return (
                f"init {init} needs r of {widths[init]} or less at {target.name}, got "
                f"{placed.rank(target)}: lower it"
            )
    return None


def refuse_company(architecture: Architecture) -> None:
    """Nothing, if what starts by data is alone in its model and its allocation goes with it.

    Raises:
        ValueError: the reason why not.
    """
    allocation = architecture.allocation[0]
    for module in architecture.modules:
        init = data_init(module)
        if init is None:
            continue
        if len(architecture.modules) > 1:
            raise ValueError(
                f"init {init} looks at the data through one module alone, got "
                f"{len(architecture.modules)} modules: give it a branch of its own"
            )
        if init == "eva" and allocation in BEFORE_TRAINING:
            raise ValueError(
                f"init eva keeps every rank, allocation {allocation} finds others: take one of them"
            )
        if rewrites_base(module) and allocation == "ist":
            raise ValueError(
                "allocation ist turns adapters down, so they must hold nothing of the pretrained "
                f"weights, got init_lora_weights {init!r}"
            )

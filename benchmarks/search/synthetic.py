"""The layered landscapes: real spaces over a BERT of 24 layers, with a made-up accuracy.

One branch a method, as people write them: bits for the layers, a subset of the kinds of module, a
size, alpha in multiples of it, an allocation, a learning rate. Parameters are counted by the
product's own formulas; `hidden.py` says what accuracy follows, and every seed hides another
instance. Noise: sd 0.01, told as the standard error; in `unstable` as on the recorded SST-2
(`tables/DATASHEET.md`: sd 0.046 between two seeds, told 0.017).

| variant | what is different |
|---|---|
| `layered` | nothing: importance is smooth in depth, capacity pays |
| `shuffled` | the layers' importance has no order in depth |
| `capacity_hurts` | more parameters cost accuracy from early on: small is best |
| `flat` | the learning rate decides, nearly nothing else does |
| `lora_only` | LoRA on query and value of all layers: rank and learning rate, as most people tune |
| `unstable` | training differs from seed to seed by sd 0.045, and the told standard error is 0.015 |

Reference: accuracy 0.60, that of a frozen backbone, and the parameters of the largest adapter.
"""

import numpy as np
from hidden import ALLOCATIONS, BASE, LAYERS, METHODS, Array, Hidden, best_covers, draw
from landscapes import Landscape, Metrics, best
from layered_space import (
    RATIOS,
    ROLES,
    bits_of,
    kind_options,
    largest,
    make_problem,
    methods,
    parameters,
    role_of_target,
    sizes,
)

from autopeft.domain.architecture import Configuration, Module
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.ports import Problem

SD, TOLD = 0.01, 0.01  # of accuracy between two seeds; its standard error
UNSTABLE_SD, UNSTABLE_TOLD = 0.045, 0.015


def landscape(variant: str, seed: int) -> Landscape:
    """The instance of a seed; `hidden.VARIANTS` lists the variants."""
    hidden, problem = draw(variant, seed), make_problem(variant)
    reference = np.array([BASE, -np.log(largest())])
    sd, told = (UNSTABLE_SD, UNSTABLE_TOLD) if variant == "unstable" else (SD, TOLD)

    def true(configuration: Configuration) -> Metrics:
        return {"accuracy": _accuracy(hidden, problem, configuration)}

    def observe(configuration: Configuration, seed: int) -> tuple[Metrics, Metrics]:
        rng = np.random.default_rng([seed, int(configuration.key, 16)])
        shown = true(configuration)["accuracy"] + sd * rng.normal()
        return {"accuracy": float(np.clip(shown, 0.0, 1.0))}, {"accuracy": told}

    scores = np.concatenate([_scores(hidden, variant, method) for method in methods(variant)])
    volume = best(scores, reference)
    return Landscape(variant, problem, observe, true, _seconds, reference, volume)


def _accuracy(hidden: Hidden, problem: Problem, configuration: Configuration) -> float:
    """Read a configuration as `Hidden` sees it."""
    architecture = configuration.architecture
    (module,) = architecture.modules
    layers = np.isin(np.arange(LAYERS), module.layers)[None].astype(float)
    size = float(module.size or 1)
    found = hidden.accuracy(
        hidden.cover(layers, _kinds({role_of_target()[target] for target in module.targets})),
        method=np.array(METHODS.index(module.peft_type)),
        size=np.array(size),
        ratio=np.array(_ratio(module, size)),
        allocation=np.array(ALLOCATIONS.index(architecture.allocation[0])),
        log_rate=np.log10(configuration.recipe["learning_rate"]),
        parameters=np.array(problem.known(architecture)["adapter_params"]),
    )
    return float(found[0])


def _kinds(roles: set[str]) -> Array:
    """(1, K) the kinds that these roles are, or hold."""
    return np.array([[float(bool({kind, kind.split(".")[0]} & roles)) for kind in ROLES]])


def _ratio(module: Module, size: float) -> float:
    if module.peft_type != "LORA":
        return 2.0
    return float(module.fields.get("lora_alpha", PEFT_DEFAULTS["LORA"]["lora_alpha"])) / size


def _seconds(configuration: Configuration) -> float:
    """Backward passes stop at the lowest layer that is on; large modules take longer."""
    (module,) = configuration.architecture.modules
    depth = (LAYERS - min(module.layers)) / LAYERS
    width = 1 + 0.03 * np.log2(float(module.size or 1))
    return float(100 * (0.4 + 0.6 * depth) * width * (1 + 0.02 * len(module.targets) / LAYERS))


def _scores(hidden: Hidden, variant: str, method: str) -> Array:
    """(n, 2) scores of every configuration of a method that could be on the front."""
    only = variant == "lora_only"
    tuned = method == "LORA" and not only
    ratios = np.array(RATIOS if tuned else (2,), float)
    options = len(kind_options(method))
    found = []
    for subset in (0b11,) if only else range(1, 2**options):
        kinds = np.repeat(bits_of(subset, options), len(ROLES) // options)
        covers = best_covers(kinds @ hidden.importance, hidden.redundancy) / hidden.whole
        # (allocations, sizes, L + 1) of these kinds, then one more axis for the ratios
        known = parameters(method)[:1] if only else parameters(method)
        priced = np.isfinite(known[:, :, subset])
        priced[..., : LAYERS if only else 1] = False
        a, s, n = (np.repeat(axis, len(ratios)) for axis in np.nonzero(priced))
        ratio = np.tile(ratios, len(a) // len(ratios))
        at, size = np.full(len(a), METHODS.index(method)), np.array(sizes(method), float)[s]
        accuracy = hidden.accuracy(
            covers[n],
            method=at,
            size=size,
            ratio=ratio,
            allocation=a,
            log_rate=hidden.best_rate(at, size, ratio),
            parameters=known[a, s, subset, n],
        )
        found.append(np.column_stack([accuracy, -np.log(known[a, s, subset, n])]))
    return np.concatenate(found)

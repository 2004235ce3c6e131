"""The space of the layered landscapes, over a BERT of 24 layers that has no weights."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
from hidden import ALLOCATIONS, LAYERS, LOG_RATES, METHODS, Array

from autopeft.domain.architecture import Configuration, canonical
from autopeft.domain.expression import Expr
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape, TargetModule
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.objective import Objective
from autopeft.domain.ports import Problem
from autopeft.domain.roles import block_role_of, role_of
from autopeft.domain.space import Bits, Branch, Choice, Point, Range, Space, Subset

RATIOS = (1, 2, 4, 8)  # alpha / r
ROLES = ("attention.query", "attention.value", "feed_forward.up", "feed_forward.down")
_WIDTH = 1024
_BLOCKS = ("attention", "feed_forward")
_RANKS = (1, 2, 4, 8, 16, 32, 64)
_BOTTLENECKS = (2, 4, 8, 16, 32, 64, 128)
_OBJECTIVES = (
    Objective("accuracy", "maximize"),
    Objective("adapter_params", "minimize", scale="log"),
)


@cache
def make_problem(variant: str) -> Problem:
    """The problem of a variant: the same for all seeds."""
    space = Space(tuple(_branch(method, variant) for method in methods(variant)))

    def configure(point: Point) -> Configuration:
        return canonical(
            space.realise(point),
            branch=point["branch"],
            shape=shape(),
            training={},
            defaults=PEFT_DEFAULTS,
        )

    return Problem(
        space, _OBJECTIVES, (), shape(), configure, partial(known_metrics, shape=shape())
    )


def sizes(method: str) -> tuple[int, ...]:
    return {"LORA": _RANKS, "IA3": (1,)}.get(method, _BOTTLENECKS)


def kind_options(method: str) -> tuple[str, ...]:
    """What `target_modules` is a subset of."""
    return _BLOCKS if "ADAPTER" in method else ROLES


def methods(variant: str) -> tuple[str, ...]:
    return METHODS[:1] if variant == "lora_only" else METHODS


def _branch(method: str, variant: str) -> Branch:
    low, high = (10.0**rate for rate in LOG_RATES)
    tree: dict[str, Any] = {"training": {"learning_rate": Range(low, high, log=True)}}
    module: dict[str, Any] = {"peft_type": method}
    if variant == "lora_only":
        module |= {"r": Choice(_RANKS), "lora_alpha": Expr("2 * r")}
        module["target_modules"] = ["query", "value"]
        return Branch("lora", {**tree, "modules": [module]})
    tree["layers"] = {"bits": Bits(LAYERS)}
    if method == "LORA":
        multiples = Choice(tuple(Expr(f"{ratio} * r") for ratio in RATIOS))
        module |= {"r": Choice(_RANKS), "lora_alpha": multiples}
        tree["allocation"] = Choice(ALLOCATIONS)
    elif method != "IA3":
        module["bottleneck_size"] = Choice(_BOTTLENECKS)
    module["target_modules"] = Subset(kind_options(method))
    return Branch(method.lower(), {**tree, "modules": [module]})


@cache
def shape() -> ModelShape:
    kinds = {
        "attention.self.query": (_WIDTH, _WIDTH),
        "attention.self.key": (_WIDTH, _WIDTH),
        "attention.self.value": (_WIDTH, _WIDTH),
        "attention.output.dense": (_WIDTH, _WIDTH),
        "intermediate.dense": (_WIDTH, 4 * _WIDTH),
        "output.dense": (4 * _WIDTH, _WIDTH),
    }
    blocks = {"attention.self": (_WIDTH, _WIDTH), "output": (_WIDTH, _WIDTH)}

    def placed(widths: Mapping[str, tuple[int, int]], *, whole: bool) -> Iterator[TargetModule]:
        for layer in range(LAYERS):
            for kind, (i, o) in widths.items():
                yield TargetModule(
                    name=f"bert.encoder.layer.{layer}.{kind}",
                    layer=layer,
                    kind=kind,
                    type={"attention.self": "BertSelfAttention", "output": "BertOutput"}.get(
                        kind, "Linear"
                    ),
                    inputs=i,
                    outputs=o,
                    parameters=i * o + o,
                    bias=not whole,
                    role=block_role_of(kind) if whole else role_of(kind),
                )

    modules = tuple(placed(kinds, whole=False))
    return ModelShape(
        model_type="bert",
        layers=LAYERS,
        modules=modules,
        kv_width=_WIDTH,
        head=("classifier",),
        head_parameters=2 * _WIDTH + 2,
        total_parameters=sum(module.parameters for module in modules) + 2 * _WIDTH + 2,
        blocks=tuple(placed(blocks, whole=True)),
    )


@cache
def role_of_target() -> Mapping[str, str]:
    return {module.name: module.role for module in shape().everything}


@cache
def parameters(method: str) -> Array:
    """(allocations, sizes, subsets, L + 1) parameters, asked of the product's formulas.

    subsets: which kinds are on, as the bits of a number; last: how many layers are. Infinite where
    the product refuses. All layers are alike, so which they are does not matter.
    """
    allocations = len(ALLOCATIONS) if method == "LORA" else 1
    found = np.full(
        (allocations, len(sizes(method)), 2 ** len(kind_options(method)), LAYERS + 1), np.inf
    )
    for a, s, subset in np.ndindex(found.shape[:-1]):
        if subset:
            _fill(found[a, s, subset], partial(_asked, method, a, s, subset))
    return found


def _fill(by_layers: Array, asked: Callable[[int], float]) -> None:
    """Ask for few numbers of layers where the others follow: most formulas are sums over layers."""
    for layers in (1, 2, LAYERS):
        by_layers[layers] = asked(layers)
    linear = by_layers[LAYERS] == by_layers[2] * LAYERS / 2
    for layers in range(3, LAYERS):
        by_layers[layers] = by_layers[2] * layers / 2 if linear else asked(layers)


def _asked(method: str, allocation: int, size: int, subset: int, layers: int) -> float:
    problem = make_problem("layered")
    point: dict[str, Any] = {"branch": method.lower()}
    for parameter in problem.space[method.lower()].parameters:
        match parameter.variable:
            case Bits():
                point[parameter.name] = tuple(int(layer < layers) for layer in range(LAYERS))
            case Subset(options):
                point[parameter.name] = bits_of(subset, len(options))
            case Range(low=low):
                point[parameter.name] = low
            case Choice():
                by_name = {"allocation": allocation, "modules[0].lora_alpha": 0}
                point[parameter.name] = by_name.get(parameter.name, size)
    configuration = problem.admissible(point)
    if configuration is None:
        return np.inf
    return problem.known(configuration.architecture)["adapter_params"]


def bits_of(subset: int, length: int) -> tuple[int, ...]:
    return tuple(subset >> bit & 1 for bit in range(length))


@cache
def largest() -> float:
    """Parameters of the largest adapter of all."""
    found = np.concatenate([parameters(method).ravel() for method in METHODS])
    return float(found[np.isfinite(found)].max())

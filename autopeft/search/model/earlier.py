"""What earlier studies found, in words that a study on another model understands.

An earlier trial is kept as its named features (`encoding.features`) and its scores, not as a
configuration: nothing of its model is needed later, and what the new model could not take still
informs. To read it for another model

- a layer's features go to the layers at the same relative depth, by how much they overlap;
- a kind of module that the new model lacks becomes the one of the same role (`q_proj`, `query`);
- parameters are scaled by the ratio of the models' sizes.

Sizes, fields, learning rates and the other training arguments stay what they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import expm1, log1p, sqrt
from typing import Any

import numpy as np

from autopeft.domain.model import ModelShape
from autopeft.domain.objective import Objective
from autopeft.domain.ports import Problem
from autopeft.domain.roles import block_role_of, role_of
from autopeft.domain.trial import Trial
from autopeft.search.model.encoding import Array, features, shares
from autopeft.search.model.outcomes import of_objective
from autopeft.search.model.scale import Scale
from autopeft.search.points.drawing import edge, rates

_BY_LAYER = ("layer", "share")


@dataclass(frozen=True)
class Seen:
    """One result of an earlier study.

    features: named, as of its own model. size: parameters of the adapter. edge: how near the
    learning rate is to an end of its range there, 0 to 1. fidelity: share of the training done.
    score: on the new study's objective, larger is better. deviation: its standard error, 0 where
    none was told.
    """

    features: Mapping[str, float]
    size: float
    edge: float
    fidelity: float
    score: float
    deviation: float


@dataclass(frozen=True)
class Earlier:
    """The results of an earlier study. layers, parameters: of its model, without the head."""

    study: str
    layers: int
    parameters: int
    seen: tuple[Seen, ...]

    def document(self) -> dict[str, Any]:
        """As JSON data: the features as one table."""
        names = sorted({name for seen in self.seen for name in seen.features})
        return {
            "study": self.study,
            "layers": self.layers,
            "parameters": self.parameters,
            "features": names,
            "seen": [
                [
                    *(seen.size, seen.edge, seen.fidelity, seen.score, seen.deviation),
                    *(seen.features.get(name) for name in names),
                ]
                for seen in self.seen
            ],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Earlier":
        names = document["features"]

        def seen(row: Sequence[Any]) -> Seen:
            told = {n: v for n, v in zip(names, row[5:], strict=True) if v is not None}
            return Seen(told, *row[:5])

        return cls(
            document["study"],
            document["layers"],
            document["parameters"],
            tuple(seen(row) for row in document["seen"]),
        )


def earlier(
    study: str, problem: Problem, history: Sequence[Trial], objective: Objective
) -> Earlier:
    """What a study tells another, of one measured objective of the other.

    problem: of the earlier study. Trials that never measured the objective are left out; so are
    failed ones.
    """
    plain = Scale((objective,), np.zeros(1), np.ones(1))
    found = of_objective(problem, history, plain, 0)
    noise = np.zeros(len(found.values)) if found.noise is None else found.noise
    ends = {branch.name: rates(branch) for branch in problem.space.branches}
    seen = []
    for position, fidelity, value, variance in zip(
        found.trials, found.fidelity, found.values, noise, strict=True
    ):
        configuration = history[position].configuration
        known = problem.known(configuration.architecture)
        row = features(configuration, problem.shape, known)
        row |= shares(problem, configuration.architecture)
        seen.append(
            Seen(
                features=row,
                size=float(known.get("adapter_params", 0.0)),
                edge=edge(ends.get(configuration.branch), configuration),
                fidelity=float(fidelity),
                score=float(value),
                deviation=sqrt(variance),
            )
        )
    return Earlier(study, problem.shape.layers, backbone(problem.shape), tuple(seen))


def backbone(shape: ModelShape) -> int:
    """Parameters of a model without its head, which follows the task."""
    return shape.total_parameters - shape.head_parameters


def translated(source: Earlier, shape: ModelShape, *, by_method: bool) -> list[dict[str, float]]:
    """The named features of what was seen, as if it had been on a model of this shape.

    by_method: whether the new study tells apart whose share of a layer is whose.
    """
    overlap = _overlap(source.layers, shape.layers)
    kinds = _kinds(shape)
    ratio = backbone(shape) / source.parameters
    return [
        dict(_row(seen.features, overlap, kinds, ratio, by_method=by_method))
        for seen in source.seen
    ]


def _row(
    features: Mapping[str, float],
    overlap: Array,
    kinds: Mapping[str, str],
    ratio: float,
    *,
    by_method: bool,
) -> Iterator[tuple[str, float]]:
    profiles: dict[str, Array] = {}  # what stands before a layer's number -> by layer
    for name, value in features.items():
        group, _, rest = name.partition(":")
        if group in _BY_LAYER:
            before = name.rstrip("0123456789")
            if group == "layer" or by_method:
                profile = profiles.setdefault(before, np.zeros(overlap.shape[1]))
                profile[int(name.removeprefix(before))] = value
        elif group == "kind":
            role = role_of(rest) or block_role_of(rest)
            yield f"kind:{kinds.get(rest) or kinds.get(role, rest)}", value
        elif name == "cost:parameters":
            yield name, log1p(expm1(value) * ratio)
        else:
            yield name, value
    for before, profile in profiles.items():
        for layer, capacity in enumerate(overlap @ profile):
            if capacity > 0:
                yield f"{before}{layer}", float(capacity)


def _overlap(old: int, new: int) -> Array:
    """(new, old) the share of a new layer's depth that lies in each old layer; rows sum to 1."""
    edges = np.arange(new)[:, None] / new, np.arange(old)[None, :] / old
    ends = np.minimum(edges[0] + 1 / new, edges[1] + 1 / old)
    return np.asarray(np.clip(ends - np.maximum(*edges), 0.0, None) * new)


def _kinds(shape: ModelShape) -> dict[str, str]:
    """The model's kinds by their own name, and the first of them by role."""
    kinds: dict[str, str] = {}
    for module in shape.everything:
        kinds[module.kind] = module.kind
        kinds.setdefault(module.role, module.kind)
    return {name: kind for name, kind in kinds.items() if name}

"""The front of a study as JSON."""

import json
from collections.abc import Sequence
from typing import Any

from autopeft.domain.networks.describe import describe, flat_params
from autopeft.domain.objective import Objective
from autopeft.domain.results.replicates import confirmed, merged, seeds_told
from autopeft.domain.trial import Trial
from autopeft.report.document import finite


def front_json(
    objectives: Sequence[Objective], trials: Sequence[Trial], front: Sequence[int]
) -> str:
    """The front as JSON text, in the order of `front`; values that are not finite become null."""
    by_number = {trial.number: trial for trial in merged(trials)}
    document = {
        "objectives": [
            {"metric": o.metric, "goal": o.goal, "scale": o.scale, "unit": o.told_unit}
            for o in objectives
        ],
        "front": [_row(by_number[number], trials) for number in front if number in by_number],
    }
    return json.dumps(finite(document), indent=2, allow_nan=False)


def _row(trial: Trial, among: Sequence[Trial]) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "name": describe(trial.configuration),
        "branch": trial.configuration.branch,
        "baseline": trial.baseline,
        "seed": trial.seed,
        "seeds": seeds_told(trial, among)[0],
        "confirmed": trial.configuration.key in confirmed(among),
        "metrics": trial.metrics,
        "stderr": trial.stderr,
        "seconds": trial.seconds,
        "params": flat_params(trial.configuration),
        "configuration": trial.configuration.document(),
    }

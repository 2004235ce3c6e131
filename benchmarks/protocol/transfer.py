"""What a task's search found, trained as it stands on another task, beside a LoRA of its size.

The configuration is the best of the searched ones (no baseline) on validation at the fresh seeds of
its own task, and keeps its learning rate. The LoRA has the number of adapter parameters that is
nearest to it (query and value of all layers, or of the last few at rank 1), and its learning rate is
tuned on the task by one trial each at seed 0. Both train at the seeds of the task's confirmation.
"""

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lines
import runs
from encoder_tasks import space_file
from protocol_table import best_searched

from autopeft import build, config
from autopeft.domain.architecture import Configuration, canonical
from autopeft.domain.errors import AutopeftError
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.networks.describe import describe
from autopeft.domain.trial import Failure, Segment, Stop
from autopeft.study import load_study

RATES = (1e-3, 3e-3, 1e-2)
FRESH = 1000  # how far above the search's seed the seeds of a confirmation begin


def transfer(
    sources: Sequence[str], targets: Sequence[str], home: Path, file: Path, overrides: Sequence[str]
) -> None:
    """Train what the record lacks.

    Raises:
        AutopeftError: a source is not confirmed, or a run failed.
    """
    found = {task: found_on(task, lines.read(file)) for task in sources}
    for target in targets:
        spec, shape = build.bound(config.load(space_file(target, home), overrides))
        with tempfile.TemporaryDirectory() as scratch:
            there = _There(file, target, spec, shape, build.make_evaluator(spec, Path(scratch)))
            for source in sources:
                if source != target:
                    there.train(source, found[source])


def found_on(task: str, rows: Sequence[Mapping[str, Any]]) -> Configuration:
    """The searched configuration of a task that is best at fresh seeds, on validation."""
    best = best_searched(rows, task)
    if best is None:
        raise AutopeftError(
            f"a transfer needs a confirmed front with something that was searched, {task} has none: "
            "run it first, or leave it out"
        )
    return load_study(task).trial(best["trial"]).configuration


class _There:
    """A task that configurations of other tasks are trained on."""

    def __init__(self, file: Path, task: str, spec: Any, shape: Any, evaluator: Any) -> None:
        self._file, self._task = file, task
        self._spec, self._shape, self._evaluator = spec, shape, evaluator

    def train(self, source: str, moved: Configuration) -> None:
        seed, size = self._spec.search.seed, self._known(moved)["adapter_params"]
        loras = {rate: self._lora(size, rate) for rate in RATES}
        tuned = {
            rate: self._row(source, f"lora {rate:g}", lora, seed, test=False)["accuracy"]
            for rate, lora in loras.items()
        }
        best = loras[max(tuned, key=lambda rate: tuned[rate])]
        for fresh in range(seed + FRESH, seed + FRESH + self._spec.confirm.seeds):
            self._row(source, "moved", moved, fresh, test=True)
            self._row(source, "lora", best, fresh, test=True)

    def _row(
        self, source: str, party: str, configuration: Configuration, seed: int, *, test: bool
    ) -> dict[str, Any]:
        row = {"kind": "transfer", "task": self._task, "source": source}
        row |= {"party": party, "seed": seed}
        if (old := runs.there(self._file, row)) is not None:
            return old
        segment = Segment("moved", 0, configuration, seed, 0, Stop(), False, True, test=test)
        result = self._evaluator.run(segment, lambda step, metrics: None)
        if isinstance(result, Failure):
            raise AutopeftError(
                f"{describe(configuration)} failed on {self._task}: {result.message}"
            )
        row |= {
            "name": describe(configuration),
            "trainable_params": self._known(configuration)["trainable_params"],
            "accuracy": result.metrics["accuracy"],
            "test": result.test.get("accuracy"),
            "seconds": round(result.seconds, 1),
        }
        runs.record(self._file, [row])
        return row

    def _lora(self, size: float, rate: float) -> Configuration:
        """The LoRA on query and value whose adapter is nearest to `size` parameters."""
        layers = self._shape.layers
        shapes = [({"last": k}, 1) for k in range(1, layers)] + [("all", r) for r in range(1, 129)]
        made = [self._canonical(where, rank, rate) for where, rank in shapes]
        return min(made, key=lambda c: abs(math.log(self._known(c)["adapter_params"] / size)))

    def _canonical(self, layers: Any, rank: int, rate: float) -> Configuration:
        module = {
            "peft_type": "LORA",
            "r": rank,
            "lora_alpha": 2 * rank,
            "target_modules": ["attention.query", "attention.value"],
        }
        return canonical(
            {"layers": layers, "modules": [module], "training": {"learning_rate": rate}},
            branch="lora",
            shape=self._shape,
            training=self._spec.training,
            defaults=PEFT_DEFAULTS,
        )

    def _known(self, configuration: Configuration) -> Mapping[str, float]:
        return build.problem(self._spec, self._shape).known(configuration.architecture)

"""What a segment comes to: metrics of its task, of the user and of the harness, and its costs."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from autopeft.domain.rules.fit import loads_quantised
from autopeft.domain.rules.serving import unmerged_because
from autopeft.domain.trial import Segment
from autopeft.training.bench import Bench
from autopeft.training.measuring.asked import asked_metrics
from autopeft.training.measuring.costs import costs
from autopeft.training.measuring.harness import harness_measures
from autopeft.training.measuring.judging import judge
from autopeft.training.measuring.own_metrics import predicted
from autopeft.training.pausing import NotFiniteError
from autopeft.training.tasks import Measures


def measured(bench: Bench, trainer: Any, split: str | None = None) -> Measures:
    """Metrics and their standard errors on the validation split, or on one that is named.

    split: its name, where the trainer has several.

    Raises:
        NotFiniteError: a metric of the validation split is not finite.
    """
    loader = trainer.get_eval_dataloader(split)
    metrics, errors = bench.task.measure(
        trainer.model, loader, trainer.args.device, bench.spec.asked
    )
    for name, value in metrics.items():
        # What the test split says decides nothing.
        if split != "test" and not math.isfinite(value):
            what = "the validation loss" if name == "eval_loss" else name
            raise NotFiniteError(f"{what} is {value} at step {trainer.state.global_step}")
    own = partial(bench.own.of, finite=split != "test")
    more, their_errors = judge(
        bench.spec,
        trainer.model,
        trainer.processing_class,
        bench.rows[split or "validation"],
        batch_size=trainer.args.per_device_eval_batch_size,
        precision=trainer.accelerator.autocast(),
        own=own if bench.own else None,
    )
    if bench.own and not bench.spec.task.writes:
        found, spread = own(*predicted(trainer, loader))
        more, their_errors = more | found, their_errors | spread
    if split == "test":  # the tasks of the harness are what they are: measured once
        return {**metrics, **more}, {**errors, **their_errors}
    of_tasks, errors_of_tasks = harness_measures(
        bench.spec,
        trainer.model,
        trainer.processing_class,
        batch_size=trainer.args.per_device_eval_batch_size,
        precision=trainer.accelerator.autocast(),
    )
    return {**metrics, **more, **of_tasks}, {**errors, **their_errors, **errors_of_tasks}


def costs_of(
    bench: Bench, segment: Segment, trainer: Any, progress: Mapping[str, Any]
) -> dict[str, float]:
    architecture, spec = segment.configuration.architecture, bench.spec
    quantized = loads_quantised(spec.model)
    merges = unmerged_because(architecture, bench.shape, quantized=quantized) is None
    found = costs(progress, trainer, spec.resources)
    return found | asked_metrics(spec.asked, trainer, bench.general, merges=merges)

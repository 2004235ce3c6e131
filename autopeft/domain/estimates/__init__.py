"""What a trial will cost, by formula, before it ran: the mean of the search's models of costs.

Estimates are right in their ratios, not in their level, which depends on the machine: what is
measured is taken to be an estimate times a factor that the measurements tell.
"""

from collections.abc import Mapping

from autopeft.domain.architecture import Configuration
from autopeft.domain.estimates.backward import reached
from autopeft.domain.estimates.memory import Kept, peak_gib
from autopeft.domain.estimates.time import step_seconds
from autopeft.domain.estimates.workload import LANGUAGE_LENGTH, Corpus, Setting, Workload
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.recipes.recipe import planned_epochs, planned_steps

__all__ = ["ESTIMATED", "GROWING", "LANGUAGE_LENGTH", "Corpus", "Setting", "estimates"]

GROWING = frozenset({"train_seconds", "gpu_hours", "cost"})
"""Those that grow with the steps done; the others are as at the end of training from the start."""

ESTIMATED = frozenset({"peak_memory_gib", "step_ms", "tokens_per_second", *GROWING})
"""The metrics that have an estimate."""


def estimates(
    configuration: Configuration, *, shape: ModelShape, corpus: Corpus, setting: Setting
) -> Mapping[str, float]:
    """{metric: estimate} of the full run, all positive; its `steps`, as the Trainer plans them, and
    its `epochs`.

    Raises:
        ValueError: a module cannot be counted.
    """
    architecture = configuration.architecture
    trained = known_metrics(architecture, shape)["trainable_params"]
    corpus = corpus.as_trained(configuration.recipe)
    work = Workload.of(configuration.recipe, corpus, width=shape.backbone_bytes, cuda=setting.cuda)
    found = reached(architecture, shape, checkpointing=work.checkpointing)
    kept = Kept.of(found, shape, work, setting)
    seconds = step_seconds(found, kept, shape, work, setting, trained=trained)
    return {
        "steps": float(planned_steps(configuration.recipe, corpus.rows)),
        "epochs": planned_epochs(configuration.recipe, corpus.rows),
        "peak_memory_gib": peak_gib(found, kept, shape, work, setting, trained=trained),
        "step_ms": 1000 * seconds,
        "tokens_per_second": corpus.mean * work.rows * work.accumulation / seconds,
        "train_seconds": seconds * work.steps,
        # Of one device at a price of 1: the rest is part of the factor.
        "gpu_hours": seconds * work.steps / 3600,
        "cost": seconds * work.steps / 3600,
    }

"""Workers that wait for the sampler are kept.

Tune re-uses an actor where the next trial is there when one ends. Where the sampler still thinks it
keeps one idle actor and ends the others, and each of those costs the next trial a new process, the
imports and the base model: with 8 workers and trials of 2 s three did all the work (Ray 2.60). Here
as many stay as may run at once, for as long as the sampler has something to say; what waits for
anything else gives its place to others on the cluster.

Tune has no setting for it: this asks its cache of actors, which is no public interface.
"""

from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import FIFOScheduler


class KeepsWorkers(FIFOScheduler):  # type: ignore[misc]
    """FIFO, and what the module's head says.

    Args:
        parallel: workers at once.
        starved: whether a worker without a trial waits for the sampler.
    """

    def __init__(self, parallel: int, starved: Callable[[], bool]) -> None:
        super().__init__()
        self._parallel, self._starved = parallel, starved
        self._resources: Any = None  # what a worker takes: the cache's key
        self._kept = 0

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it for a restore that we never do

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._resources = trial.placement_group_factory

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Called once a step, before Tune looks at what has ended; Tune starts the first in line by
        itself, so that none need be chosen here among all that there ever were."""
        if self._resources is not None:
            cache = tune_controller._tune_controller._actor_cache
            kept = self._parallel if self._starved() else 0
            cache.increase_max(self._resources, kept - self._kept)
            self._kept = kept
        return None

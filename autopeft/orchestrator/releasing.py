"""Tune's cache of idle actors, for a search that has to leave room for others.

With `reuse_actors` Tune keeps one actor that has nothing to do, for the next trial to begin at
once. A search that runs its share has no next trial before another one ends, so that actor would
hold a slot of somebody else's for nothing. Tune offers no way to say so: its cache is replaced
while a run is made (tried on Ray 2.60; `test_fair_shares` fails where it no longer works).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ray.tune.execution import tune_controller

_Kept: Any = tune_controller._ObjectCache


class ReleasingCache(_Kept):  # type: ignore[misc]
    """enough: whether the search may start nothing now."""

    def __init__(self, *, enough: Callable[[], bool], **options: Any) -> None:
        super().__init__(**options)
        self._enough = enough

    def flush_cached_objects(self, force_all: bool = False) -> Any:
        # An actor that a trial waits for is no idle one.
        idle = self.total_max_objects == 0 and self._enough()
        return super().flush_cached_objects(force_all=force_all or idle)


@contextmanager
def releasing(enough: Callable[[], bool]) -> Iterator[None]:
    """Runs that are made inside give their idle actors back while `enough` says so."""
    tune_controller._ObjectCache = partial(ReleasingCache, enough=enough)
    try:
        yield
    finally:
        tune_controller._ObjectCache = _Kept

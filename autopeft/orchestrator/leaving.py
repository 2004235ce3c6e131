"""A worker whose machine goes away: it hears of it, pauses its segment, and leaves.

SIGTERM comes from whoever ends the machine's processes; that a node is drained, Ray knows: a
thread of the worker asks it every few seconds, as Ray Train does. A worker that left a checkpoint
behind ends its process, so that Tune gives it nothing more to do; by the message of its end the
driver knows that the segment is none the worse for it.

Imported by `ray_tune` alone, which sets what Ray reads from its environment first.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import ray
from ray import _private, _raylet

from autopeft import preemption
from autopeft.domain.trial import Failure, Result

PAUSED = "autopeft: the machine goes away, the segment is paused"
_ENDED = "node was terminated expectedly"  # Ray's words for a raylet that got SIGTERM
LOOK_S = 2.0

log = logging.getLogger("autopeft")


def left(cause: str) -> bool:
    """Whether a worker's end, as Tune tells it, says nothing of its segment: it paused, or someone
    ended its node. A node that is lost in another way may have been lost to the trial.
    """
    return PAUSED in cause or _ENDED in cause


def last_words(trial: Any) -> str:
    """What Tune knows of the end of a Tune trial's worker; "": nothing.

    `trial.get_error` reads where Tune copies it to, later.
    """
    try:
        return Path(trial.error_file or "").read_text().strip()
    except OSError:
        return str(trial.get_error() or "").strip()


def spoiled(result: Result | Failure) -> bool:
    """Whether a failure may come of the machine's end: SIGTERM ends code of the user's own, too."""
    return preemption.asked() and isinstance(result, Failure)


def leave() -> NoReturn:
    """End this worker."""
    _raylet.raise_sys_exit_with_custom_error_message(PAUSED)  # type: ignore[attr-defined]
    raise AssertionError("the line above ends the process")


@contextmanager
def heard() -> Iterator[None]:
    """Around a segment: hear of SIGTERM and of the node's drain.

    Raises:
        Preempted: the node is drained already.
    """
    _watch()
    if preemption.asked():
        raise preemption.Preempted("the node is drained")
    with preemption.heard():
        yield


def _watch() -> None:
    """One thread a process."""
    if not any(thread.name == "draining" for thread in threading.enumerate()):
        threading.Thread(target=_look, name="draining", daemon=True).start()


def _look() -> None:
    node, waiting = ray.get_runtime_context().get_node_id(), threading.Event()
    while not waiting.wait(LOOK_S):
        try:
            drained = _private.state.state.get_draining_nodes()
        except Exception as error:  # the head is away, or this Ray has no such thing
            log.debug("whether the node is drained cannot be said: %r", error)
            continue
        if node in drained:
            preemption.ask()
            return

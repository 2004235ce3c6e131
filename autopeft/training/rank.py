"""One process of a trial that several train: `python -m autopeft.training.rank FD`.

FD: of the connection to the worker that started it (`autopeft.training.group`): a Start comes
first, then segments; curves and results go back. It is the worker's alone, so it is unpickled.
The process ends when the connection does, whatever it is doing: when its worker has died too.
"""

import os
import shutil
import sys
import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Failure, Segment

_TIMEOUT = timedelta(hours=2)  # of a collective; that a process died is noticed by the worker


@dataclass(frozen=True)
class Start:
    """What a process has to know. scratch: a folder of the whole group, deleted at its end."""

    spec: StudySpec
    home: Path
    rank: int
    scratch: Path


def main() -> None:
    connection = Connection(int(sys.argv[1]))
    start: Start = connection.recv()
    segments: SimpleQueue[Segment] = SimpleQueue()
    listening = threading.Thread(target=_listen, args=(connection, segments, start), daemon=True)
    listening.start()
    _join(start)
    from autopeft.training.evaluator import TrialEvaluator

    evaluator = TrialEvaluator(_placed(start), start.home)

    def report(step: int, metrics: object) -> None:
        if start.rank == 0:
            connection.send((step, metrics))

    while True:
        result = evaluator.attempt(segments.get(), report)
        if isinstance(result, Failure):
            where = f"process {start.rank} of {start.spec.resources.processes_per_trial}"
            result = replace(result, details=f"in {where}:\n{result.details}")
        connection.send(result)


def _listen(connection: Connection, segments: "SimpleQueue[Segment]", start: Start) -> None:
    try:
        while True:
            segments.put(connection.recv())
    except (EOFError, OSError):
        shutil.rmtree(start.scratch, ignore_errors=True)
        os._exit(0)  # the main thread may wait for processes that are gone


def _join(start: Start) -> None:
    """Become part of the process group; accelerate finds it there and goes by it."""
    import torch
    import torch.distributed as dist

    processes = start.spec.resources.processes_per_trial
    if torch.cuda.is_available():
        torch.cuda.set_device(start.rank)
    store = dist.FileStore(str(start.scratch / "meeting"), processes)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=store,
        rank=start.rank,
        world_size=processes,
        timeout=_TIMEOUT,
    )


def _placed(start: Start) -> StudySpec:
    """The spec with a quantised base on this process's own GPU: it cannot be moved later."""
    import torch

    from autopeft.training.loading.model import bits_and_bytes

    spec = start.spec
    if not (bits_and_bytes(spec.model) and torch.cuda.is_available()):
        return spec
    return replace(spec, model={**spec.model, "device_map": {"": start.rank}})


if __name__ == "__main__":
    main()

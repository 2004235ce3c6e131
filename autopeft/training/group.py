"""A trial over several processes of one node: the worker starts them, and they train together.

Data parallelism as accelerate and the Trainer do it (DistributedDataParallel; nccl on GPUs, gloo on
CPUs), under the environment that `accelerate launch` and `torchrun` make. Neither launcher is
taken: the processes live on between trials with the base model loaded, as a worker does, and end
with their worker, however that ends.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from autopeft.domain.ports import Report
from autopeft.domain.recipes.processes import spread_out
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Failure, FailureReason, Result, Segment
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.rank import Start

_GRACE_S = 1.0  # for the others to say what happened to them, too


class GroupEvaluator(TrialEvaluator):
    """Runs the segments of a study, each in `processes_per_trial` processes.

    A failure ends the processes: the others would wait for the one that failed.
    """

    def __init__(self, spec: StudySpec, home: Path) -> None:
        super().__init__(spec, home)
        self._group: Group | None = None

    def run(self, segment: Segment, report: Report) -> Result | Failure:
        processes = self._spec.resources.processes_per_trial
        try:
            configuration = spread_out(segment.configuration, processes)
        except ValueError as error:
            return Failure(FailureReason.UNFIT, str(error))
        return super().run(replace(segment, configuration=configuration), report)

    def attempt(self, segment: Segment, report: Report) -> Result | Failure:
        processes, gpus = self._spec.resources.processes_per_trial, torch.cuda.device_count()
        if self._spec.resources.gpus_per_trial and gpus < processes:
            said = f"{processes} processes need a GPU each, this worker has {gpus}"
            return Failure(FailureReason.ERROR, f"{said}: lower resources.gpus_per_trial")
        if self._group is None:
            self._group = Group(self._spec, self._home)
        try:
            result = self._group.run(segment, report)
        except BaseException:
            self._close()
            raise
        if isinstance(result, Failure):
            self._close()
        return result

    def _close(self) -> None:
        if self._group is not None:
            self._group.close()
            self._group = None


class Group:
    """Processes that wait for segments."""

    def __init__(self, spec: StudySpec, home: Path) -> None:
        scratch = Path(tempfile.mkdtemp(prefix="autopeft-group-"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._connections: list[Connection] = []
        self.close = weakref.finalize(self, _end, self._processes, self._connections, scratch)
        for rank in range(spec.resources.processes_per_trial):
            ours, theirs = Pipe()
            self._connections.append(ours)
            with theirs:
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "autopeft.training.rank", str(theirs.fileno())],
                        env=_environment(spec, rank, scratch),
                        pass_fds=(theirs.fileno(),),
                        stdin=subprocess.DEVNULL,
                        stdout=2,  # ours is data
                        start_new_session=True,  # Ctrl-C is the driver's
                    )
                )
            with suppress(OSError):  # it is dead already: `run` says so
                ours.send(Start(spec, home.absolute(), rank, scratch))

    def run(self, segment: Segment, report: Report) -> Result | Failure:
        """Rank 0's result, or what went wrong in whichever it was."""
        for connection in self._connections:
            with suppress(OSError):
                connection.send(segment)
        found: dict[int, Result | Failure] = {}
        while len(found) < len(self._connections):
            self._receive(found, report)
            if any(isinstance(result, Failure) for result in found.values()):
                until = time.monotonic() + _GRACE_S
                while (
                    len(found) < len(self._connections) and (left := until - time.monotonic()) > 0
                ):
                    self._receive(found, report, timeout_s=left)
                return _cause([r for _, r in sorted(found.items()) if isinstance(r, Failure)])
        return found[0]

    def _receive(
        self,
        found: dict[int, Result | Failure],
        report: Report,
        timeout_s: float | None = None,
    ) -> None:
        """Take what has come from those that still work."""
        working = {c: i for i, c in enumerate(self._connections) if i not in found}
        ready: list[Any] = wait(list(working), timeout_s)
        for connection in ready:
            rank = working[connection]
            try:
                message = connection.recv()
            except (EOFError, OSError):
                message = self._died(rank)
            if isinstance(message, tuple):
                report(*message)
            else:
                found[rank] = message

    def _died(self, rank: int) -> Failure:
        code = self._processes[rank].wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        said = f"process {rank} of the {len(self._processes)} of this trial {how}"
        return Failure(FailureReason.ERROR, said, "its last words are in the worker's log")


def _failed(found: Mapping[int, Result | Failure]) -> list[Failure]:
    return [result for _, result in sorted(found.items()) if isinstance(result, Failure)]


def _cause(failures: Sequence[Failure]) -> Failure:
    """What says most: what the configuration or a disk is to blame for, then a process that died.

    The others then only lost their connection.
    """

    def weight(failure: Failure) -> tuple[bool, bool, bool]:
        around = failure.reason is FailureReason.INFRASTRUCTURE
        return not failure.teaches, not around, not failure.message.startswith("process ")

    return min(failures, key=weight)


def _environment(spec: StudySpec, rank: int, scratch: Path) -> dict[str, str]:
    """What torchrun and `accelerate launch` say to a process, and what it needs besides.

    Nothing goes over a network: they meet by a file, gloo takes the loopback device.
    """
    processes = str(spec.resources.processes_per_trial)
    found = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": processes,
        "LOCAL_WORLD_SIZE": processes,
        "MASTER_ADDR": "127.0.0.1",
        "OMP_NUM_THREADS": str(spec.resources.threads),
        "PYTHONPATH": os.pathsep.join(path for path in (os.getcwd(), *sys.path) if path),
        "TMPDIR": str(scratch),
    }
    found.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a warning a trial, of unused parameters
    if sys.platform == "linux":
        found.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if not spec.resources.gpus_per_trial:
        found["CUDA_VISIBLE_DEVICES"] = ""  # nccl takes no two processes on one GPU
    return found


def _end(
    processes: Sequence["subprocess.Popen[bytes]"], connections: Sequence[Connection], scratch: Path
) -> None:
    for connection in connections:
        connection.close()
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that load its data
        process.wait()
    shutil.rmtree(scratch, ignore_errors=True)

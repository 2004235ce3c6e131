"""The evaluator of a study whose trials the user's own training code runs."""

import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from autopeft.domain.errors import OutcomeError
from autopeft.domain.infrastructure import infrastructure
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.own_code import MissingError, Returned, read_returned
from autopeft.domain.ports import Report
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Failure, FailureReason, Result, Segment
from autopeft.home import StudyFolder
from autopeft.training.evaluator import versions
from autopeft.training.inject import UnfitError
from autopeft.training.own_context import Context
from autopeft.training.own_function import (
    OwnCodeError,
    code_state,
    find_function,
    root_of,
    their_traceback,
    told,
)
from autopeft.training.scoring.measure import release_memory

_NEVER_PAUSED = (
    "search.rungs pauses trials, and the evaluator never asked whether to: call "
    "context.should_pause, or give a Trainer context.callback(); or remove search.rungs"
)


class OwnCodeEvaluator:
    """Calls the user's function for every segment; see `autopeft.domain.ports.Evaluator`.

    Args:
        shape: of the model that the file names, or `NO_MODEL`.
        home: the folder of the studies.
    """

    def __init__(self, spec: StudySpec, shape: ModelShape, home: Path) -> None:
        assert spec.evaluator is not None
        self._spec = spec
        self._own = spec.evaluator
        self._shape = shape
        self._folder = StudyFolder(home / spec.name)
        self._root = root_of(spec.evaluator, spec.folder)
        self._function: Callable[..., Any] | None = None
        self._provenance: dict[str, Any] = {}

    def run(self, segment: Segment, report: Report) -> Result | Failure:
        """One call; whatever the user's code raises or returns wrongly comes back as a Failure."""
        started, clock = time.time(), time.perf_counter()
        try:
            function = self._open()
            context = self._context(segment, report)
            with redirect_stdout(sys.stderr):  # ours is data
                set_seed(segment.seed)
                value = function(segment.configuration, context)
            returned = self._read(segment, value)
        except OwnCodeError as error:
            return Failure(FailureReason.ERROR, error.message, str(error))
        except MissingError as error:
            return Failure(FailureReason.ERROR, str(error))
        except OutcomeError as error:
            return Failure(FailureReason.NOT_FINITE, str(error))
        except UnfitError as error:
            return Failure(FailureReason.UNFIT, str(error), their_traceback(error))
        except (torch.OutOfMemoryError, MemoryError) as error:
            return self._failure(FailureReason.OUT_OF_MEMORY, error)
        except (Exception, SystemExit) as error:
            if said := infrastructure(error):
                return Failure(FailureReason.INFRASTRUCTURE, said, their_traceback(error))
            return self._failure(FailureReason.ERROR, error)
        finally:
            if torch.cuda.is_available():  # other workers may share the device
                release_memory()
        if not segment.last and not context.asked:
            return Failure(FailureReason.ERROR, _NEVER_PAUSED)
        self._folder.forget(segment.trial, after=segment.rung)
        left_out = {"left_out": list(returned.left_out)} if returned.left_out else {}
        return Result(
            step=context.step,
            metrics=returned.metrics,
            stderr=returned.stderr,
            seconds=time.perf_counter() - clock,
            started=started,
            ended=time.time(),
            worker=f"{platform.node()}:{os.getpid()}",
            provenance={**self._provenance, "seed": segment.seed, **left_out},
            # Of a trial of the search nobody asked for it, so that nothing is chosen by it.
            test=returned.test if segment.test else {},
            test_stderr=returned.test_stderr if segment.test else {},
        )

    def _open(self) -> Callable[..., Any]:
        if self._function is None:
            threads = max(1, int(self._spec.resources.cpus_per_trial))
            torch.set_num_threads(threads)
            found = find_function(self._own, folder=self._spec.folder)
            self._provenance = {
                "versions": versions(),
                "evaluator": {"function": self._own.function, **code_state(found, self._root)},
                "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
                "threads": threads,
                "processor": platform.processor() or platform.machine(),
            }
            self._function = found
        return self._function

    def _context(self, segment: Segment, report: Report) -> Context:
        return Context(
            segment,
            spec=self._spec,
            shape=self._shape,
            folder=self._folder,
            device="cuda" if torch.cuda.is_available() else "cpu",
            report=report,
        )

    def _read(self, segment: Segment, value: object) -> Returned:
        architecture = segment.configuration.architecture
        known = {} if architecture.frozen else known_metrics(architecture, self._shape)
        return read_returned(value, self._spec.metrics, known)

    def _failure(self, reason: FailureReason, error: BaseException) -> Failure:
        return Failure(reason, told(error, self._root), their_traceback(error))

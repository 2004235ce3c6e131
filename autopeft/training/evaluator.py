"""The evaluator of one worker process: it keeps the base model and the data between trials."""

import os
import platform
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import AutopeftError
from autopeft.domain.infrastructure import infrastructure
from autopeft.domain.ports import Report
from autopeft.domain.recipes.recipe import halved, micro_batch
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Failure, FailureReason, Result, Segment
from autopeft.home import StudyFolder
from autopeft.training.bench import Bench
from autopeft.training.inject import UnfitError
from autopeft.training.loading.data import Data, load_data
from autopeft.training.loading.model import bits_and_bytes, load_base, model_fingerprint
from autopeft.training.loading.shapes import model_shape
from autopeft.training.loading.trust import trusted
from autopeft.training.measuring.asked import General
from autopeft.training.measuring.own_metrics import OwnMetrics, code_of
from autopeft.training.own_function import OwnCodeError
from autopeft.training.pausing import NotFiniteError, progress_of
from autopeft.training.scoring.measure import release_memory
from autopeft.training.tasks import task_of
from autopeft.training.trial import origin_of, run_segment

_CPU_FULL = "DefaultCPUAllocator: "  # torch raises a plain RuntimeError when the host is full


class TrialEvaluator:
    """Runs the segments of a study; see `autopeft.domain.ports.Evaluator`.

    Args:
        home: the folder of the studies; the study's own folder is made in it.
    """

    def __init__(self, spec: StudySpec, home: Path) -> None:
        self._spec = spec
        self._home = home
        self._bench: Bench | None = None
        self._provenance: Mapping[str, Any] = {}

    def run(self, segment: Segment, report: Report) -> Result | Failure:
        """Train and measure one segment; whatever goes wrong comes back as a Failure.

        Where memory runs out, the trial starts again once, with half the micro-batch accumulated
        twice, and keeps to that: rungs of different batches are no run that anyone could repeat.
        """
        clock = time.perf_counter()
        smaller = halved(segment.configuration)
        if smaller is not None and self._began_as(smaller, segment):
            return _marked(self.attempt(replace(segment, configuration=smaller), report), smaller)
        result = self.attempt(segment, report)
        if not _out_of_memory(result) or smaller is None:
            return result
        release_memory()
        again = self.attempt(replace(segment, configuration=smaller, resume=False), report)
        if isinstance(again, Failure):
            return replace(again, message=f"{again.message} (also as {micro_batch(smaller)})")
        return _marked(replace(again, seconds=time.perf_counter() - clock), smaller)

    def _began_as(self, smaller: Configuration, segment: Segment) -> bool:
        """Whether the checkpoint that a segment starts from was trained in the smaller batches."""
        folder = StudyFolder(self._home / self._spec.name)
        try:
            origin = origin_of(folder, replace(segment, configuration=smaller))
            if origin is None:
                return False
            return progress_of(origin).get("micro_batch") == micro_batch(smaller)
        except (OSError, ValueError):  # the attempt says so
            return False

    def attempt(self, segment: Segment, report: Report) -> Result | Failure:
        """The segment as it is, once."""
        started, clock = time.time(), time.perf_counter()
        try:
            bench = self._open()
            measured = run_segment(bench, segment, report)
        except (torch.OutOfMemoryError, MemoryError) as error:
            return _failure(FailureReason.OUT_OF_MEMORY, error)
        except NotFiniteError as error:
            return _failure(FailureReason.NOT_FINITE, error)
        except UnfitError as error:
            return Failure(FailureReason.UNFIT, str(error), traceback.format_exc())
        except OwnCodeError as error:
            return Failure(FailureReason.ERROR, error.message, str(error))
        except Exception as error:
            if said := infrastructure(error):
                return Failure(FailureReason.INFRASTRUCTURE, said, traceback.format_exc())
            if isinstance(error, AutopeftError):
                return Failure(FailureReason.ERROR, str(error), traceback.format_exc())
            if _CPU_FULL in str(error):
                return _failure(FailureReason.OUT_OF_MEMORY, error)
            return _failure(FailureReason.ERROR, error)
        finally:
            if torch.cuda.is_available():  # other workers may share the device
                release_memory()
        return Result(
            step=measured.step,
            metrics=measured.metrics,
            stderr=measured.stderr,
            seconds=time.perf_counter() - clock + measured.spent,
            started=started,
            ended=time.time(),
            worker=f"{platform.node()}:{os.getpid()}",
            provenance={**self._provenance, **measured.notes},
            test=measured.test,
            test_stderr=measured.test_stderr,
        )

    def _open(self) -> Bench:
        if self._bench is None:
            torch.set_num_threads(self._spec.resources.threads)
            # A bit-equal resume and a bit-equal export need the same kernels each time.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True, warn_only=True)
            # Filling fresh memory costs time and only helps code that reads it unwritten.
            torch.utils.deterministic.fill_uninitialized_memory = False
            spec = self._spec
            data = load_data(spec.data, folder=spec.folder, task=spec.task)
            self._bench = open_bench(spec, data, self._home)
            self._provenance = provenance(self._bench, data)
        return self._bench


def _marked(result: Result | Failure, smaller: Configuration) -> Result | Failure:
    if isinstance(result, Failure):
        return result
    return replace(result, provenance={**result.provenance, "halved": micro_batch(smaller)})


def _out_of_memory(result: Result | Failure) -> bool:
    return isinstance(result, Failure) and result.reason is FailureReason.OUT_OF_MEMORY


def open_bench(spec: StudySpec, data: Data, home: Path) -> Bench:
    """Load the base model and make the data ready for it."""
    shape = model_shape(spec.model, folder=spec.folder, num_labels=max(1, len(data.labels)))
    base = load_base(spec.model, folder=spec.folder, labels=data.labels, head=shape.head)
    task = task_of(spec.task)
    train, validation = (
        task.inputs(split, base.processor, spec.data) for split in (data.train, data.validation)
    )
    general = None
    if "forgetting" in spec.asked:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        general = General.of(spec, base, device)
    folder = StudyFolder(home / spec.name)
    rows = {"validation": data.validation, "test": data.test}
    return Bench(
        spec,
        task,
        base,
        train,
        validation,
        folder,
        shape=shape,
        rows=rows,
        general=general,
        own=OwnMetrics(spec),
    )


_PACKAGES = ("autopeft", "torch", "peft", "transformers", "datasets", "accelerate", "trl", "pillow")


def versions(*more: str) -> dict[str, str]:
    """Of Python, of the packages that a trial may use, and of more of them; what is installed."""
    found = {"python": platform.python_version()}
    for package in (*_PACKAGES, *more):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def provenance(bench: Bench, data: Data) -> dict[str, Any]:
    """Versions and fingerprints: what someone needs to get the same bits again."""
    quantised = ("bitsandbytes",) if bits_and_bytes(bench.spec.model) else ()
    harness = ("lm_eval",) if bench.spec.harness else ()
    return {
        "versions": versions(*quantised, *harness),
        "model": bench.base.path,
        "model_fingerprint": model_fingerprint(
            bench.base.path, bench.spec.model.get("subfolder", "")
        ),
        "data_fingerprint": data.fingerprint,
        "processor": platform.processor() or platform.machine(),
        "system": platform.platform(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        **({"trust_remote_code": True} if trusted(bench.spec.model) else {}),
        **_cuda(),
        **code_of(bench.own),
    }


def _cuda() -> dict[str, Any]:
    """What kernels depend on besides torch; {} without a GPU."""
    if not torch.cuda.is_available():
        return {}
    return {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}


def _failure(reason: FailureReason, error: BaseException) -> Failure:
    lines = str(error).strip().splitlines() or [""]
    return Failure(reason, f"{type(error).__name__}: {lines[0]}", traceback.format_exc())

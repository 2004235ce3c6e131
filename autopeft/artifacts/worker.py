"""A worker whose files are kept away: it fetches what a segment starts from, and uploads what it
leaves.

The evaluator inside knows nothing of it: its home is a scratch folder of this process.
"""

import logging
import shutil
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from autopeft.artifacts.manifest import DamagedError, Manifest
from autopeft.artifacts.place import Artifacts
from autopeft.artifacts.scratch import Scratch
from autopeft.domain.errors import ArtifactError
from autopeft.domain.infrastructure import infrastructure
from autopeft.domain.ports import Evaluator, Report
from autopeft.domain.trial import Failure, FailureReason, Result, Segment
from autopeft.home import StudyFolder
from autopeft.preemption import Preempted

log = logging.getLogger("autopeft")


class DistantEvaluator:
    """See `autopeft.domain.ports.Evaluator`. A result is returned when its files are uploaded.

    The last checkpoint that this worker wrote stays in its scratch folder: it is not fetched again
    where its trial goes on here. Everything else is deleted after every segment.

    Args:
        make: an evaluator by its home, the folder of the studies.
        url: of the artifacts.
    """

    def __init__(self, make: Callable[[Path], Evaluator], url: str, study: str) -> None:
        self._scratch = Scratch()
        self._artifacts = Artifacts(url)
        self._folder = StudyFolder(self._scratch.path / study)
        self._held: tuple[Path, Manifest] | None = None
        self._evaluator = make(self._scratch.path)

    def run(self, segment: Segment, report: Report) -> Result | Failure:
        """As of the evaluator inside; what cannot be fetched or uploaded is the infrastructure's.

        seconds: with both, for the devices wait meanwhile.
        """
        started, clock = time.time(), time.perf_counter()
        kept = None
        try:
            self._fetch(segment)
            result = self._evaluator.run(segment, report)
            if isinstance(result, Result):
                kept = self._upload(segment)
                seconds = time.perf_counter() - clock
                result = replace(result, seconds=seconds, started=started, ended=time.time())
        except Preempted:
            # What was cut short goes on elsewhere; without it the segment starts again.
            with suppress(ArtifactError):
                checkpoint = self._folder.checkpoint(segment.trial, segment.rung)
                self._artifacts.put(checkpoint, self._key(checkpoint))
            raise
        except Exception as error:
            if (said := infrastructure(error)) is None:
                raise
            result = Failure(FailureReason.INFRASTRUCTURE, said, traceback.format_exc())
        finally:
            self._held = kept
            self._clear()
        return result

    def _fetch(self, segment: Segment) -> None:
        """What the segment resumes; where nothing whole is kept, it trains from the start."""
        self._bring(self._folder.checkpoint(segment.trial, segment.rung))  # if it was cut short
        if segment.resume:
            self._bring(self._folder.checkpoint(segment.trial, segment.rung - 1))

    def _bring(self, origin: Path) -> None:
        if self._held and self._held == (origin, self._artifacts.manifest(self._key(origin))):
            return
        shutil.rmtree(origin, ignore_errors=True)
        origin.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._artifacts.get(self._key(origin), origin)
        except DamagedError as error:
            log.warning("a trial trains from the start again: %s", error)

    def _upload(self, segment: Segment) -> tuple[Path, Manifest] | None:
        """What the segment left; a checkpoint is remembered."""
        if segment.last:
            adapter = self._folder.adapter(segment.trial)
            if adapter.is_dir():
                self._artifacts.put(adapter, self._key(adapter))
            return None
        checkpoint = self._folder.checkpoint(segment.trial, segment.rung)
        return checkpoint, self._artifacts.put(checkpoint, self._key(checkpoint))

    def _key(self, folder: Path) -> str:
        return folder.relative_to(self._scratch.path).as_posix()

    def _clear(self) -> None:
        for folder in (self._folder.path / "checkpoints").glob("trial-*/*"):
            if self._held is None or folder != self._held[0]:
                shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self._folder.path / "adapters", ignore_errors=True)

"""A recorded table in the place of training: any search of the product, at no cost.

    evaluator = Replay(read(Path("benchmarks/search/tables/sst2.parquet")))

The search must be one over the table's own space file, with its rungs or with none.
"""

from collections.abc import Sequence

from rows import Row, Table

from autopeft.domain.ports import Report
from autopeft.domain.trial import Failure, FailureReason, Result, Segment


class Replay:
    """Looks up what training gave; see `autopeft.domain.ports.Evaluator`.

    Seeds: a run at a seed that the table does not have is told what the first seed gave.
    Time: its clock starts at 0 and advances by the recorded seconds, as one worker's would.
    A configuration or rung that is not in the table is a Failure that says so.
    """

    def __init__(self, table: Table) -> None:
        self._runs: dict[tuple[str, int], list[Row]] = {}
        for row in table.rows:
            self._runs.setdefault((row.key, row.seed), []).append(row)
        self._first_seed = table.first_seed
        self.seconds = 0.0

    def run(self, segment: Segment, report: Report) -> Result | Failure:
        """The rung that the segment stops at."""
        key, stop = segment.configuration.key, segment.stop
        run = self._runs.get((key, segment.seed)) or self._runs.get((key, self._first_seed))
        if run is None:
            return _missing(
                f"configuration {key} is not in the table: search the space that it was recorded with"
            )
        rows = _until(run, stop.steps)
        if rows[-1].failure is not None:
            reason, message = rows[-1].failure
            return Failure(FailureReason(reason), message)
        if stop.epochs is not None or rows[-1].stop != stop.steps:
            at = ", ".join(str(row.stop) for row in run if row.stop is not None) or "none"
            return _missing(
                f"the table has rungs at the steps {at} and at the end, got {stop}: use these"
            )
        return self._result(rows[-1:] if segment.resume else rows)

    def _result(self, rows: Sequence[Row]) -> Result:
        last, seconds = rows[-1], sum(row.seconds for row in rows)
        began, self.seconds = self.seconds, self.seconds + seconds
        assert last.step is not None
        return Result(
            step=last.step,
            metrics=last.metrics,
            stderr=last.stderr,
            seconds=seconds,
            started=began,
            ended=self.seconds,
            worker="replay",
            provenance={"replayed": True},
        )


def _until(run: Sequence[Row], steps: int | None) -> Sequence[Row]:
    """The rungs of a run up to a stop; None: all of them."""
    if steps is None:
        return run
    count = sum(row.stop is not None and row.stop <= steps for row in run)
    return run[: max(1, count)]


def _missing(message: str) -> Failure:
    return Failure(FailureReason.ERROR, message)

"""From a trial to the segment that runs next, and from its result back to the trial."""

from dataclasses import replace

from autopeft.domain.errors import OutcomeError
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Failure, FailureReason, Result, Rung, Segment, Trial


def segment_of(spec: StudySpec, trial: Trial) -> Segment:
    """What a worker does next for a trial."""
    stops = spec.stops_of(trial)
    return Segment(
        study=spec.name,
        trial=trial.number,
        configuration=trial.configuration,
        seed=trial.seed,
        rung=trial.next_rung,
        stop=stops[trial.next_rung],
        resume=trial.next_rung > 0,
        last=trial.next_rung == len(stops) - 1,
        test=trial.confirms is not None,
        seconds=_left(spec, trial),
    )


def _left(spec: StudySpec, trial: Trial) -> float | None:
    """Seconds of `resources.minutes_per_trial` that a trial has not used."""
    limit = spec.resources.minutes_per_trial
    return None if limit is None else max(0.0, 60 * limit - trial.seconds)


def too_long(spec: StudySpec) -> Failure:
    """Of a segment that was ended because its time was over."""
    return Failure(
        FailureReason.TIME_LIMIT,
        f"it took longer than resources.minutes_per_trial allows, which is "
        f"{spec.resources.minutes_per_trial:g}, and was ended",
    )


def after(spec: StudySpec, trial: Trial, segment: Segment, result: Result | Failure) -> Trial:
    """The trial after a result; one that no objective or constraint can be read from has failed."""
    if isinstance(result, Failure):
        return trial.failed(result)
    rung = Rung(
        index=segment.rung,
        step=result.step,
        metrics=result.metrics,
        stderr=result.stderr,
        seconds=result.seconds,
        started=result.started,
        ended=result.ended,
        worker=result.worker,
        test=result.test,
        test_stderr=result.test_stderr,
    )
    told = replace(trial.advanced(rung, last=segment.last), provenance=result.provenance)
    try:
        for objective in spec.objectives:
            objective.score(told.metrics)
        for constraint in spec.constraints:
            constraint.check(told.metrics)
    except OutcomeError as error:
        return trial.failed(Failure(FailureReason.NOT_FINITE, str(error)))
    return told

"""What MLflow is to show of a study: the events that a session commits beside its trials."""

from collections.abc import Iterable, Mapping

from autopeft.domain.networks.describe import describe, flat_params
from autopeft.domain.ports import Event
from autopeft.domain.results.scoreboard import Leading
from autopeft.domain.trial import State, Trial


def trial_started(trial: Trial) -> Event:
    payload = {
        "name": describe(trial.configuration),
        "params": flat_params(trial.configuration),
        "branch": trial.configuration.branch,
        "baseline": trial.baseline,
        "seed": trial.seed,
        "confirms": trial.confirms,
        "why": trial.why,
        "promised": {
            name: value
            for name in ("expected_gain", "expected_left")
            if (value := getattr(trial, name)) is not None
        },
        "known": dict(trial.known),
    }
    return Event("trial_started", trial.number, trial.created, payload)


def curve(trial: int, points: Iterable[tuple[int, Mapping[str, float]]], *, now: float) -> Event:
    """points: (step, metrics) pairs."""
    payload = {"points": [[step, dict(metrics)] for step, metrics in points]}
    return Event("curve", trial, now, payload)


def told(trial: Trial, *, now: float) -> list[Event]:
    """Of a trial after a segment: the rung where it went well, and its end where it has ended."""
    events = []
    if trial.failure is None:
        rung = trial.rungs[-1]
        payload = {
            "rung": rung.index,
            "step": rung.step,
            "metrics": dict(rung.metrics),
            "stderr": dict(rung.stderr),
            "seconds": rung.seconds,
        }
        events.append(Event("rung", trial.number, now, payload))
    if trial.state is not State.RUNNING:
        failure = trial.failure
        payload = {
            "state": str(trial.state),
            "metrics": trial.metrics,
            "failure": None
            if failure is None
            else {"reason": str(failure.reason), "message": failure.message},
        }
        events.append(Event("trial_ended", trial.number, now, payload))
    return events


def front_moved(leading: Leading, *, now: float) -> Event:
    payload = {
        "trials": list(leading.front),
        "hypervolume": leading.hypervolume,
        "told": leading.told,
        "best": dict(leading.best),
    }
    return Event("front", None, now, payload)


def study_ended(state: str, *, now: float, why: str | None = None) -> Event:
    """why: it ended before its budget, where it did."""
    return Event("study_ended", None, now, {"state": state, "why": why or ""})

"""When a search has had enough: what the model takes to be left to gain, against what it costs.

A trial that the model proposed carries the gain of hypervolume that was expected of it, and of all
candidates that were looked at, as shares of what was reached (`ports.Suggestion`). All rules follow
from the stored trials, and what is said of a trial never changes later: a resumed search stops
where the first one did.

Extrapolating the gains of single trials was tried and lost: on 50 searches of 5 landscapes
(benchmarks/search/stopping.jsonl, before 20 to 100 of 120 trials) a harmonic decay fitted to the
last five was 3.2 times what came in the median, and off by a factor of 4.2; what all candidates
gain together was .8 times, and off by 2.3.
"""

from collections.abc import Sequence

from autopeft.domain.results.figures import share
from autopeft.domain.results.replicates import searched
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.orchestrator.confirm_plan import spent


def enough(spec: StudySpec, trials: Sequence[Trial]) -> str | None:
    """Why `search.stop` ends the search; None: it does not, or the budget of trials has.

    trials: all of the study, by number.
    """
    rule, limit = spec.search.stop, spec.budget.trials
    if rule is None or (limit is not None and len(trials) >= limit):
        return None
    last = _proposed(trials)[-rule.patience :]
    if len(last) < rule.patience:
        return None
    times = f"{rule.patience} proposals in a row" if rule.patience > 1 else "at the last proposal"
    least, dear = rule.min_gain, rule.min_gain_per_gpu_hour
    if least is not None and all(_left(trial) < least for trial in last):
        left = f"the model took less than {share(least)} of the hypervolume to be left to gain"
        return f"{left}, {times} (search.stop.min_gain)"
    if dear is not None and all(_costs_more(trial, trials, spec, dear) for trial in last):
        hour = "GPU hour" if spec.resources.gpus_per_trial else "CPU hour"
        gain = f"the next trial was to gain less than {share(dear)} of the hypervolume per {hour}"
        return f"{gain}, {times} (search.stop.min_gain_per_gpu_hour)"
    return None


def prospects(spec: StudySpec, trials: Sequence[Trial], stopped: str | None) -> list[str]:
    """Sentences: why the search was stopped, where it was, and what is left to gain.

    stopped: what `enough` told.
    """
    limit = spec.budget.trials
    unused = max(0, limit - len(searched(trials)) - spent(spec, trials)) if limit else 0
    rest = f"; {unused} of {limit} trials were left" if limit else ""
    said = [f"Stopped: {stopped}{rest}."] if stopped else []
    if (last := last_proposed(trials)) is not None:
        gain, left = share(_gain(last)), share(_left(last))
        said.append(f"Left to gain, by the model: {left} of the hypervolume; by one trial {gain}.")
    return said


def last_proposed(trials: Sequence[Trial]) -> Trial | None:
    """The last trial that the model proposed; None where it has not spoken yet."""
    proposed = _proposed(trials)
    return proposed[-1] if proposed else None


def hours_of_a_trial(spec: StudySpec, trials: Sequence[Trial], *, before: float) -> float | None:
    """Device hours that a trial of the search took in the mean, paused ones included.

    before: seconds since the epoch; later results do not count. None where there was none.
    """
    each = []
    for trial in trials:
        told = [rung.seconds for rung in trial.rungs if rung.ended <= before]
        if told and not trial.baseline:
            each.append(sum(told))
    return sum(each) / len(each) * spec.resources.devices / 3600 if each else None


def _proposed(trials: Sequence[Trial]) -> list[Trial]:
    """Those that the model proposed."""
    return [trial for trial in trials if trial.expected_left is not None]


def _costs_more(trial: Trial, trials: Sequence[Trial], spec: StudySpec, least: float) -> bool:
    """Whether a trial promised less an hour, as far as costs were known when it was proposed."""
    hours = hours_of_a_trial(spec, trials, before=trial.created)
    return hours is not None and _gain(trial) < least * hours


def _gain(trial: Trial) -> float:
    return trial.expected_gain or 0.0


def _left(trial: Trial) -> float:
    return trial.expected_left or 0.0

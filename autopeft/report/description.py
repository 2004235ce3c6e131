"""A study as Markdown: what stands first on the page of its MLflow run."""

from collections.abc import Iterator, Sequence

from autopeft.domain.networks.describe import describe
from autopeft.domain.objective import Objective
from autopeft.domain.results.figures import amount, seeds
from autopeft.domain.results.front import best_baselines, front
from autopeft.domain.results.pick import pick
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial

_ROWS = 30  # MLflow takes 8,000 characters
_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#"})


def description(spec: StudySpec, trials: Sequence[Trial]) -> str:
    """The front as a table, the pick, and how to go on from there.

    Names that a user gave are escaped: MLflow renders Markdown.
    """
    return "\n".join(_lines(spec, trials)) + "\n"


def _lines(spec: StudySpec, trials: Sequence[Trial]) -> Iterator[str]:
    members = front(spec.objectives, spec.constraints, trials)
    done = sum(trial.state is State.COMPLETED for trial in trials)
    yield f"**{_plain(spec.name)}**: {done} of {len(trials)} trials completed."
    if not members:
        yield "Nothing is on the front yet."
        return
    chosen = pick(spec.objectives, spec.constraints, trials)
    baselines = best_baselines(spec.objectives, trials).values()
    yield ""
    yield "| | trial | configuration | " + " | ".join(_column(o) for o in spec.objectives) + " |"
    yield "|---|---:|---|" + "---:|" * len(spec.objectives)
    there = {trial.number for trial in members}
    for trial in (*members[:_ROWS], *(b for b in baselines if b.number not in there)):
        marks = ["front"] if trial.number in there else []
        marks += ["**pick**"] if trial.number == chosen.trial.number else []
        marks += ["baseline"] if trial.baseline else []
        name = _plain(describe(trial.configuration))
        runs = seeds(trial, trials)
        cells = [_cell(trial, objective.metric) for objective in spec.objectives]
        yield (
            f"| {', '.join(marks)} | {trial.number} | {name}{f' ({runs})' if runs else ''} | "
            + " | ".join(cells)
            + " |"
        )
    if len(members) > _ROWS:
        yield f"\n… and {len(members) - _ROWS} more."
    yield ""
    yield _plain(chosen.reason[0].upper() + chosen.reason[1:])
    yield ""
    yield "- `front.html`, among the artifacts: the front to explore, filter and compare"
    yield "- runs of the front: filter by `tags.\"autopeft.on_front\" = 'true'`"
    command = f"autopeft export {spec.name} --trial {chosen.trial.number} --to FOLDER"
    yield f"- the pick's adapter, and code that trains it: `{command}`"


def _column(objective: Objective) -> str:
    told = objective.told_unit
    return _plain(objective.metric + (f" ({told})" if told else ""))


def _cell(trial: Trial, metric: str) -> str:
    error = trial.stderr.get(metric)
    return amount(metric, trial.metrics[metric]) + (f" ± {error:.2g}" if error else "")


def _plain(text: str) -> str:
    return " ".join(text.split()).translate(_SPECIAL)

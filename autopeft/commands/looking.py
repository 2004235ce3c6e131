"""`status`, `front` and `best`: the verbs that look at a study."""

import json
from typing import Annotated, Any

import typer

from autopeft.commands.options import AsJson, StudyName
from autopeft.home import Home
from autopeft.hygiene import visible
from autopeft.namespaces import of_owner


def status(
    study: StudyName,
    tracebacks: Annotated[
        bool, typer.Option("--tracebacks", help="Show the traceback of every failure.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say how far a study is."""
    from autopeft import build, entry
    from autopeft.domain.budget.spending import spent
    from autopeft.domain.results.replicates import searched
    from autopeft.orchestrator.lease import last_driver
    from autopeft.orchestrator.stopping import enough, last_proposed
    from autopeft.terminal import out, say, spent_lines
    from autopeft.views.driver import driver_document, driver_line
    from autopeft.views.panel import Moment, Panel
    from autopeft.views.sentences import failure_lines, saved_line
    from autopeft.views.standing import failures, standing

    store = build.open_store(Home.from_environment())
    record, spec = store.study(study), entry.stored(study, store)
    trials = store.history(study)
    stopped = enough(spec, searched(trials)) if record.state == "finished" else None
    now = standing(spec, trials, stopped)
    driver = last_driver(store, study)
    if as_json:
        proposed = last_proposed(trials)
        states = [str(trial.state) for trial in trials]
        row = {
            "study": study,
            "state": record.state,
            "owner": record.owner,
            "driver": driver_document(driver),
            "trials": {state: states.count(state) for state in sorted(set(states))},
            "budget": {
                name: value for name, value in vars(spec.budget).items() if value is not None
            },
            "front": [trial.number for trial in now.members],
            "hypervolume": now.hypervolume,
            "trial_seconds": sum(trial.seconds for trial in trials),
            "device_hours": now.hours,
            "saved_hours": now.saved,
            "expected_gain": proposed.expected_gain if proposed else None,
            "expected_left": proposed.expected_left if proposed else None,
            "stopped": stopped,
            "failed": {name: [t.number for t in failed] for name, failed in failures(trials)},
            "spent": [vars(row) for row in spent(spec, trials)],
        }
        print(json.dumps(row, indent=2))
        return
    if out.is_terminal:
        # A driver tells the time that it took when it ends.
        elapsed = None if record.state == "running" else record.seconds
        out.print(
            Panel(spec, now, Moment(elapsed, state=record.state, owner=of_owner(record.owner)))
        )
    else:
        _print_status(spec, record, trials, now)
        if text := saved_line(spec, now):
            print(visible(text))
    if text := driver_line(driver):
        say(text)
    for text in spent_lines(spec, trials):
        say(text)
    for trial in trials if tracebacks or not out.is_terminal else ():
        if trial.failure is not None:
            failure = trial.failure
            print(visible(f"trial {trial.number} failed: {failure.reason}: {failure.message}"))
            if tracebacks and trial.failure.details:
                print(visible(trial.failure.details))
    if not tracebacks:
        for text in failure_lines(spec, trials)[-1:]:
            print(visible(text))


def _print_status(spec: Any, record: Any, trials: Any, now: Any) -> None:
    """Lines for who is no terminal."""
    from autopeft.terminal import clock, counts, paused

    limit = f" of {spec.budget.trials}" if spec.budget.trials else ""
    own = len(now.searched)
    again = f" and {len(trials) - own} that confirm" if len(trials) > own else ""
    told = (paused if record.state == "paused" else counts)(trials)
    seconds = clock(sum(trial.seconds for trial in trials))
    print(
        f"{spec.name}{of_owner(record.owner)}: {record.state}, {own}{limit} trials{again}: {told}"
    )
    print(f"front of {len(now.members)}, hypervolume {now.hypervolume:.4f}, {seconds} of trials")
    for text in now.said:
        print(visible(text))


def show_front(
    study: StudyName,
    modelled: Annotated[
        bool,
        typer.Option("--modelled", help="Choose by the search's model, which takes luck off."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the front."""
    from autopeft import build, control, entry
    from autopeft.domain.results.front import fallen, front
    from autopeft.terminal import out, say, spent_lines, trial_table

    if modelled:
        _show_modelled_front(study, as_json=as_json)
        return
    store = build.open_store(Home.from_environment())
    spec, trials = entry.stored(study, store), store.history(study)
    members = front(spec.objectives, spec.constraints, trials)
    beside = control.found(spec, store)
    if as_json:
        print_front_json(spec, trials, members, beside)
    else:
        fell = fallen(spec.objectives, spec.constraints, trials)
        out.print(trial_table(spec.objectives, [*members, *fell], among=trials, fallen=fell))
        if beside is not None:
            for text in control.compared_lines(control.compared(spec, trials, beside)):
                say(text)
        for text in spent_lines(spec, trials):
            say(text)
    if not members:
        raise typer.Exit(1)


def _show_modelled_front(study: str, *, as_json: bool) -> None:
    """Who is on it is the model's choice; what was measured is shown beside what it believes."""
    from autopeft.domain.results.replicates import averaged
    from autopeft.study import load_study
    from autopeft.terminal import out, trial_row, trial_table

    found = load_study(study)
    believed, objectives = found.modelled_front, found.spec.objectives
    measured = {trial.number: trial for trial in averaged(found.trials)}
    members = [measured[trial.number] for trial in believed]
    if as_json:
        rows = [
            {
                **trial_row(trial, objectives, found.trials),
                "modelled": {o.metric: mean.metrics[o.metric] for o in objectives},
            }
            for trial, mean in zip(members, believed, strict=True)
        ]
        print(json.dumps({"study": study, "modelled_front": rows}, indent=2))
    else:
        title = f"front of {study} by the model's means"
        out.print(
            trial_table(objectives, members, among=found.trials, believed=believed, title=title)
        )
    if not members:
        raise typer.Exit(1)


def print_front_json(spec: Any, trials: Any, members: Any, beside: Any = None) -> None:
    """beside: the study's control."""
    from autopeft.control import compared
    from autopeft.domain.budget.spending import spent
    from autopeft.domain.results.front import fallen, normalised_hypervolume
    from autopeft.report.document import finite
    from autopeft.terminal import trial_row

    document = {
        "study": spec.name,
        "hypervolume": normalised_hypervolume(spec.objectives, spec.constraints, trials),
        "front": [trial_row(trial, spec.objectives, trials) for trial in members],
        "fallen": [
            trial_row(trial, spec.objectives, trials)
            for trial in fallen(spec.objectives, spec.constraints, trials)
        ],
        "spent": [vars(row) for row in spent(spec, trials)],
    }
    if beside is not None:
        document["control"] = compared(spec, trials, beside)
    print(json.dumps(finite(document), indent=2))


def best(
    study: StudyName,
    when: Annotated[
        str, typer.Option(help="Limits: 'trainable_params <= 50000 and accuracy >= 0.8'.")
    ] = "",
    prefer: Annotated[str | None, typer.Option(help="The metric to take the best of.")] = None,
    as_json: AsJson = False,
) -> None:
    """Choose one trial of the front, with the reason."""
    from autopeft.study import load_study
    from autopeft.terminal import say, trial_row

    found = load_study(study)
    chosen = found.best(when, prefer=prefer)
    if as_json:
        row = trial_row(chosen.mean, found.spec.objectives, found.trials)
        told = [vars(neighbour) for neighbour in chosen.beside]
        print(json.dumps({**row, "reason": chosen.reason, "neighbours": told}, indent=2))
    else:
        say(chosen.reason)

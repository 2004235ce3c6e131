"""The AutoPEFT paper's protocol on an encoder that runs here: baselines, control, front, transfer.

    python benchmarks/protocol/protocol.py run --tasks ag_news pairs sst2 rte
    python benchmarks/protocol/protocol.py transfer --tasks ag_news pairs
    python benchmarks/protocol/protocol.py report

`run` does for each task what `autopeft search space.yaml` and `autopeft search space.yaml --control`
do: four baselines at a tuned learning rate (LoRA on all linear layers, serial adapter, prefix, full
fine-tuning) and a search share one budget; the control spends as much on LoRA alone; then the front,
the baselines and the control's best train again at five fresh seeds and are measured on a test split
that nothing is chosen by. The frozen encoder is a converged logistic regression on its states.
`transfer` trains what one task's search found on the other tasks.

What was done stays in the store of --home and goes on after a kill; --out has one JSON line a run.
One process, one thread. MLflow is left out: its thread would share the core that is used.
"""

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).parents[1] / "search"))

import lines
import protocol_table
import runs
from encoder_tasks import TASKS, space_file
from frozen_states import frozen

from autopeft.domain.errors import AutopeftError

RESULTS = Path(__file__).with_name("results.jsonl")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", choices=("run", "transfer", "report"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--sources", nargs="+", choices=list(TASKS), help="of what is transferred")
    parser.add_argument("--home", type=Path, default=Path("protocol-studies"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--set", dest="overrides", nargs="*", default=[], metavar="FIELD=VALUE")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.verb == "report":
            print(protocol_table.report(lines.read(chosen.out)))
            return 0
        home = chosen.home.resolve()
        home.mkdir(parents=True, exist_ok=True)
        os.environ["AUTOPEFT_HOME"] = str(home)
        sys.modules["mlflow"] = None  # type: ignore[assignment]
        if chosen.verb == "run":
            for task in chosen.tasks:
                run(task, home, chosen.out, chosen.overrides)
        else:
            from transfer import transfer

            sources = chosen.sources or chosen.tasks
            transfer(sources, chosen.tasks, home, chosen.out, chosen.overrides)
    except AutopeftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was told is kept: the same command goes on", file=sys.stderr)
        return 130
    return 0


def run(task: str, home: Path, file: Path, overrides: Sequence[str]) -> None:
    """All of a task, from where it is.

    overrides: of fields of the space file, for the search and the control.

    Raises:
        AutopeftError: a verb did not end well.
    """
    space = space_file(task, home)
    if runs.there(file, {"kind": "frozen", "task": task}) is None:
        runs.record(file, [frozen(task, space, overrides)])
    own = [f"--set={text}" for text in overrides]
    _search(["search", str(space), *own, "--local"])
    trials = list(runs.of_study(task, task))
    runs.record(file, trials)
    # The control searches by as many trials, and has no baselines: its best alone is confirmed.
    budget = sum(trial["confirms"] is None for trial in trials)
    control = ["--control", *own, "--set=confirm=null", f"--set=budget.trials={budget}"]
    _search(["search", str(space), *control, "--local"])
    _confirm_best(
        f"{task}-control", seeds=len({t["seed"] for t in trials if t["confirms"] is not None})
    )
    runs.record(file, runs.of_study(task, f"{task}-control"))
    for study in (task, f"{task}-control"):
        runs.record(file, [{"kind": "confirmed", "task": task, **_confirmed(study)}])


def _search(asked: Sequence[str]) -> None:
    print(f"autopeft {' '.join(asked)}", file=sys.stderr, flush=True)
    if code := autopeft(asked):
        raise AutopeftError(f"`autopeft {' '.join(asked)}` ended with {code}: see above")


def _confirm_best(study: str, *, seeds: int) -> None:
    """What `confirm` does, for the best configuration of a study alone."""
    from autopeft import build, entry
    from autopeft.commands.confirming import run_confirmation
    from autopeft.domain.study import Confirm
    from autopeft.home import Home

    home = Home.from_environment()
    store = build.open_store(home)
    spec = entry.trained(study, store)
    if run_confirmation(spec, home, store, Confirm(seeds, trials=seeds), local=True, quiet=False):
        raise KeyboardInterrupt


def autopeft(arguments: Sequence[str], out: io.StringIO | None = None) -> int:
    """Run a verb in this process: another would take a quarter of a minute to import torch."""
    import typer

    from autopeft.cli import app

    with contextlib.redirect_stdout(out or sys.stderr):
        try:
            code = app(list(arguments), standalone_mode=False)
        except typer.Exit as left:
            code = left.exit_code
    return int(code or 0)


def _confirmed(study: str) -> dict[str, Any]:
    """What `confirm --report --json` says of a study, of accuracies and sizes."""
    out = io.StringIO()
    if autopeft(["confirm", study, "--report", "--json"], out):
        raise AutopeftError(f"nothing of {study} is confirmed: run it to its end")
    document = json.loads(out.getvalue())
    for party in document["parties"]:
        for split in ("validation", "test"):
            party[split] = {"accuracy": party[split]["accuracy"]}
    return dict(document)


if __name__ == "__main__":
    sys.exit(main())

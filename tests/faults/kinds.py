"""The kinds of faults: each is done to a search that runs, and is over when its function returns.

A function takes the run and a random generator, which says all that is random, and returns in a few
words what it did; None where the search had come to its end before. What has to hold afterwards is
in `invariants`.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from faulty import HERE, STUDY, Run
from mlflow_server import MlflowServer
from services import Postgres, RayNodes, SmallDisk

Inject = Callable[[Run, random.Random], str | None]


@dataclass(frozen=True)
class Stand:
    """What a search stands on; None: it is not there."""

    postgres: Postgres | None = None
    mlflow: MlflowServer | None = None
    nodes: RayNodes | None = None
    disk: SmallDisk | None = None


def _moment(run: Run, rng: random.Random) -> bool:
    """Wait until a random moment of the search; False where it ended before."""
    if run.driver is None:
        run.start()
    going = run.wait_for_results(rng.randint(1, 3))
    time.sleep(rng.uniform(0, 1.5 * run.seconds))
    if not run.running and not run.over:
        raise AssertionError(f"the driver exits {run.driver.poll()} by itself: {run.log()[-800:]}")
    return going and run.running


def driver_killed(run: Run, rng: random.Random) -> str | None:
    """kill -9 of the driver; the next one resumes."""
    if not _moment(run, rng):
        return None
    run.driver.kill()
    code = run.ended()
    if code == 0:
        return None
    if code != -signal.SIGKILL:
        raise AssertionError(f"the killed driver exits {code}: {run.log()[-500:]}")
    run.start()
    run.wait_for_results(1)
    return f"after {len(run.lines('told'))} results"


def driver_killed_while_it_starts(run: Run, rng: random.Random) -> str | None:
    """kill -9 of a driver that resumes, before it has told anything."""
    if not _moment(run, rng):
        return None
    run.driver.kill()
    if run.ended() == 0:
        return None
    run.start()
    delay = rng.uniform(0.5, 12)
    time.sleep(delay)
    if not run.running:
        return None
    run.driver.kill()
    run.ended()
    run.start()
    run.wait_for_results(1)
    return f"{delay:.1f} s after its start"


def driver_stopped(run: Run, rng: random.Random) -> str | None:
    """SIGTERM: it pauses, exits 130 and is resumed."""
    if not _moment(run, rng):
        return None
    run.driver.send_signal(signal.SIGTERM)
    code = run.ended()
    if code == 0:
        return None
    if code != 130:
        raise AssertionError(f"SIGTERM ends the driver with {code}: {run.log()[-500:]}")
    run.start()
    run.wait_for_results(1)
    return "paused and resumed"


def worker_killed(run: Run, rng: random.Random) -> str | None:
    """kill -9 of a process that runs trials."""
    if not _moment(run, rng):
        return None
    workers = run.workers()
    if not workers:
        return None
    try:
        rng.choice(sorted(workers, key=lambda p: p.pid)).kill()
    except psutil.NoSuchProcess:
        return None
    run.wait_for_results(2)
    return f"one of {len(workers)}"


def second_driver(run: Run, rng: random.Random) -> str | None:
    """Another driver on the same study: it is refused, and the first does not notice."""
    if not _moment(run, rng):
        return None
    verb = rng.choice([["search", "space.yaml"], ["resume", STUDY]])
    done = run.command(*verb, *run.options)
    if not run.running:
        return None
    said = f"study '{STUDY}' is being searched by process {run.driver.pid}"
    if done.returncode != 2 or said not in done.stderr:
        raise AssertionError(f"a second driver exits {done.returncode}: {done.stderr[-500:]}")
    return verb[0]


def two_drivers_at_once(run: Run, rng: random.Random) -> str | None:
    """The driver is killed and two others follow at once: one of them takes the study over."""
    if not _moment(run, rng):
        return None
    run.driver.kill()
    if run.ended() == 0:
        return None
    run.start()
    rival = subprocess.Popen(
        [
            *(sys.executable, str(HERE / "told.py"), str(run.folder / "told")),
            *("resume", STUDY, *run.options),
        ],
        cwd=run.folder,
        env=run.environment,
        stdout=subprocess.DEVNULL,
        stderr=(run.folder / "rival.log").open("a"),
        start_new_session=True,
    )
    both = [run.driver, rival]
    until = time.monotonic() + 120
    while all(p.poll() is None for p in both) and time.monotonic() < until:
        time.sleep(0.05)
    codes = [p.poll() for p in both]
    if None not in codes or not {2, 0} & set(codes):
        raise AssertionError(f"of two drivers at once both go on: {codes}")
    if 2 not in codes:
        return None  # the winner came to the study's end at once
    winner = both[1 - codes.index(2)]
    run.driver = winner
    run.wait_for_results(1)
    return f"process {winner.pid} won"


def ordered(what: str) -> Inject:
    """The next trial does something wrong."""

    def inject(run: Run, rng: random.Random) -> str | None:
        if not _moment(run, rng) or (trial := run.order(what, rng)) is None:
            return None
        if what == "hang":
            run.wait_for(lambda: _failed(run, trial), "the end of a trial that hangs")
        run.wait_for_results(1)
        return f"trial {trial}"

    inject.__doc__ = f"The next trial is told to do this: {what}."
    return inject


def _failed(run: Run, trial: int) -> bool:
    return any(row[1] == trial and row[2] is None for row in run.lines("told"))


def postgres_killed(stand: Stand, away_s: float) -> Inject:
    """kill -9 of PostgreSQL, which starts again after a while."""

    def inject(run: Run, rng: random.Random) -> str | None:
        if not _moment(run, rng):
            return None
        stand.postgres.kill()
        try:
            time.sleep(away_s)
        finally:
            stand.postgres.start()
        run.wait_for_results(1)
        return f"away for {away_s:g} s"

    return inject


def mlflow_killed(stand: Stand, away_s: float) -> Inject:
    """kill -9 of the MLflow server, which starts again after a while; the search does not wait."""

    def inject(run: Run, rng: random.Random) -> str | None:
        if not _moment(run, rng):
            return None
        stand.mlflow.kill()
        before = len(run.lines("told"))
        time.sleep(away_s)
        went_on = len(run.lines("told")) - before
        stand.mlflow.start()
        if not went_on and run.running:
            raise AssertionError("the search waited for MLflow")
        return f"away for {away_s:g} s, {went_on} results meanwhile"

    return inject


def node_killed(stand: Stand) -> Inject:
    """kill -9 of a node of the cluster; another one joins in its place."""

    def inject(run: Run, rng: random.Random) -> str | None:
        if not _moment(run, rng):
            return None
        number = rng.randrange(len(stand.nodes.nodes))
        stand.nodes.kill(number)
        time.sleep(rng.uniform(0, 3))
        stand.nodes.add()
        wanted = len(run.lines("told")) + 2

        def went_on() -> bool:
            stand.nodes.mend()
            return len(run.lines("told")) >= wanted

        run.wait_for(went_on, "results after a node was killed", timeout_s=240)
        return f"node {number}"

    return inject


def disk_full(stand: Stand) -> Inject:
    """The disk of the studies is full for a while: store, checkpoints, MLflow's files."""

    def inject(run: Run, rng: random.Random) -> str | None:
        if not _moment(run, rng):
            return None
        run.disk_was_full = True
        stand.disk.fill()
        try:
            time.sleep(away := rng.uniform(2, 6))
        finally:
            stand.disk.free()
        run.wait_for_results(1)
        return f"for {away:.1f} s"

    return inject


def old_schema(run: Run, rng: random.Random) -> str | None:
    """The driver is killed, and what it left is a store of an earlier schema; it is resumed."""
    if not _moment(run, rng):
        return None
    run.driver.kill()
    if run.ended() == 0:
        return None
    database = Path(run.home) / "autopeft.db"
    version = rng.choice(["0001", "0002", "0003", "0004"])
    age(database, version)
    run.start()
    run.wait_for_results(1)
    return f"schema {version}"


def age(database: Path, version: str) -> None:
    """Make an SQLite store one of an earlier schema, with all that it could hold."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import MetaData, create_engine, select

    import autopeft.store

    older = database.with_suffix(".older")
    config = Config()
    config.set_main_option(
        "script_location", str(Path(autopeft.store.__file__).parent / "migrations")
    )
    target = create_engine(f"sqlite:///{older}")
    with target.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        connection.commit()
    source = create_engine(f"sqlite:///{database}")
    old, new = MetaData(), MetaData()
    old.reflect(target)
    new.reflect(source)
    with source.connect() as reading, target.begin() as writing:
        for table in old.sorted_tables:
            if table.name == "alembic_version":
                continue
            rows = reading.execute(select(*(new.tables[table.name].c[c.name] for c in table.c)))
            if found := [row._asdict() for row in rows]:
                writing.execute(table.insert(), found)
    source.dispose()
    target.dispose()
    for suffix in ("-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    os.replace(older, database)
    shutil.rmtree(older, ignore_errors=True)

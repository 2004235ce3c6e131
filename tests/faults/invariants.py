"""What has to hold whatever was done to a search. Nothing here uses autopeft's own code.

The store is read as rows of its database, the workers' journal and the driver's ledger as files.
"""

import json
import math
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from faulty import STUDY, Run
from obeying import EPOCHS, score

FAILURES = {
    "hang": {"time_limit"},
    "memory": {"out_of_memory"},
    "nan": {"not_finite"},
    "exits": {"error"},
    "raises_bytes": {"error"},
    "raises_much": {"error"},
    "returns_object": {"error"},
    "returns_text": {"error"},
    "returns_nothing": {"error"},
}
"""How a trial ends that was ordered to do this; nothing: it goes well in the end."""


@dataclass(frozen=True)
class Stored:
    """trials: rows by number; rungs: rows by (trial, rung); state: of the study."""

    trials: dict[int, dict[str, Any]]
    rungs: dict[tuple[int, int], dict[str, Any]]
    doubled: int
    state: str
    outbox: list[tuple]


def stored(run: Run) -> Stored:
    url = run.variables.get("AUTOPEFT_STORE", "")
    if url.startswith("postgresql"):
        import psycopg

        with psycopg.connect(url) as connection:
            return _read(connection, "%s")
    connection = sqlite3.connect(f"file:{run.home}/autopeft.db?mode=ro", uri=True, timeout=30)
    try:
        return _read(connection, "?")
    finally:
        connection.close()


def _read(connection: Any, mark: str) -> Stored:
    def rows(table: str, key: str = "study") -> list[dict[str, Any]]:
        cursor = connection.cursor()
        cursor.execute(f"SELECT * FROM {table} WHERE {key} = {mark}", (STUDY,))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    rungs = rows("rungs")
    found = {(row["trial"], row["rung"]): row for row in rungs}
    events = [
        (row["kind"], row["trial"], row["time"], json.dumps(_plain(row["payload"]), sort_keys=True))
        for row in rows("outbox")
    ]
    states = [row["state"] for row in rows("studies", "name")]
    return Stored(
        {row["number"]: row for row in rows("trials")},
        found,
        len(rungs) - len(found),
        states[0] if states else "none",
        events,
    )


def _plain(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def told_is_kept(run: Run, now: Stored | None = None) -> list[str]:
    """Violations that can be seen at any moment: no told result lost, doubled or invented."""
    told = run.lines("told")  # before the store, which may be ahead of it
    now = now or stored(run)
    bad = []
    worked = {tuple(row[:3]): row[3] for row in run.lines("worked")}
    results = [(row[1], row[2], row[3]) for row in told if row[2] is not None]
    for trial, rung, nonce in results:
        row = now.rungs.get((trial, rung))
        if row is None or _plain(row["metrics"]).get("nonce") != nonce:
            bad.append(f"lost: rung {rung} of trial {trial}")
    for key, count in Counter((trial, rung) for trial, rung, _ in results).items():
        if count > 1:
            bad.append(f"told {count} times: {key}")
    for _, trial, _, reason in (row for row in told if row[2] is None):
        row = now.trials.get(trial, {})
        kept = _plain(row.get("failure")) or {}
        if row.get("state") != "failed" or kept.get("reason") != reason:
            bad.append(f"lost: the failure of trial {trial} by {reason}")
    if now.doubled:
        bad.append(f"doubled: {now.doubled} rungs in the store")
    for (trial, rung), row in now.rungs.items():
        metrics = _plain(row["metrics"])
        if worked.get((trial, rung, metrics.get("nonce"))) != metrics.get("score"):
            bad.append(f"invented: rung {rung} of trial {trial} is no worker's result")
    return bad


def check(run: Run, *, mlflow: str | None = None) -> list[str]:
    """All violations of a search that has come to its end.

    mlflow: the database of the MLflow that the search wrote to; None: nobody looks.
    """
    now = stored(run)
    bad = [*told_is_kept(run, now), *_ends(run, now), *_values(run, now), *_front(run, now)]
    doubled = [key for key, count in Counter(now.outbox).items() if count > 1]
    bad += [f"doubled: event {kind} of trial {trial}" for kind, trial, *_ in doubled]
    if mlflow is not None:
        bad += _mlflow(run, now, mlflow)
    until = time.monotonic() + 30
    while (left := run.marked()) and time.monotonic() < until:
        time.sleep(0.5)
    bad += [f"left over: process {p.pid} {' '.join(p.cmdline())[:150]}" for p in left]
    return bad


def _ends(run: Run, now: Stored) -> list[str]:
    """The budget is spent, nothing is stuck, and who failed was ordered to, with the reason."""
    bad = [] if now.state == "finished" else [f"the study is {now.state}"]
    if sorted(now.trials) != list(range(run.trials)):
        bad.append(f"{len(now.trials)} trials of a budget of {run.trials}")
    orders: dict[int, list[str]] = {}
    for trial, _, _, what in run.lines("ordered"):
        orders.setdefault(trial, []).append(what)
    for number, row in now.trials.items():
        may = set().union(*(FAILURES.get(what, set()) for what in orders.get(number, ())))
        failure = _plain(row["failure"])
        if row["state"] not in ("completed", "paused", "failed"):
            bad.append(f"stuck: trial {number} is {row['state']}")
        if row["state"] == "paused" and not run.rungs:
            bad.append(f"stuck: trial {number} is paused in a study without rungs")
        if failure is None and row["state"] == "failed":
            bad.append(f"trial {number} failed without a reason")
        if failure is not None and not _allowed(failure, may, run):
            bad.append(f"trial {number} failed by {failure['reason']}: {failure['message'][:200]}")
        if failure is not None and (len(failure["message"]) > 5000 or not failure["message"]):
            bad.append(f"trial {number}'s failure says {len(failure['message'])} characters")
        if may and failure is None and not _repeated(orders[number], run):
            bad.append(f"trial {number} went well, and was told to {orders[number]}")
    return bad


def _repeated(whats: list[str], run: Run) -> bool:
    """Memory that ran out beside another trial does not count: it runs again alone, unordered."""
    return set(whats) == {"memory"} and not run.local


def _allowed(failure: dict[str, str], may: set[str], run: Run) -> bool:
    """A full disk is nobody's fault, and says so."""
    full = run.disk_was_full and "No space left" in failure["message"]
    return full or failure["reason"] in may


def _values(run: Run, now: Stored) -> list[str]:
    """Every result is what its configuration gives, and the configurations are those of the seed."""
    ordered = {row[0] for row in run.lines("ordered")}
    bad = []
    for (trial, rung), row in now.rungs.items():
        if trial in ordered:
            continue
        p = _plain(now.trials[trial]["configuration"])["parameters"]
        metrics = _plain(row["metrics"])
        epoch = 1 if run.rungs and rung == 0 else EPOCHS
        if metrics["score"] != score(p["x"], p["y"], epoch) or metrics["epoch"] != epoch:
            bad.append(f"rung {rung} of trial {trial} is not what its configuration gives")
    return bad


def configurations(run: Run) -> list[tuple[float, float]]:
    """Of all trials in their order, to compare with a search that nothing was done to."""
    found = [_plain(row["configuration"]) for _, row in sorted(stored(run).trials.items())]
    return [(c["parameters"]["x"], c["parameters"]["y"]) for c in found]


def _front(run: Run, now: Stored) -> list[str]:
    """What `autopeft front` says, against all pairs of trials."""
    last: dict[int, dict[str, float]] = {}
    for (trial, _), row in sorted(now.rungs.items()):
        if now.trials[trial]["state"] == "completed":
            last[trial] = _plain(row["metrics"])
    points = {t: (m["score"], -m["size"]) for t, m in last.items()}
    expected = {
        t
        for t, p in points.items()
        if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points.values())
    }
    done = run.asked("front", STUDY, "--json")
    if done.returncode != (0 if expected else 1):
        return [f"front exits {done.returncode}: {done.stderr[-300:]}"]
    if not expected:
        return []
    told = {row["trial"] for row in json.loads(done.stdout)["front"]}
    return [] if told == expected else [f"the front is {sorted(told)}, not {sorted(expected)}"]


def _mlflow(run: Run, now: Stored, database: str) -> list[str]:
    """After `autopeft sync`, every trial has one run, in its state and with its score."""
    done = run.asked("sync", STUDY)
    if done.returncode != 0:
        return [f"sync exits {done.returncode}: {done.stderr[-300:]}"]
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
    runs = connection.execute(
        "SELECT t.value, r.status, r.run_uuid FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
        "WHERE t.key = 'autopeft.trial' AND r.lifecycle_stage = 'active'"
    ).fetchall()
    scores = dict(
        connection.execute("SELECT run_uuid, value FROM latest_metrics WHERE key = 'score'")
    )
    connection.close()
    bad = []
    for trial, count in Counter(int(value) for value, _, _ in runs).items():
        if count > 1:
            bad.append(f"MLflow: trial {trial} has {count} runs")
    if missing := set(now.trials) - {int(value) for value, _, _ in runs}:
        bad.append(f"MLflow: no run for trials {sorted(missing)}")
    ends = {"completed": "FINISHED", "failed": "FAILED", "paused": "KILLED"}
    last = {trial: _plain(row["metrics"]) for (trial, _), row in sorted(now.rungs.items())}
    for value, status, identity in runs:
        trial = int(value)
        if trial in now.trials and status != ends.get(now.trials[trial]["state"]):
            bad.append(f"MLflow: trial {trial} is {status}")
        if now.trials[trial]["state"] == "failed":  # its curve went on after its last rung
            continue
        if trial in last and not math.isclose(scores.get(identity, math.nan), last[trial]["score"]):
            bad.append(f"MLflow: trial {trial}'s score is {scores.get(identity)}")
    return bad

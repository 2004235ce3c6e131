"""Two hundred faults at random moments of real searches, and what they broke.

python benchmarks/service/faults.py OUT.jsonl [--seed 0] [--only NAME ...]   # about half an hour on a quiet machine
python benchmarks/service/faults.py OUT.jsonl --table

Every campaign is a search that faults are done to one after another (`tests/faults`): what is told
is compared with the workers' own journal after each, all invariants are checked in the end. A fault
counts as survived if nothing is wrong after it and the search that it was done to came to a right
end; else it is lost.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "faults"))

import kinds
from campaign import inflict
from faulty import Run
from kinds import Inject, Stand, ordered
from services import MlflowServer, Postgres, RayNodes, SmallDisk

AWAY_S = 30.0
WRONG = (
    *("nan", "memory", "hang", "exits", "raises_bytes", "raises_much", "returns_object"),
    *("returns_text", "returns_nothing", "much_beside", "odd_curve", "litters", "babbles"),
)
Faults = list[tuple[str, Inject]]


@dataclass
class Campaign:
    """faults: of what a search stands on; settings: of its `Run`.

    needs: names of what it stands on, as in `Stand`. trials: of the budget, for each fault.
    """

    name: str
    faults: Callable[[Stand], Faults]
    needs: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    trials: int = 8


def orders(*whats: str, times: int = 1) -> Faults:
    return [(f"trial: {what}", ordered(what)) for what in whats] * times


def drivers(stand: Stand) -> Faults:
    return [
        *[("driver: kill -9", kinds.driver_killed)] * 6,
        *[("driver: kill -9 while it starts", kinds.driver_killed_while_it_starts)] * 2,
        *[("driver: SIGTERM", kinds.driver_stopped)] * 2,
        *[("driver: a second one", kinds.second_driver)] * 3,
        *[("driver: two at once after kill -9", kinds.two_drivers_at_once)] * 2,
        *[("store of an earlier schema", kinds.old_schema)] * 3,
    ]


def on_ray(stand: Stand) -> Faults:
    return [
        *[("worker: kill -9", kinds.worker_killed)] * 10,
        *[("driver: kill -9", kinds.driver_killed)] * 2,
        *orders("hang", "dies", "nan", "memory", "killed_for_memory", "gigabyte"),
    ]


def postgres(stand: Stand) -> Faults:
    return [
        *[("PostgreSQL: kill -9, away for 30 s", kinds.postgres_killed(stand, AWAY_S))] * 5,
        *[("PostgreSQL: kill -9, away for 2 s", kinds.postgres_killed(stand, 2))] * 6,
        ("driver: kill -9", kinds.driver_killed),
    ]


def servers(stand: Stand) -> Faults:
    return [
        *[("MLflow: kill -9, away for 30 s", kinds.mlflow_killed(stand, AWAY_S))] * 8,
        *[("PostgreSQL: kill -9, away for 30 s", kinds.postgres_killed(stand, AWAY_S))] * 3,
        ("driver: kill -9", kinds.driver_killed),
    ]


def nodes(stand: Stand) -> Faults:
    return [("node of a cluster: kill -9", kinds.node_killed(stand))] * 10


def disk(stand: Stand) -> Faults:
    return [("disk full", kinds.disk_full(stand))] * 10


QUICK = {"local": True, "seconds": 0.1, "minutes": 0.1}
CAMPAIGNS = [
    Campaign("trials 1", lambda _: orders(*WRONG, times=2), settings=QUICK),
    Campaign("disk", disk, ("disk",), {"local": True, "rungs": True, "seconds": 0.1}),
    Campaign("drivers 1", drivers, settings={"local": True, "rungs": True}),
    Campaign("PostgreSQL", postgres, ("postgres",), {"local": True, "seconds": 0.3}),
    Campaign("trials 2", lambda _: orders(*WRONG, times=2), settings=QUICK),
    Campaign("drivers 2", drivers, settings={"local": True}),
    Campaign("trials 3", lambda _: orders(*WRONG, times=2), settings=QUICK),
    Campaign("trials 4", lambda _: orders(*WRONG, times=2), settings=QUICK),
    Campaign("trials 5", lambda _: orders(*WRONG, times=2), settings=QUICK),
    Campaign("Ray 1", on_ray, settings={"seconds": 0.3, "minutes": 0.25}),
    Campaign("cluster", nodes, ("nodes",), {"seconds": 0.5}),
    Campaign("servers", servers, ("postgres", "mlflow"), {"local": True, "seconds": 1}, 40),
    Campaign("Ray 2", on_ray, settings={"seconds": 0.3, "minutes": 0.25}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        print(table(given.out))
        return
    numbers = {campaign.name: number for number, campaign in enumerate(CAMPAIGNS)}
    for name in given.only or numbers:
        number = numbers[name]
        run_campaign(CAMPAIGNS[number], given.seed * 1000 + number, given.out)
    print(table(given.out))


def run_campaign(campaign: Campaign, seed: int, out: Path) -> None:
    """As many searches as the faults need, one after another."""
    with stood_on(campaign) as stand:
        faults = campaign.faults(stand)
        random.Random(seed).shuffle(faults)
        searches = 0
        while faults and searches < 6:
            verdict = one_search(campaign, stand, faults, seed + 100 * searches)
            row = {
                "campaign": campaign.name,
                "seed": seed + 100 * searches,
                "injections": [i.row() for i in verdict.injections],
                "end": verdict.end,
            }
            with out.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
            print(f"{campaign.name}: {len(verdict.injections)} faults, {verdict.end}", flush=True)
            # What ended a search too early is tried again once others were; a loss is a loss.
            faults = faults[max(len(verdict.injections), 1) :]
            searches += 1


def one_search(campaign: Campaign, stand: Stand, faults: Faults, seed: int) -> Any:
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    variables: dict[str, str] = {}
    if stand.postgres is not None:
        variables["AUTOPEFT_STORE"] = stand.postgres.database()
    if stand.mlflow is not None:
        stand.mlflow.wait()
        variables["MLFLOW_TRACKING_URI"] = stand.mlflow.uri
    if stand.nodes is not None:
        variables |= {**stand.nodes.variables, "RAY_ADDRESS": stand.nodes.address}
    home = stand.disk.folder / f"home-{seed}" if stand.disk is not None else None
    run = Run(
        folder,
        trials=campaign.trials * len(faults) + 10,
        seed=seed,
        home=home,
        variables=variables,
        **campaign.settings,
    )
    database = stand.mlflow.database if stand.mlflow else run.home / "mlflow.db"
    ready = stand.mlflow.wait if stand.mlflow else lambda: None
    verdict = inflict(run, faults, seed=seed, mlflow=str(database), ready=ready)
    if home is not None:  # there is no room for the homes of two searches
        shutil.rmtree(home, ignore_errors=True)
    if verdict.good:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"kept: {folder}", flush=True)
    return verdict


@contextmanager
def stood_on(campaign: Campaign) -> Iterator[Stand]:
    """What a campaign needs, in a folder of its own."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="faults-stand-"))
        make: dict[str, Callable[[], Any]] = {
            "postgres": lambda: Postgres(folder / "postgres"),
            "mlflow": lambda: MlflowServer(folder / "mlflow"),
            "nodes": lambda: RayNodes(folder / "nodes", nodes=2),
            "disk": lambda: SmallDisk(folder / "disk", megabytes=64),
        }
        found: dict[str, Any] = {}
        for name in campaign.needs:
            found[name] = make[name]()
            stack.callback(found[name].close)
        yield Stand(**found)


def table(out: Path) -> str:
    """The kinds with their injections, survived and lost."""
    counts: dict[str, list[int]] = {}
    ends: list[str] = []
    for line in out.read_text().splitlines():
        row = json.loads(line)
        ends += [f"{row['campaign']}, seed {row['seed']}: {end}" for end in row["end"]]
        for injection in row["injections"]:
            lost = bool(injection["bad"] or row["end"])
            kept = counts.setdefault(injection["kind"], [0, 0])
            kept[lost] += 1
            ends += [f"{row['campaign']}, {injection['kind']}: {bad}" for bad in injection["bad"]]
    lines = ["| kind | injections | survived | lost |", "|---|---|---|---|"]
    rows = [(kind, *kept) for kind, kept in sorted(counts.items())]
    total = ("all", sum(r[1] for r in rows), sum(r[2] for r in rows))
    lines += [f"| {k} | {good + bad} | {good} | {bad} |" for k, good, bad in [*rows, total]]
    return "\n".join([*lines, "", *_first(ends)])


def _first(texts: Sequence[str]) -> list[str]:
    return [text[:300] for text in texts]


if __name__ == "__main__":
    main()

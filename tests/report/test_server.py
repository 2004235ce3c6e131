"""The explorer live: to this machine alone, and only what has changed."""

import json
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from explored import explored_document, explored_spec, explored_trials

from autopeft.domain.errors import AutopeftError
from autopeft.report.server import make_server


class Served:
    """A server of a document that a test can change."""

    def __init__(self) -> None:
        self.document = explored_document(explored_spec(), explored_trials(20), state="running")
        self.server = make_server(lambda: self.document, host="127.0.0.1", port=0)
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def get(self, path: str, **headers: str) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(
            "GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        return answer


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    found = Served()
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_the_page_and_its_document_are_served(served):
    page = served.get("/")
    assert page.status == 200
    assert '"document.json"' in page.text
    assert json.loads(served.get("/document.json").text)["study"] == "films"
    assert served.get("/../pyproject.toml").status == 404


def test_what_has_not_changed_is_not_sent_again(served):
    tag = served.get("/document.json").headers["ETag"]
    assert served.get("/document.json", If_None_Match=tag).status == 304
    served.document = {**served.document, "made": 1.0}
    assert served.get("/document.json", If_None_Match=tag).status == 304
    served.document = {**served.document, "state": "finished"}
    assert served.get("/document.json", If_None_Match=tag).status == 200


def test_it_listens_to_this_machine_alone_and_to_no_name_but_its_own(served):
    assert served.server.server_address[0] == "127.0.0.1"
    assert served.get("/document.json", Host=f"localhost:{served.port}").status == 200
    assert served.get("/document.json", Host=f"evil.example:{served.port}").status == 403


def test_another_host_is_refused_with_the_way_to_do_it():
    with pytest.raises(AutopeftError, match=r"this machine alone.*'0\.0\.0\.0'.*ssh -L"):
        make_server(dict, host="0.0.0.0", port=0)


def test_a_port_in_use_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AutopeftError, match=f"free port, got {port}: .*--port"):
            make_server(dict, host="127.0.0.1", port=port)

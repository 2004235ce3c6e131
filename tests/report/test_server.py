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

TOKEN = "a-token-of-more-than-16"


class Library:
    """A store of two studies, one with a name that no file would be let have."""

    def names(self) -> list[tuple[str, str]]:
        return [("films", "running"), ("<script>alert(1)</script>", "finished")]

    def document(self, name: str) -> dict[str, Any]:
        if name != "films":
            raise AutopeftError(f"there is no study {name!r}")
        return explored_document(explored_spec(), explored_trials(5), state="running")


class Served:
    """A server of a document that a test can change."""

    def __init__(self, studies: Any = None, token: str = "") -> None:
        self.document = explored_document(explored_spec(), explored_trials(20), state="running")
        served = studies or (lambda: self.document)
        self.server = make_server(served, host="127.0.0.1", port=0, token=token)
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


def test_another_host_needs_a_token_that_deserves_the_name():
    with pytest.raises(AutopeftError, match=r"needs a token.*'0\.0\.0\.0'.*AUTOPEFT_UI_TOKEN"):
        make_server(dict, host="0.0.0.0", port=0)
    with pytest.raises(
        AutopeftError, match="16 letters, digits.* got another: make one by"
    ) as said:
        make_server(dict, host="0.0.0.0", port=0, token="hunter2")
    assert "hunter2" not in str(said.value)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Served]:
    found = Served(Library(), token=TOKEN)
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.mark.parametrize("path", ["/", "/studies/films/", "/studies/films/document.json", "/x"])
def test_without_the_token_nothing_is_shown(guarded, path):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "autopeft_token=wrong"}):
        answer = guarded.get(path, **headers)
        assert answer.status == 401
        assert "films" not in answer.text
        assert TOKEN not in answer.text


def test_the_token_comes_once_in_the_address_and_then_as_a_cookie(guarded):
    first = guarded.get(f"/studies/films/?token={TOKEN}")
    assert (first.status, first.headers["Location"]) == (303, "/studies/films/")
    cookie, *kept = first.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict"} <= set(kept)
    assert guarded.get("/studies/films/document.json", Cookie=cookie).status == 200
    assert guarded.get("/", Authorization=f"Bearer {TOKEN}", Host="elsewhere").status == 200


def test_the_redirect_stays_on_this_server(guarded):
    for path in ("//evil.example/", "/%2Fevil.example/", "/%2f%2fevil.example/", "/\\evil.example"):
        answer = guarded.get(f"{path}?token={TOKEN}")
        assert answer.status == 303
        location = answer.headers["Location"]
        assert location.startswith("/")
        assert not location.startswith(("//", "/\\"))
        assert TOKEN not in location


def test_every_answer_says_what_a_browser_may_do_with_it(guarded):
    for path in ("/", "/x", f"/?token={TOKEN}"):
        answer = guarded.get(
            path, **({} if "token" in path else {"Authorization": f"Bearer {TOKEN}"})
        )
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "<script>"])
def test_nothing_but_get_is_answered(served, method):
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(f"{method} / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        said = connection.recv(65536).decode()
    assert said.split()[1] == "501"
    assert "<script>" not in said


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("GET /" + "a" * 70_000 + " HTTP/1.1\r\n\r\n", "414"),
        ("GET / HTTP/1.1\r\n" + "a: b\r\n" * 200 + "\r\n", "431"),
        ("GET / HTTP/1.1\r\na: " + "b" * 70_000 + "\r\n\r\n", "431"),
    ],
    ids=["a long address", "many headers", "a long header"],
)
def test_big_requests_are_refused(served, request_, code):
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(request_.encode())
        assert connection.recv(65536).decode().split()[1] == code


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/studies/%2e%2e/",
            "/studies/..%2f..%2f/",
        ),
        *(
            "/studies/a%00b/",
            "/studies/<script>/",
            "/document.json%0d%0aX-Evil:%20yes",
            "//etc/passwd",
        ),
    ],
)
def test_no_path_leads_out_of_the_studies(guarded, path):
    answer = guarded.get(path, Authorization=f"Bearer {TOKEN}")
    assert answer.status == 404
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "X-Evil" not in answer.headers


def test_the_token_is_in_no_log(guarded, capfd):
    guarded.get(f"/?token={TOKEN}")
    guarded.get(f"/x?token={TOKEN}wrong")
    assert TOKEN not in "".join(capfd.readouterr())


def test_several_studies_are_a_list_of_links_without_markup_of_theirs(guarded):
    told = guarded.get("/", Authorization=f"Bearer {TOKEN}").text
    assert '<a href="studies/films/">films</a> running' in told
    assert "<script>" not in told
    assert "&lt;script&gt;" in told
    for path in ("/studies/none/", "/studies/../films/", "/document.json", "/studies/films"):
        assert guarded.get(path, Authorization=f"Bearer {TOKEN}").status == 404


def test_a_port_in_use_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AutopeftError, match=f"a free port, got 127.0.0.1:{port}: .*--port"):
            make_server(dict, host="127.0.0.1", port=port)

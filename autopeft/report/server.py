"""The explorer live: a web server over whatever gives the documents.

    GET /                                  the page; of several studies, their list
    GET /document.json                     the document, with an ETag: 304 where it has not changed
    GET /metrics                           what Prometheus reads, of all studies of the store
    GET /studies/NAME/[document.json]      the same of one of several studies; NAME may be nlp/rte

On a loopback address it answers only requests that name one as their host: a page of the internet
whose name was pointed at 127.0.0.1 gets nothing. On any other address it asks for a token.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from autopeft.domain.errors import AutopeftError
from autopeft.report.access import LOOPBACK, check_token, cookie, given_token, same
from autopeft.report.page import explorer_page

_IDLE_S = 60  # of a connection that says nothing
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}


class Studies(Protocol):
    """What is served. Both are called under one lock."""

    def names(self) -> Sequence[tuple[str, str]]:
        """Names and states."""

    def document(self, name: str) -> dict[str, Any]:
        """Of one of them.

        Raises:
            AutopeftError: there is no such study, or it cannot be read.
        """


def make_server(
    studies: Studies | Callable[[], dict[str, Any]],
    *,
    host: str,
    port: int,
    token: str = "",
    metrics: Callable[[], bytes] | None = None,
) -> ThreadingHTTPServer:
    """A server that is bound and waits for `serve_forever`; port 0 takes a free one.

    studies: or the document of a single one, called under a lock, once a request.
    token: whom to let in; "": anyone who reaches the address, which is this machine alone then.
    metrics: gives what Prometheus reads at /metrics; it is called by several threads.

    Raises:
        AutopeftError: another address without a token, a token that is none, or a port in use.
    """
    check_token("ui", host, token)
    try:
        server = ThreadingHTTPServer((host, port), _handler(studies, token, metrics))
    except OSError as error:
        raise AutopeftError(
            f"ui needs an address of this machine and a free port, got {host}:{port}: "
            f"{error.strerror}; take others with --host and --port, or --port 0 for any"
        ) from error
    server.daemon_threads = True
    return server


def _handler(
    studies: Studies | Callable[[], dict[str, Any]],
    token: str,
    metrics: Callable[[], bytes] | None,
) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        server_version = "autopeft"
        sys_version = ""
        timeout = _IDLE_S

        def do_GET(self) -> None:
            given, in_address = given_token(self.path, self.headers)
            path = unquote(urlsplit(self.path).path)
            if not token and self.headers.get("Host", "").rsplit(":", 1)[0] not in LOOPBACK:
                self._send(403, "text/plain", b"only as 127.0.0.1 or localhost\n")
            elif token and not same(token, given):
                self._send(401, "text/plain", b"a token is needed: open the address with ?token=\n")
            elif token and in_address:
                # One slash: `//elsewhere/` is another host.
                there = {"Location": f"/{quote(path.lstrip('/'))}", "Set-Cookie": cookie(token)}
                self._send(303, "text/plain", b"", there)
            else:
                try:
                    self._answer(path)
                except AutopeftError as error:
                    self._send(404, "text/plain", f"{error}\n".encode())

        def _answer(self, path: str) -> None:
            if path == "/metrics" and metrics is not None:
                self._send(200, "text/plain; version=0.0.4", metrics())
                return
            found = re.fullmatch(r"/(?:studies/([^/]+(?:/[^/]+)?)/)?(document\.json)?", path)
            if found is None or (found[1] is not None and callable(studies)):
                raise AutopeftError("there is no such page: begin at /")
            name, wants_document = found[1], found[2]
            if name is None and not callable(studies):
                if wants_document:
                    raise AutopeftError("whose document? /studies/NAME/document.json")
                self._send(200, "text/html", self._list(studies).encode())
            elif wants_document:
                self._send_document(self._document(name))
            else:
                page = explorer_page(self._document(name), live="document.json")
                self._send(200, "text/html", page.encode())

        def _document(self, name: str | None) -> dict[str, Any]:
            with lock:
                return studies() if callable(studies) else studies.document(name or "")

        def _list(self, studies: Studies) -> str:
            with lock:
                names = studies.names()
            rows = "".join(
                f'<li><a href="studies/{quote(name)}/">{escape(name)}</a> {escape(state)}</li>'
                for name, state in names
            )
            return (
                "<!doctype html><html lang=en><meta charset=utf-8><title>autopeft</title>"
                "<style>body{font:16px system-ui,sans-serif;margin:2rem;color-scheme:light dark}"
                "</style><h1>Studies</h1>" + (f"<ul>{rows}</ul>" if rows else "<p>None yet.</p>")
            )

        def _send_document(self, found: dict[str, Any]) -> None:
            text = json.dumps(found, allow_nan=False).encode()
            # When it was made changes every time, and nothing else need have.
            told = json.dumps({**found, "made": 0}, sort_keys=True).encode()
            tag = {"ETag": f'"{hashlib.sha256(told).hexdigest()[:32]}"'}
            if self.headers.get("If-None-Match") == tag["ETag"]:
                self._send(304, "application/json", b"", tag)
            else:
                self._send(200, "application/json", text, tag)

        def _send(
            self, code: int, kind: str, body: bytes, more: Mapping[str, str] | None = None
        ) -> None:
            self.send_response(code)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            for name, value in {**_SECURITY, **(more or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def send_error(
            self, code: int, message: str | None = None, explain: str | None = None
        ) -> None:
            """What is no GET, or too big: without the words of the request."""
            self._send(code, "text/plain", b"only GET is answered, and short requests\n")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: stderr is for people, and an address may hold the token."""

    return Handler

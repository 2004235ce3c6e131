"""The explorer live: a web server for this machine alone, over whatever gives the document.

    GET /                the page
    GET /document.json   the document, with an ETag: 304 where it is what the page has

It listens on a loopback address, and answers only requests that name one as their host: a page of
the internet whose name was pointed at 127.0.0.1 gets nothing.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from autopeft.domain.errors import AutopeftError
from autopeft.report.page import explorer_page

LOOPBACK = ("127.0.0.1", "localhost")
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def make_server(
    document: Callable[[], dict[str, Any]], *, host: str, port: int
) -> ThreadingHTTPServer:
    """A server that is bound and waits for `serve_forever`; port 0 takes a free one.

    document: called under a lock, once a request.

    Raises:
        AutopeftError: the host is another than this machine, or the port is in use.
    """
    if host not in LOOPBACK:
        raise AutopeftError(
            f"ui serves this machine alone, on 127.0.0.1, got host {host!r}: it has no token that "
            "would keep others out; from elsewhere, forward the port "
            f"(ssh -L {port}:127.0.0.1:{port} MACHINE)"
        )
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(document))
    except OSError as error:
        raise AutopeftError(
            f"ui needs a free port, got {port}: {error.strerror}; take another with --port, or "
            "--port 0 for any"
        ) from error
    server.daemon_threads = True
    return server


def _handler(document: Callable[[], dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        server_version = "autopeft"
        sys_version = ""

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if self._host() not in LOOPBACK:
                self._send(403, "text/plain", b"only as 127.0.0.1 or localhost\n")
            elif path == "/":
                page = explorer_page(self._document(), live="document.json")
                self._send(200, "text/html", page.encode())
            elif path == "/document.json":
                self._send_document()
            else:
                self._send(404, "text/plain", b"there are / and /document.json\n")

        def _host(self) -> str:
            return self.headers.get("Host", "").rsplit(":", 1)[0]

        def _document(self) -> dict[str, Any]:
            with lock:
                return document()

        def _send_document(self) -> None:
            found = self._document()
            text = json.dumps(found, allow_nan=False).encode()
            # When it was made changes every time, and nothing else need have.
            told = json.dumps({**found, "made": 0}, sort_keys=True).encode()
            tag = f'"{hashlib.sha256(told).hexdigest()[:32]}"'
            if self.headers.get("If-None-Match") == tag:
                self._send(304, "application/json", b"", tag)
            else:
                self._send(200, "application/json", text, tag)

        def _send(self, code: int, kind: str, body: bytes, tag: str = "") -> None:
            self.send_response(code)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            for name, value in _SECURITY.items():
                self.send_header(name, value)
            if tag:
                self.send_header("ETag", tag)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: stderr is for people."""

    return Handler

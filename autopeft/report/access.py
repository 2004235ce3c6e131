"""Who may see the explorer: this machine without a token, anyone else with it.

The token comes once in the address (`/?token=...`), which is answered by a cookie that scripts
cannot read and a redirect to the address without it; or with every request, as
`Authorization: Bearer ...`.
"""

import hmac
import re
from email.message import Message
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

from autopeft.domain.errors import AutopeftError

COOKIE = "autopeft_token"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,}")


def check_token(what: str, host: str, token: str) -> None:
    """what: is served at the host, in words.

    Raises:
        AutopeftError: others than this machine would be let in without a token, or it is none.
    """
    if not token and not is_loopback(host):
        raise AutopeftError(
            f"{what} needs a token to be seen from elsewhere, got host {host!r} without one: set "
            "AUTOPEFT_UI_TOKEN"
        )
    if token and not _TOKEN.fullmatch(token):
        raise AutopeftError(
            f"{what} takes a token of 16 letters, digits, `-` and `_` or more, got another: make "
            "one by `openssl rand -hex 32`"
        )


def is_loopback(host: str) -> bool:
    """Whether who listens on this address is heard on this machine alone."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def given_token(path: str, headers: Message) -> tuple[str, bool]:
    """The token of a request, "" without one, and whether it stands in its address."""
    query = parse_qs(urlsplit(path).query)
    if query.get("token"):
        return query["token"][0], True
    kind, _, value = headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip(), False
    try:
        cookie = SimpleCookie(headers.get("Cookie", "")).get(COOKIE)
    except CookieError:
        cookie = None
    return (cookie.value if cookie else ""), False


def same(token: str, given: str) -> bool:
    """In a time that tells nothing of the token."""
    return hmac.compare_digest(token.encode(), given.encode())


def cookie(token: str) -> str:
    """For as long as the browser runs; never sent from another site, never read by a script."""
    return f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict"

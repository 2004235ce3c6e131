"""Who may see the explorer: this machine without a token, anyone else with it.

The token comes once in the address (`/?token=...`), which is answered by a cookie that scripts
cannot read and a redirect to the address without it; or with every request, as
`Authorization: Bearer ...`.
"""

import hmac
from email.message import Message
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

COOKIE = "autopeft_token"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


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

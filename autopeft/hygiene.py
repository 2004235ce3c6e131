"""What leaves as text: without the secrets of the environment, without what a terminal obeys.

Messages and tracebacks of failed trials, log lines and errors hold whatever somebody's code put
into them, a URL with its password or the value of HF_TOKEN too; they are kept in the store, shown
in MLflow and exported. So they pass through here first, in the worker whose environment it was.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_SECRET = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY"
    r"|(^|_)(TOKEN|AUTH)(_|$)"
)
_NO_VALUE = re.compile(r"_(PATH|FILE|DIR|MODE|NAME|TYPE|TIMEOUT|SOCK)$")
_SHORTEST = 6  # shorter ones are words, and would be cut out of other words
_TOKEN_FILES = (
    ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token"),
    ("HF_TOKEN", "HF_TOKEN_PATH", "~/.cache/huggingface/token"),
)
_IN_URL = re.compile(r"(?P<scheme>[a-zA-Z][\w+.-]*://)(?P<user>[^/\s:@'\"]*):[^/\s@'\"]+@")
_IN_QUERY = re.compile(
    r"(?P<name>[?&;][\w-]*(?:pass|secret|token)[\w-]*=)[^&\s'\"]+", re.IGNORECASE
)
_HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{20,}\b")
# What moves a cursor, rings, or turns the direction of writing; line ends and tabs stay.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def secrets_of(environ: Mapping[str, str]) -> dict[str, str]:
    """The secrets that an environment holds: value -> the name to say instead, longest first.

    Variables whose names say so, passwords inside URLs, and the token files of Ray and the hub.
    """
    found: dict[str, str] = {}
    for name, value in environ.items():
        upper = name.upper()
        if _SECRET.search(upper) and not _NO_VALUE.search(upper):
            found[value.strip()] = name
        if "://" in value and (password := _password(value)):
            found |= {password: name, unquote(password): name}
    for name, variable, usual in _TOKEN_FILES:
        found.setdefault(_first_line(environ.get(variable) or usual), name)
    kept = {value: name for value, name in found.items() if len(value) >= _SHORTEST}
    return dict(sorted(kept.items(), key=lambda item: -len(item[0])))


def redacted(text: str) -> str:
    """A text with `***NAME***` for every secret of this process's environment."""
    return _without(text, secrets_of(os.environ))


def redacted_tree(value: Any) -> Any:
    """JSON data with every text of it redacted, its keys apart."""
    return _tree_without(value, secrets_of(os.environ))


def _without(text: str, secrets: Mapping[str, str]) -> str:
    for value, name in secrets.items():
        text = text.replace(value, f"***{name}***")
    return _HUB_TOKEN.sub("***", public_url(text))


def _tree_without(value: Any, secrets: Mapping[str, str]) -> Any:
    match value:
        case str():
            return _without(value, secrets)
        case Mapping():
            return {str(key): _tree_without(item, secrets) for key, item in value.items()}
        case list() | tuple():
            return [_tree_without(item, secrets) for item in value]
        case _:
            return value


def public_url(url: str) -> str:
    """A URL, or a text with some, without the passwords in them."""
    hidden = _IN_URL.sub(r"\g<scheme>\g<user>:***@", url)
    return _IN_QUERY.sub(r"\g<name>***", hidden)


def visible(text: str) -> str:
    """A text without the characters that a terminal obeys instead of showing them."""
    return _OBEYED.sub("", text)


def _password(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def _first_line(path: str) -> str:
    """Of a small file; "" where it cannot be read. Not remembered: a token may be made later."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip()[:1000]
    except (OSError, ValueError, RuntimeError):
        return ""

"""Secrets in a space file: refused, as the file is kept in the store, shown and exported."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from autopeft.config.names import join
from autopeft.config.places import Places
from autopeft.domain.errors import Mistake, SpecError
from autopeft.hygiene import public_url, secrets_of

_KEY = re.compile(
    r"(^|[_-])(password|passwd|passphrase|secrets?|api[_-]?key|secret[_-]?key|private[_-]?key"
    r"|access[_-]?key([_-]id)?|credentials?)$"
    r"|^((hf|hub|auth|use[_-]auth|access|bearer|api|session|aws[_-]session)[_-])?token$",
    re.IGNORECASE,
)
_MASK = re.compile(r"<[A-Z_]+>|\*+")  # as transformers writes `hub_token` out
_LONGEST_WORD = 12  # a shorter value of a variable may stand in a file by chance
_HINT = "leave it to the environment (HF_TOKEN, AWS_SECRET_ACCESS_KEY, os.environ in your code)"


def refuse_secrets(document: Mapping[str, Any], places: Places, source: str) -> None:
    """
    Raises:
        SpecError: a key that names a secret has a text, a URL holds a password, or a text holds
            the value of a secret of the environment. No message repeats any of them.
    """
    known = {v: name for v, name in secrets_of(os.environ).items() if len(v) >= _LONGEST_WORD}
    found = []
    for path, key, text in _texts(document, "", ""):
        why = ""
        if _KEY.search(key) and text and not _MASK.fullmatch(text):
            why = f"a space file is kept and shown, and {key!r} names a secret"
        elif public_url(text) != text:
            why = "a space file is kept and shown, and this URL holds a password"
        elif name := next((name for value, name in known.items() if value in text), ""):
            why = f"a space file is kept and shown, and this is the value of {name}"
        if why:
            place = places.mistake(path, "", checked=document)
            found.append(Mistake(path, why, _HINT, place.line))  # no excerpt: it would show it
    if found:
        raise SpecError(found, source)


def _texts(node: Any, path: str, key: str) -> Iterator[tuple[str, str, str]]:
    """Path, the key that it is under, and every text of a document."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _texts(value, join(path, str(name)), str(name))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _texts(value, f"{path}[{i}]", key)
    elif isinstance(node, str):
        yield path, key, node

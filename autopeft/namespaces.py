"""Whose a study is: the namespace that its name begins with, and its owner.

    rte        a study without a namespace
    nlp/rte    the study `rte` of the namespace `nlp`

AUTOPEFT_NAMESPACE names the namespace of whoever works here: a name without one means a study of
it, a whole name means the same from anywhere. The whole name is the study's name in the store, the
folder of its files and MLflow's experiment; nothing else knows of namespaces.
"""

import getpass
import os
import re
from collections.abc import Iterable

from autopeft.domain.errors import AutopeftError, StudyError

NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"  # it is the name of a folder
STUDY = re.compile(rf"({NAME}/)?{NAME}")
"""Of a study. A name never leaves its folder, and no command takes it for an option: no part of it
begins with a point or a dash."""
RULE = "letters, digits, _ and (not first) - and ."
"""What a part of a name takes, in words."""


def own_namespace() -> str:
    """The namespace of whoever works here; "": none.

    Raises:
        AutopeftError: AUTOPEFT_NAMESPACE is no name.
    """
    found = os.environ.get("AUTOPEFT_NAMESPACE", "")
    if found and not re.fullmatch(NAME, found):
        raise AutopeftError(
            f"AUTOPEFT_NAMESPACE takes {RULE}, got {found!r}: name another, or unset it"
        )
    return found


def namespace_of(study: str) -> str:
    """Of a study's whole name; "": none."""
    return study.rpartition("/")[0]


def whole_name(name: str, namespace: str | None = None) -> str:
    """A study's name with its namespace, where it has none written; own: by the environment."""
    if namespace is None:
        namespace = own_namespace()
    return name if "/" in name or not namespace else f"{namespace}/{name}"


def short_name(study: str) -> str:
    """What a study is called by whoever works here."""
    namespace = own_namespace()
    return study.removeprefix(f"{namespace}/") if namespace else study


def file_name(study: str) -> str:
    """A study's name in the name of a file or a folder that is written for the user."""
    return study.replace("/", "-")


def check_free(study: str, studies: Iterable[str]) -> None:
    """Their folders would lie in each other.

    Raises:
        StudyError: a study is called like the namespace of another one.
    """
    for other in studies:
        if study == namespace_of(other) or other == namespace_of(study):
            raise StudyError(
                f"a study and a namespace cannot have the same name, got {study!r} beside "
                f"{other!r}: choose another name"
            )


def of_owner(owner: str | None) -> str:
    """What is said behind a study's name, where it is somebody else's."""
    return f" of {owner}" if owner and owner != own_name() else ""


def own_name() -> str | None:
    """The owner of what is made here: AUTOPEFT_OWNER, or the login name; None: neither is told.

    Raises:
        AutopeftError: AUTOPEFT_OWNER cannot be printed.
    """
    found = os.environ.get("AUTOPEFT_OWNER", "").strip()
    if len(found) > 200 or not found.isprintable():
        raise AutopeftError(
            f"AUTOPEFT_OWNER takes a name of up to 200 letters in one line, got {found[:40]!r}"
        )
    if found:
        return found
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        return None

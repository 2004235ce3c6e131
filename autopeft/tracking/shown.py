"""What an MLflow user finds beside the numbers of a study."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Member:
    """A trial of the front. files: name -> text. adapter: its folder; None: not on this machine.

    place: where the adapter lies for good, if that is another place.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    adapter: Path | None = None
    place: str | None = None


@dataclass(frozen=True)
class Shown:
    """note: the parent run's description, Markdown. files: name -> text, its artifacts.

    members: trial -> what its own run gets when the study ends.
    """

    note: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[int, Member] = field(default_factory=dict)

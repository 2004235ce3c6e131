"""What a folder holds, to the byte: how one knows that all of it is there."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autopeft.domain.errors import ArtifactError

NAME = "autopeft-manifest.json"


class DamagedError(ArtifactError):
    """What is kept under a key is not what was uploaded."""


@dataclass(frozen=True)
class Manifest:
    """files: path within the folder -> (size in bytes, sha256 in hex)."""

    files: Mapping[str, tuple[int, str]]

    @classmethod
    def of(cls, folder: Path) -> "Manifest":
        """Of a folder as it lies on disk."""
        found = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with path.open("rb") as stream:
                    said = hashlib.file_digest(stream, "sha256").hexdigest()
                found[path.relative_to(folder).as_posix()] = (path.stat().st_size, said)
        return cls(found)

    @classmethod
    def read(cls, text: bytes) -> "Manifest":
        """Raises:
        DamagedError: it is none, or names a file outside its folder.
        """
        try:
            found = {str(n): (int(s), str(h)) for n, (s, h) in json.loads(text)["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"what lists the files cannot be read: {error}") from error
        for name in found:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
                raise DamagedError(f"what lists the files names one outside its folder: {name!r}")
        return cls(found)

    @property
    def text(self) -> bytes:
        return json.dumps({"files": self.files}, indent=1, sort_keys=True).encode()

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text).hexdigest()

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(size for size, _ in self.files.values())

    def missing(self, folder: Path) -> list[str]:
        """The files that are not in a folder as they should be."""
        there = Manifest.of(folder).files
        return [name for name, said in self.files.items() if there.get(name) != said]

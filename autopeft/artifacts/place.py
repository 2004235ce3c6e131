"""The place of artifacts: folders by key, each there whole or not at all.

The files of a folder are uploaded first and its manifest last; what has no manifest is not there.
What is fetched is compared with the manifest to the byte.
"""

import json
import logging
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from autopeft.artifacts.manifest import NAME, DamagedError, Manifest
from autopeft.domain.errors import ArtifactError

log = logging.getLogger("autopeft")

_KEY = r"(?:adapters/trial-\d+|checkpoints/trial-\d+/rung-\d+)"
_ATTEMPTS = 10  # botocore's waits between them: a minute in the mean, 20 s at most each
_CONNECT_S = 10
_UNUSABLE = "the place of checkpoints and adapters cannot be used"


class Artifacts:
    """Folders at a URL that `artifacts_url` gave.

    Retries are the client library's own. Keys are paths relative to the URL.

    hasty: a client that gives up soon: for whoever waits for an answer.

    Every method raises ArtifactError where the place does not do what it is asked.
    """

    def __init__(self, url: str, *, hasty: bool = False) -> None:
        self.url = url
        self._hasty = hasty

    def put(self, folder: Path, key: str) -> Manifest:
        """Upload a folder; what was there under the key is replaced."""
        manifest, at = Manifest.of(folder), self._at(key)
        with self._said(f"{key} could not be uploaded"):
            if self._fs.exists(f"{at}/{NAME}"):
                self._fs.rm_file(f"{at}/{NAME}")
            names = list(manifest.files)
            if names:
                self._fs.put([str(folder / name) for name in names], [f"{at}/{n}" for n in names])
            self._fs.pipe_file(f"{at}/{NAME}", manifest.text)
        return manifest

    def manifest(self, key: str) -> Manifest | None:
        """What is under a key; None: nothing, or nothing whole."""
        with self._said(f"{key} could not be looked up"):
            try:
                text = self._fs.cat_file(f"{self._at(key)}/{NAME}")
            except FileNotFoundError:
                return None
        return Manifest.read(text)

    def get(self, key: str, folder: Path) -> Manifest | None:
        """Download into a folder, which is replaced; None: there is nothing under the key.

        Raises:
            DamagedError: what is there is not what was uploaded.
        """
        if (manifest := self.manifest(key)) is None:
            return None
        draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        try:
            with self._said(f"{key} could not be fetched"):
                for name in manifest.files:
                    (draft / name).parent.mkdir(parents=True, exist_ok=True)
                draft.mkdir(parents=True, exist_ok=True)
                if names := list(manifest.files):
                    at = self._at(key)
                    with suppress(FileNotFoundError):  # one that is missing is damage, as below
                        self._fs.get([f"{at}/{n}" for n in names], [str(draft / n) for n in names])
                missing = manifest.missing(draft)
            if missing:
                raise DamagedError(
                    f"{self.url}: {key} is not what was uploaded there: {', '.join(missing[:3])} "
                    "differ or are missing"
                )
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return manifest

    def cached(self, key: str, folder: Path) -> Path | None:
        """A copy of what is under a key, in a folder of copies; fetched where it is not there yet.

        The name tells the content, so a copy never grows old.
        """
        if (manifest := self.manifest(key)) is None:
            return None
        copy = folder / f"{Path(key).name}-{manifest.digest[:16]}"
        if not copy.is_dir() and self.get(key, copy) is None:
            return None
        return copy

    def forget(self, key: str) -> None:
        """Delete what is under a key, if anything is."""
        with self._said(f"{key} could not be deleted"):
            # Its manifest first: what is half deleted is not there.
            for path in (f"{self._at(key)}/{NAME}", self._at(key)):
                with suppress(FileNotFoundError):
                    self._fs.rm(path, recursive=True)

    def keys(self, study: str) -> frozenset[str]:
        """What there is of a study, half uploads included: `<study>/adapters/trial-3`, ..."""
        paths: list[str] = []
        for folder in ("adapters", "checkpoints"):  # a study may be the namespace of others
            said = self._said(f"the {folder} of {study} could not be listed")
            with said, suppress(FileNotFoundError):
                paths += self._fs.find(self._at(f"{study}/{folder}"))
        begin = re.compile(rf".*?{re.escape(self._at(study))}/({_KEY})/")
        found = (begin.match(f"/{path}") for path in paths)
        return frozenset(f"{study}/{match.group(1)}" for match in found if match)

    def check(self) -> None:
        """Make sure that the place can be written, read, listed and deleted, by doing so."""
        folder, said = self._at(f".probe-{uuid.uuid4().hex}"), b"autopeft"
        with self._said(_UNUSABLE):
            self._fs.pipe_file(f"{folder}/probe", said)
            back, listed = self._fs.cat_file(f"{folder}/probe"), self._fs.find(folder)
            self._fs.rm(folder, recursive=True)
            if back != said or len(listed) != 1:
                raise OSError("what was written there is not what is read")

    def claim(self, study: str, owner: str) -> None:
        """Make sure that the place can be used, and that what is there is this study's.

        owner: a random id that the store keeps with the study. A study of the same name in another
            store would delete this one's files.

        Raises:
            ArtifactError: it cannot be used, or is another study's.
        """
        self.check()
        said = json.dumps({"study": study, "id": owner}).encode()
        mark = self._at(f"{study}/study.json")
        with self._said(_UNUSABLE):
            try:
                there = self._fs.cat_file(mark)
            except FileNotFoundError:
                self._fs.pipe_file(mark, said)
                return
        if there != said:
            raise ArtifactError(
                f"{self.url}/{study} holds the files of a study of this name in another store: "
                "name another prefix by AUTOPEFT_ARTIFACTS, or call the study otherwise"
            )

    def drop(self, study: str) -> None:
        """Delete all that there is of a study."""
        with self._said(f"the files of study {study} could not be deleted"):
            for key in sorted(self.keys(study)):
                self.forget(key)
            with suppress(FileNotFoundError):
                self._fs.rm_file(f"{self._at(study)}/study.json")

    def _at(self, key: str) -> str:
        return f"{self._root}/{key}"

    @cached_property
    def _root(self) -> str:
        return str(self._fs._strip_protocol(self.url)).rstrip("/")

    @cached_property
    def _fs(self) -> Any:
        import fsspec

        protocol = self.url.partition("://")[0]
        try:
            fsspec.get_filesystem_class(protocol)
        except ImportError as error:
            said = f"AUTOPEFT_ARTIFACTS={self.url} needs a package: {error}"
            more = " (`pip install 'autopeft[s3]'`)" if protocol in ("s3", "s3a") else ""
            raise ArtifactError(said + more) from error
        except ValueError as error:
            raise ArtifactError(
                f"AUTOPEFT_ARTIFACTS takes a URL that fsspec reads (s3://bucket/prefix, gs://, "
                f"abfs://, sftp://, file:///nfs/autopeft), got {self.url}: {error}"
            ) from error
        with self._said("its client cannot be made"):
            return fsspec.filesystem(protocol, **self._options(protocol))

    def _options(self, protocol: str) -> dict[str, Any]:
        """Listings are never remembered: others write there. The rest is the environment's."""
        options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
        if protocol in ("file", "local"):
            options["auto_mkdir"] = True
        if protocol in ("s3", "s3a"):
            attempts = 2 if self._hasty else _ATTEMPTS
            options["config_kwargs"] = {
                "connect_timeout": _CONNECT_S,
                "retries": {"mode": "standard", "max_attempts": attempts},
            }
        return options

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        """Every library of fsspec has errors of its own: one message for all of them."""
        try:
            yield
        except ArtifactError:
            raise
        except Exception as error:
            first = (str(error).strip().splitlines() or [""])[0]
            raise ArtifactError(
                f"{self.url}: {what}: {type(error).__name__}: {first}{_hint(error)}"
            ) from error


def _hint(error: Exception) -> str:
    """What to do about the errors that people meet."""
    name = type(error).__name__
    if "Credentials" in name:
        return " (this machine needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
    if isinstance(error, PermissionError):
        return " (its user needs to list, read, write and delete there)"
    if isinstance(error, FileNotFoundError) and "bucket" in str(error).lower():
        return " (make it, or name another one by AUTOPEFT_ARTIFACTS)"
    if "Endpoint" in name or "Connect" in name:
        return " (is the network there, and AWS_ENDPOINT_URL right?)"
    return ""

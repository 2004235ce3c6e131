"""Which errors are no trial's fault."""

import errno
import re

import pytest

from autopeft.domain.errors import ArtifactError
from autopeft.domain.infrastructure import infrastructure


def wrapped(cause):
    try:
        try:
            raise cause
        except Exception as error:
            raise RuntimeError("the checkpoint was not written") from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "a disk is full on .*: free it"),
        (wrapped(OSError(errno.EDQUOT, "quota")), "a disk is full on "),
        (Exception("I/O error: No space left on device (os error 28)"), "a disk is full on "),
        (
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704"),
            "could not be written",
        ),
        (
            RuntimeError("basic_ios::clear: iostream error"),
            "could not be written on .*probably full",
        ),
        (OSError(errno.ESTALE, "Stale file handle"), "a disk fails on .*: mend it"),
        (ArtifactError("s3://b: could not be uploaded"), "s3://b: could not be uploaded"),
    ],
)
def test_disks_and_places_of_files_are_to_blame(error, said):
    assert re.search(said, infrastructure(error))


@pytest.mark.parametrize(
    "error",
    [
        OSError("disk full"),
        FileNotFoundError(errno.ENOENT, "No such file"),
        RuntimeError("CUDA error: an illegal memory access"),
        ValueError("a mistake of ours"),
    ],
)
def test_other_errors_are_not(error):
    assert infrastructure(error) is None

"""What went wrong around a trial rather than in it: a full disk, one that fails, a store of files
that is away.

Nothing of it counts against a configuration, and its segment is run again (`orchestrator.outages`).
"""

import errno
import platform
from collections.abc import Iterator

from autopeft.domain.errors import ArtifactError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_BROKEN = (errno.EIO, errno.EROFS, errno.ESTALE)
# What writers say that raise no OSError: safetensors (Rust), and torch.save (a C++ stream, which
# does not tell a full disk from another reason not to write; seen on a full tmpfs, torch 2.8).
_SAID_FULL = ("No space left on device", "(os error 28)", "Disk quota exceeded", "(os error 122)")
_SAID_UNWRITTEN = ("] . unexpected pos ", "iostream error", "PytorchStreamWriter failed writing")


def infrastructure(error: BaseException) -> str | None:
    """One message, if an error comes from a disk or from a place of files; None if it does not.

    What it was raised from counts too: libraries wrap what they cannot write.
    """
    for found in _chain(error):
        said = (str(found).strip().splitlines() or [""])[0]
        if isinstance(found, ArtifactError):
            return said
        number = found.errno if isinstance(found, OSError) else None
        where = f"{platform.node()} ({type(found).__name__}: {said})"
        if number in _FULL or any(text in str(found) for text in _SAID_FULL):
            return f"a disk is full on {where}: free it, or give the trials another one by TMPDIR"
        if number in _BROKEN:
            return f"a disk fails on {where}: mend it, or take the machine out"
        if any(text in str(found) for text in _SAID_UNWRITTEN):
            return f"a file could not be written on {where}, a disk is probably full: free it"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)

"""A function of the user's: found, and spoken of in its own words when it raises."""

import hashlib
import importlib
import inspect
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from autopeft.domain.errors import AutopeftError
from autopeft.domain.own_code import OwnCode

_OURS = (f"{Path(__file__).parents[1]}/", f"{Path(importlib.__file__).parent}/", "<frozen ")
_GIT_S = 10


class OwnCodeError(AutopeftError):
    """The function cannot be had; message: in one line, traceback: theirs, or empty."""

    def __init__(self, message: str, traceback: str = "") -> None:
        self.message, self.traceback = message, traceback
        super().__init__(f"{message}\n{traceback}".rstrip())


def find_function(
    own: OwnCode,
    *,
    folder: str,
    key: str = "evaluator",
    takes: Sequence[str] = ("configuration", "context"),
) -> Callable[..., Any]:
    """Import a function; its working_dir stays the first place that imports look at.

    folder: where a relative working_dir starts from. key: what messages call it. takes: its
    positional arguments.

    Raises:
        OwnCodeError: no such folder, module or function, one that takes other arguments, or an
            error of the user's code while it is imported.
    """
    root = root_of(own, folder)
    if not root.is_dir():
        raise OwnCodeError(f"evaluator.working_dir names no folder: {root}")
    if sys.path[:1] != [str(root)]:
        sys.path.insert(0, str(root))  # first, as Python does for a script
    _forget_namesake(own.module.partition(".")[0], root)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(own.module)
    except (Exception, SystemExit) as error:
        raise _unimportable(own, key, root, error) from error
    function = getattr(module, own.name, None)
    if not callable(function):
        there = [n for n, v in vars(module).items() if inspect.isfunction(v) and n[0] != "_"]
        raise OwnCodeError(
            f"{key} {own.function} names a function, {module.__file__} has no {own.name!r}: "
            f"it has {', '.join(there) or 'none'}"
        )
    try:
        inspect.signature(function).bind(*takes)
    except TypeError as error:
        raise OwnCodeError(
            f"{key} {own.function} has to take ({', '.join(takes)}), it takes "
            f"{inspect.signature(function)}: {error}"
        ) from error
    except ValueError:  # of a builtin nobody knows
        pass
    return function  # type: ignore[no-any-return]


def root_of(own: OwnCode, folder: str) -> Path:
    """Where the import of the user's code starts."""
    return (Path(folder) / own.working_dir).resolve()


def their_traceback(error: BaseException) -> str:
    """The traceback of an error of the user's code, from the first frame that is not autopeft's."""
    found = error.__traceback__
    while found is not None and found.tb_frame.f_code.co_filename.startswith(_OURS):
        found = found.tb_next
    return "".join(traceback.format_exception(type(error), error, found)).rstrip()


def told(error: BaseException, root: Path) -> str:
    """An error in one line, with the place in the user's code: `KeyError: 'r' (train.py:12)`."""
    lines = str(error).strip().splitlines()
    text = type(error).__name__ + (f": {lines[0]}" if lines else "")
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if Path(f.filename).is_relative_to(root)]
    theirs = [f for f in theirs if not f.filename.startswith(_OURS)]
    if not theirs:
        return text
    return f"{text} ({Path(theirs[-1].filename).relative_to(root)}:{theirs[-1].lineno})"


def code_state(function: Callable[..., Any], root: Path) -> dict[str, Any]:
    """Which code ran: its file, the file's SHA-256, and of a git repository commit and changes.

    git: None outside a repository. dirty: whether a tracked file differs from the commit, or the
    function's own file is not tracked.
    """
    file = _source_of(function)
    state: dict[str, Any] = {"file": file, "git": None}
    if file is not None and Path(file).is_file():
        state["sha256"] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    if commit is not None and changed is not None:
        tracked = file is not None and _git(root, "ls-files", "--error-unmatch", file) is not None
        state["git"] = {"commit": commit, "dirty": bool(changed) or not tracked}
    return state


def _source_of(function: Any) -> str | None:
    """The file of a function, of what a partial calls, or of an object's class; None: in C."""
    function = inspect.unwrap(function)
    while isinstance(function, partial):
        function = function.func
    named = inspect.isroutine(function) or inspect.isclass(function)
    try:
        return inspect.getsourcefile(function if named else type(function))
    except TypeError:
        return None


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None where it fails, is not installed or hangs."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=_GIT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _forget_namesake(package: str, root: Path) -> None:
    """Unload a module of the same name from elsewhere, where the working_dir has one."""
    loaded = sys.modules.get(package)
    if loaded is None or not ((root / f"{package}.py").is_file() or (root / package).is_dir()):
        return
    places = [getattr(loaded, "__file__", None), *getattr(loaded, "__path__", ())]
    if not any(place and Path(place).is_relative_to(root) for place in places):
        for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
            del sys.modules[name]


def _unimportable(own: OwnCode, key: str, root: Path, error: BaseException) -> OwnCodeError:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and f"{own.module}.".startswith(f"{missing}."):
        names = (p.stem if p.is_file() else p.name for p in root.iterdir() if p.name[0] not in "._")
        there = sorted(set(names))
        return OwnCodeError(
            f"{key} {own.function} is imported from {root}, which has no module {missing}: "
            f"it has {', '.join(there) or 'nothing'}"
        )
    head = f"{key} {own.function} cannot be imported from {root}: {told(error, root)}"
    return OwnCodeError(head, their_traceback(error))

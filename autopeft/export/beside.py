"""Packages of ours that an exported train.py imports from beside it."""

from collections.abc import Iterable
from pathlib import Path


def package_files(package: str, modules: Iterable[str] | None = None) -> dict[str, str]:
    """The source of `autopeft.PACKAGE` as a package of that name, by file name.

    modules: names; all of them when left out. They may import nothing else of ours.
    """
    folder = Path(__file__).parents[1] / package
    names = (path.stem for path in folder.glob("*.py")) if modules is None else modules
    return {
        f"{package}/{name}.py": (folder / f"{name}.py")
        .read_text(encoding="utf-8")
        .replace(f"from autopeft.{package}", f"from {package}")
        .replace("  # type: ignore[misc]", "")
        for name in sorted(names)
    }

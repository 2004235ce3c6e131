"""Packages of ours that an exported train.py imports from beside it."""

from collections.abc import Iterable, Mapping
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


def renamed_files(package: str, modules: Mapping[str, str]) -> dict[str, str]:
    """Modules of several packages of ours as one package, by file name.

    modules: `folder.module` of autopeft -> its name in the package; they import nothing else of
    ours.
    """
    files = {f"{package}/__init__.py": ""}
    for module, name in modules.items():
        path = Path(__file__).parents[1] / f"{module.replace('.', '/')}.py"
        text = path.read_text(encoding="utf-8")
        for other, new in modules.items():
            text = text.replace(f"from autopeft.{other} import", f"from {package}.{new} import")
        files[f"{package}/{name}.py"] = text
    return files


def renamed_file(name: str, module: str) -> dict[str, str]:
    """`folder.module` of autopeft, which imports nothing else of ours, as a file of this name."""
    path = Path(__file__).parents[1] / f"{module.replace('.', '/')}.py"
    return {name: path.read_text(encoding="utf-8").replace("  # type: ignore[misc]", "")}

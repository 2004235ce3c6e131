"""A data set that lies on every machine: which docstring belongs to which function.

Rows pair a signature with the first paragraph of a docstring; label 1 where they belong together,
0 where the docstring is that of another function of the same module (a hard negative). Sources are
the installed packages, parsed and never imported.

- A docstring loses its own function's name, whichever signature it stands beside, so that the
  mask says nothing about the label.
- An object is in one split alone, with its signature and its text; equal texts count once.
- Labels are balanced in every split.
"""

import ast
import hashlib
import importlib.util
import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from datasets import Dataset

from autopeft.domain.architecture import fingerprint
from autopeft.domain.errors import AutopeftError

SOURCE = "autopeft/docstrings"
PACKAGES = (
    "botorch",
    "datasets",
    "mlflow",
    "numpy",
    "optuna",
    "pandas",
    "peft",
    "ray",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "torch",
)
"""What autopeft itself installs, by import name."""

SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}
_VERSION = 1  # raise when the rows change, so that caches are built anew
_MOST_PER_PACKAGE = 1500  # objects; keeps the build under 30 s
_LENGTH = (30, 300)  # characters of a docstring's first paragraph
_LEAST_ROWS = 40
_SKIPPED = re.compile(r"(^|/)(tests?|testing|_vendor|vendor|vendored|third_party|_?examples?)(/|$)")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Function:
    """A function with a docstring; module is its dotted name."""

    module: str
    signature: str
    docstring: str


def load_split(split: str, options: Mapping[str, Any]) -> Dataset:
    """A split of the pairs, from the cache where it was built before.

    options: `packages` (import names), `seed`.

    Raises:
        AutopeftError: an unknown option or split, a value that is none, or a package that is not
            installed.
    """
    unknown = set(options) - {"packages", "seed"}
    if unknown:
        raise AutopeftError(
            f"{SOURCE} takes packages and seed, got {', '.join(sorted(unknown))}: remove it"
        )
    if split not in SHARES:
        raise AutopeftError(f"{SOURCE} has splits {', '.join(SHARES)}, got {split!r}")
    packages, seed = _packages(options.get("packages", PACKAGES)), options.get("seed", 0)
    if type(seed) is not int:
        raise AutopeftError(f"{SOURCE} takes an integer as seed, got {seed!r}: correct it")
    folder = _cache() / f"docstrings-{_key(packages, seed)}"
    if not folder.is_dir():
        _write_whole(build_docstrings(packages, seed=seed), folder)
    with (folder / f"{split}.jsonl").open(encoding="utf-8", newline="\n") as lines:
        return Dataset.from_list([json.loads(line) for line in lines])


def build_docstrings(packages: Sequence[str], *, seed: int = 0) -> dict[str, list[Row]]:
    """The splits of the pairs built from these packages, by import name.

    Raises:
        AutopeftError: a package is not installed, or all hold too few functions with docstrings.
    """
    functions = _distinct(f for package in packages for f in _functions(package))
    parts: dict[str, list[Function]] = {name: [] for name in SHARES}
    for function in functions:
        parts[_part(function, seed)].append(function)
    splits = {name: _pairs(part, seed) for name, part in parts.items()}
    short = {name: len(rows) for name, rows in splits.items() if len(rows) < _LEAST_ROWS}
    if short:
        raise AutopeftError(
            f"{', '.join(packages)} give too few functions with docstrings for a data set: "
            f"{short}, needed {_LEAST_ROWS} a split: name more packages"
        )
    return splits


def write(splits: Mapping[str, Sequence[Row]], to: Path) -> tuple[Path, ...]:
    """Write a JSONL file a split; returns their paths."""
    to.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, rows in splits.items():
        path = to / f"{name}.jsonl"
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8", newline="\n")
        paths.append(path)
    return tuple(paths)


def _packages(given: Any) -> tuple[str, ...]:
    there = isinstance(given, list | tuple) and bool(given)
    if not there or not all(isinstance(name, str) for name in given):
        raise AutopeftError(
            f"{SOURCE} takes import names of packages, got {given!r}: a list, [numpy, scipy]"
        )
    return tuple(given)


def _cache() -> Path:
    return Path(os.environ.get("AUTOPEFT_CACHE", "~/.cache/autopeft")).expanduser()


@cache
def _key(packages: tuple[str, ...], seed: int) -> str:
    distributions = packages_distributions()
    versions = [
        [package, *(version(name) for name in sorted(set(distributions.get(package, []))))]
        for package in packages
    ]
    return fingerprint([_VERSION, versions, seed])


def _write_whole(splits: Mapping[str, Sequence[Row]], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent))
    write(splits, draft)
    try:
        draft.rename(folder)
    except OSError:  # another worker was first, with the same rows
        for path in draft.iterdir():
            path.unlink()
        draft.rmdir()


def _hash(*parts: object) -> int:
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16)


def _functions(package: str) -> Iterator[Function]:
    found = None
    with suppress(ImportError, ValueError):  # of no name, and inside a package that is not there
        found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise AutopeftError(
            f"package {package!r} is not installed here: name it as you would import it"
        )
    root = Path(next(iter(found.submodule_search_locations)))
    files = [
        path for path in root.rglob("*.py") if not _SKIPPED.search(str(path.relative_to(root)))
    ]
    # In an order of its own, so that the limit does not favour the start of the alphabet.
    files.sort(key=lambda path: (zlib.crc32(str(path.relative_to(root)).encode()), path))
    count = 0
    for path in files:
        module = ".".join((package, *path.relative_to(root).with_suffix("").parts))
        for function in _in_file(path, module):
            yield function
            count += 1
        if count >= _MOST_PER_PACKAGE:
            return


def _in_file(path: Path, module: str) -> Iterator[Function]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, UnicodeDecodeError, RecursionError):
        return
    for node in tree.body:
        owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for child in node.body if isinstance(node, ast.ClassDef) else [node]:
            if not isinstance(child, ast.FunctionDef) or child.name.startswith("_"):
                continue
            if (text := _first_paragraph(child)) is not None:
                yield Function(module, _signature(child, owner), text)


def _signature(node: ast.FunctionDef, owner: str) -> str:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    names = ", ".join(argument.arg for argument in every if argument.arg not in ("self", "cls"))
    return f"{owner}{node.name}({names})"


def _first_paragraph(node: ast.FunctionDef) -> str | None:
    text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
    # The name gives the pair away, in whatever spelling.
    words = r"[\s_]*".join(re.escape(part) for part in node.name.split("_") if part)
    text = re.sub(rf"\b{words}\b", "it", text, flags=re.IGNORECASE) if words else text
    return text if _LENGTH[0] <= len(text) <= _LENGTH[1] and len(text.split()) >= 5 else None


def _distinct(functions: Iterator[Function]) -> list[Function]:
    signatures, texts, kept = set(), set(), []
    for function in functions:
        text = function.docstring.lower()
        if function.signature not in signatures and text not in texts:
            signatures.add(function.signature)
            texts.add(text)
            kept.append(function)
    return kept


def _part(function: Function, seed: int) -> str:
    at = _hash(seed, "part", function.signature) % 10_000 / 10_000
    for name, share in SHARES.items():
        if at < share:
            return name
        at -= share
    return "train"


def _pairs(functions: Sequence[Function], seed: int) -> list[Row]:
    siblings: dict[str, list[Function]] = {}
    for function in functions:
        siblings.setdefault(function.module, []).append(function)
    rows: dict[int, list[Row]] = {0: [], 1: []}
    for function in functions:
        others = [other for other in siblings[function.module] if other is not function]
        wrong = others and _hash(seed, "label", function.signature) % 2
        chosen = others[_hash(seed, "other", function.signature) % len(others)] if wrong else None
        text = (chosen or function).docstring
        label = 0 if chosen else 1
        rows[label].append({"signature": function.signature, "docstring": text, "label": label})
    even = min(len(rows[0]), len(rows[1]))
    kept = [
        row
        for label in (0, 1)
        for row in sorted(rows[label], key=lambda r: _hash(seed, "kept", r["signature"]))[:even]
    ]
    return sorted(kept, key=lambda row: _hash(seed, "order", row["signature"]))

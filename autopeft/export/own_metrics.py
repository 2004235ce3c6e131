"""The user's functions of a study's `metrics:` beside train.py, and what calls them there.

study_metrics.py    predictions of the trained model, handed to the functions
own_code/           the functions' modules, and what these import from the space file's folder
generating/         how texts are generated, where the functions compare texts
"""

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from string import Template

from autopeft.domain.errors import ExportError
from autopeft.domain.study import StudySpec
from autopeft.export.beside import renamed_files
from autopeft.export.prepared import Prepared
from autopeft.export.source import constant

_TEMPLATE = Path(__file__).with_name("templates") / "study_metrics.py.tmpl"
_FOLDER = "own_code"
_TAKEN = ("allocation", "early_stopping", "generating", "study_metrics", "tuners")
"""What lies beside train.py under these names is ours."""

_GENERATING = {
    "domain.errors": "errors",
    "domain.generation": "config",
    "training.scoring.batches": "batches",
    "training.scoring.generating": "texts",
    "training.ranks": "ranks",
}
_LOGITS = '''def predicted(trainer, rows, reader):
    """Logits and labels of the validation rows, as the Trainer gathers them."""
    trainer.preprocess_logits_for_metrics = first
    loader = trainer.get_eval_dataloader()
    found = trainer.evaluation_loop(loader, description="metrics", prediction_loss_only=False)
    return found.predictions, found.label_ids


def first(logits, labels):
    """The logits alone, where a model returns hidden states beside them."""
    return logits[0] if isinstance(logits, tuple) else logits'''
_TEXTS = '''def predicted(trainer, rows, reader):
    """Generated texts and the rows' own."""
    config = Generation(**GENERATE)
    chosen = spread(rows("validation"), config.rows)
    size = trainer.args.per_device_eval_batch_size
    with trainer.accelerator.autocast():
        texts = generate_texts(
            trainer.model, reader, chosen, config, batch_size=size, longest=MAX_LENGTH
        )
    return texts, [reference(row) for row in chosen]'''
_TEXT_IMPORTS = """
from generating.config import Generation
from generating.texts import generate_texts, reference, spread
"""


def own_values(spec: StudySpec, reader: str) -> dict[str, str]:
    """What the templates of train.py say of the study's own metrics."""
    if not spec.own_metrics:
        return {"import_own": "", "own_metrics": ""}
    return {
        "import_own": "from study_metrics import own_metrics",
        "own_metrics": f"\n    metrics |= own_metrics(trainer, rows, {reader})",
    }


def own_files(spec: StudySpec, prepared: Prepared) -> dict[str, str]:
    """The files, by name; {} where the study has no metrics of its own.

    Raises:
        ExportError: a module is gone, or has the name of one of ours.
    """
    if not spec.own_metrics:
        return {}
    texts = spec.task.writes
    table = {name: [own.function, own.key] for name, own in spec.own_metrics.items()}
    text = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        imports=_TEXT_IMPORTS if texts else "",
        functions=constant("FUNCTIONS", table),
        constants=f"{_constants(spec, prepared)}\n" if texts else "",
        copied="list(predictions), list(labels)" if texts else "predictions.copy(), labels.copy()",
        predicted=_TEXTS if texts else _LOGITS,
    )
    code = {f"{_FOLDER}/{name}": source for name, source in _code(spec).items()}
    generating = renamed_files("generating", _GENERATING) if texts else {}
    return {"study_metrics.py": text} | code | generating


def own_requirements(spec: StudySpec) -> list[str]:
    """Packages that the user's code imports, as they are installed now: `name==version`."""
    if not spec.own_metrics:
        return []
    there = packages_distributions()
    root, found = Path(spec.folder), set()
    for own in spec.own_metrics.values():
        files = _local(root, own.code.module)
        imported = {name for source in files.values() for name in _imports(source, "")}
        found |= {own.code.module, *imported} if not files else imported
    lines = []
    for name in sorted({name.partition(".")[0] for name in found} - set(sys.stdlib_module_names)):
        for package in there.get(name, [])[:1]:
            try:
                lines.append(f"{package}=={version(package).split('+')[0]}")
            except PackageNotFoundError:  # of a folder on the path, not of a package
                continue
    return lines


def _constants(spec: StudySpec, prepared: Prepared) -> str:
    generation = spec.generation
    given = {
        "rows": generation.rows,
        "max_new_tokens": generation.max_new_tokens,
        "batch_size": generation.batch_size,
        "options": dict(generation.options),
    }
    return f"{constant('GENERATE', given)}\nMAX_LENGTH = {prepared.max_length}"


def _code(spec: StudySpec) -> dict[str, str]:
    """The functions' modules below the space file's folder, by path; those installed are not."""
    files: dict[str, str] = {}
    for name, own in spec.own_metrics.items():
        module = own.code.module
        found = _local(Path(spec.folder), module)
        if not found and module.partition(".")[0] not in packages_distributions():
            raise ExportError(
                f"metric {name} is computed by {own.function}, {spec.folder} has no module "
                f"{module} any more: put it back"
            )
        files |= found
    if taken := sorted({Path(name).parts[0].removesuffix(".py") for name in files} & set(_TAKEN)):
        raise ExportError(
            f"your module {taken[0]} has the name of one that lies beside train.py: rename it"
        )
    return files


def _local(root: Path, module: str) -> dict[str, str]:
    """Path below root -> source of a module there and of all that it imports from there."""
    files: dict[str, str] = {}
    todo, seen = [module], {module}
    while todo:
        name = todo.pop()
        parts = name.split(".")
        names = {".".join(parts[: i + 1]) for i in range(len(parts))}  # packages are run too
        for path, package in _files(root, name):
            relative = path.relative_to(root).as_posix()
            if relative not in files:
                files[relative] = path.read_text(encoding="utf-8")
                names |= set(_imports(files[relative], package))
        todo += sorted(names - seen)
        seen |= names
    return files


def _files(root: Path, name: str) -> Iterator[tuple[Path, str]]:
    """The file of a module, with the package that its relative imports start from."""
    base = root.joinpath(*name.split("."))
    if (base / "__init__.py").is_file():
        yield base / "__init__.py", name
    elif base.with_suffix(".py").is_file():
        yield base.with_suffix(".py"), name.rpartition(".")[0]


def _imports(source: str, package: str) -> Iterator[str]:
    """Every module that a source may import, by full name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".") if package else []
            start = above[: len(above) - (node.level - 1)] if node.level else []
            stem = ".".join([*start, *([node.module] if node.module else [])])
            if stem:
                yield stem
            yield from (f"{stem}.{alias.name}" if stem else alias.name for alias in node.names)

"""`export`: a trial, taken away for the tool that goes on with it."""

from pathlib import Path
from typing import Annotated

import typer

from autopeft.commands.completing import trial_numbers
from autopeft.commands.options import StudyName
from autopeft.namespaces import file_name

SUITE, OPTUNA, CONVERTED, MLFLOW = "peft-suite", "optuna", "converted-lora", "mlflow"
WRITTEN = ("peft", "script", "trl", "axolotl", "llama-factory", CONVERTED)
KINDS = (*WRITTEN, OPTUNA, SUITE, MLFLOW)
_ADAPTERS = ("peft", CONVERTED)


def export(
    study: StudyName,
    to: Annotated[
        str,
        typer.Option(
            help=f"For what: {', '.join(KINDS)}; or the folder to write all of a trial to.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write it; STUDY-TRIAL-FOR_WHAT when left out."),
    ] = None,
    trial: Annotated[
        int | None,
        typer.Option(help="The trial; the pick when left out.", autocompletion=trial_numbers),
    ] = None,
    when: Annotated[str, typer.Option(help="Limits for the pick, as in `best`.")] = "",
    prefer: Annotated[str | None, typer.Option(help="As in `best`.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder in use.")] = False,
    servable: Annotated[
        str | None, typer.Option(help="vllm: write the adapter as vLLM serves it, or say why not.")
    ] = None,
    rank: Annotated[
        float | None,
        typer.Option(help="Of converted-lora: a rank, or below 1 the share of energy to keep."),
    ] = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(help="Upload the adapter as this model (NAME, OWNER/NAME), by your token."),
    ] = None,
    register: Annotated[
        str | None, typer.Option(help="Of mlflow: register it as the next version of this model.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Of --push-to-hub: a public repository, if new.")
    ] = False,
) -> None:
    """Write a trial for the tool that goes on with it, or everything of it into a folder."""
    from autopeft import build
    from autopeft.study import load_study

    _check_to(to, out)
    _check(to, servable, rank, push_to_hub, public=public)
    _check_mlflow(to, out, register)
    found = load_study(study)
    if to == OPTUNA:
        _refuse_a_choice(trial, when, prefer)
        print(found.export_optuna(out or Path(f"{file_name(study)}-optuna.db")))
        return
    folder = out or Path(to)
    chosen = found.trial(trial) if trial is not None else found.best(when, prefer=prefer)
    if to == MLFLOW:
        print(chosen.log_model(register=register))
        return
    if to == SUITE:
        written = chosen.export_suite(out or Path(SUITE))
    elif to in WRITTEN:
        folder = out or Path(f"{file_name(study)}-{chosen.trial.number}-{to}")
        kept = None if rank is None else _rank(rank)
        written = chosen.export_as(to, folder, force=force, servable=servable, rank=kept)
    else:
        written = chosen.export(Path(to), force=force)
    for path in written:
        print(path)
    if to == CONVERTED:
        _tell_loss(folder, [objective.metric for objective in found.spec.objectives])
    if push_to_hub is not None:
        print(build.push(folder, push_to_hub, public=public))


def _check_to(to: str, out: Path | None) -> None:
    """A kind that is misspelt is no folder; a folder needs no other."""
    from difflib import get_close_matches

    from autopeft.domain.errors import ExportError

    if to in KINDS:
        return
    if out is not None:
        raise ExportError(f"--out goes with --to {', '.join(KINDS)}, got --to {to}: leave one out")
    # Near enough to be a slip: `adapter` or `out` is the name of a folder.
    if (meant := get_close_matches(to, KINDS, n=1, cutoff=0.8)) and not Path(to).exists():
        raise ExportError(
            f"--to {to} is no kind: did you mean {meant[0]}? A folder of that name is ./{to}"
        )


def _check(
    to: str, servable: str | None, rank: float | None, push_to_hub: str | None, *, public: bool
) -> None:
    """Options that belong together, before anything is loaded."""
    from autopeft.domain.errors import ExportError

    if servable not in (None, "vllm"):
        raise ExportError(f"--servable takes vllm, got {servable!r}")
    wrong = {
        "--servable": servable is not None and to not in _ADAPTERS,
        "--push-to-hub": push_to_hub is not None and to not in _ADAPTERS,
        "--rank": rank is not None and to != CONVERTED,
    }
    for option, misplaced in wrong.items():
        if misplaced:
            needs = CONVERTED if option == "--rank" else " or ".join(_ADAPTERS)
            raise ExportError(f"{option} goes with --to {needs}, got --to {to}: leave it out")
    if rank is not None:
        _rank(rank)
    if public and push_to_hub is None:
        raise ExportError("--public goes with --push-to-hub: name the repository")


def _check_mlflow(to: str, out: Path | None, register: str | None) -> None:
    from autopeft.domain.errors import ExportError

    if to == MLFLOW and out is not None:
        raise ExportError(f"--to mlflow logs a model and writes no folder, got --out {out}")
    if register is not None and to != MLFLOW:
        raise ExportError(f"--register goes with --to mlflow, got --to {to}: leave it out")


def _rank(given: float) -> float:
    """1 and more are ranks, below are shares."""
    from autopeft.domain.errors import ExportError

    if given <= 0 or (given >= 1 and given != int(given)):
        raise ExportError(
            f"--rank takes a whole number, or a share of energy between 0 and 1, got {given:g}"
        )
    return int(given) if given >= 1 else given


def _tell_loss(folder: Path, metrics: list[str]) -> None:
    """What the conversion costs, of the objectives that it can change."""
    import json

    from autopeft.terminal import talk

    told = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["converted"]
    before, after = told["metrics_before"], told["metrics_after"]
    for name in (metric for metric in metrics if metric in after):
        talk.print(f"{name}: {before[name]:.6g}, converted {after[name]:.6g}", highlight=False)


def _refuse_a_choice(trial: int | None, when: str, prefer: str | None) -> None:
    from autopeft.domain.errors import ExportError

    if trial is not None or when or prefer is not None:
        raise ExportError(
            "--to optuna writes all trials of a study: leave --trial, --when and --prefer out"
        )

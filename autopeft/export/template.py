"""A chat template of the study's own, which travels with what is exported."""

from pathlib import Path

from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial

NAME = "chat_template.jinja"


def template_files(spec: StudySpec, trial: Trial) -> dict[str, str]:
    """The text of the file that the trial's `chat_template_path` names; {} where it names none."""
    path = _path(spec, trial)
    return {NAME: path.read_text(encoding="utf-8")} if path is not None and path.is_file() else {}


def template_argument(spec: StudySpec, trial: Trial) -> dict[str, str]:
    """`chat_template_path` in the export: the file beside it, or a folder's full path; {} where it
    stays what it is."""
    path = _path(spec, trial)
    if path is None or not path.exists():
        return {}
    return {"chat_template_path": NAME if path.is_file() else str(path.resolve())}


def _path(spec: StudySpec, trial: Trial) -> Path | None:
    name = trial.configuration.recipe.get("chat_template_path")
    return Path(spec.folder) / str(name) if name else None

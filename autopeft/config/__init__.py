"""Space files: YAML to a checked StudySpec, every mistake at once, with its path and line."""

from autopeft.config.binding import bind
from autopeft.config.change import difference, widens
from autopeft.config.reading import relocated
from autopeft.config.spec import is_study_name, load, parse

__all__ = ["bind", "difference", "is_study_name", "load", "parse", "relocated", "widens"]

"""Every error that autopeft raises on purpose.

    AutopeftError              the CLI prints its message without a traceback and exits 2
    ├── SpecError              a space file breaks rules: all mistakes at once
    ├── StudyError             a study is missing, exists already, or was edited
    ├── OutcomeError           a result that cannot be compared (NaN, a missing metric)
    └── ExportError            a configuration that the target cannot express

A trial that fails is not an error: see `autopeft.domain.trial.Failure`.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class AutopeftError(Exception):
    """Base of all expected errors; its text says the rule, what was got and what to do."""


@dataclass(frozen=True)
class Mistake:
    """One mistake of a space file.

    path: dotted path of the field (`space.lora.modules[0].r`).
    message: the rule and what was got.
    suggestion: what to do; may be empty.
    line: 1-based line in the file; None when the spec did not come from a file.
    """

    path: str
    message: str
    suggestion: str = ""
    line: int | None = None

    def __str__(self) -> str:
        at = f"line {self.line}: " if self.line is not None else ""
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{at}{self.path}: {self.message}{hint}"


class SpecError(AutopeftError):
    """A space file that breaks rules; `mistakes` holds every one of them."""

    def __init__(self, mistakes: Sequence[Mistake], source: str = "space file") -> None:
        self.mistakes = tuple(mistakes)
        self.source = source
        count = len(self.mistakes)
        head = f"{source}: {count} mistake{'' if count == 1 else 's'}"
        super().__init__("\n".join([head, *(f"  {mistake}" for mistake in self.mistakes)]))


class StudyError(AutopeftError):
    """A study that is missing, exists already, or differs from the file."""


class OutcomeError(AutopeftError):
    """A result that cannot be compared."""


class ExportError(AutopeftError):
    """A configuration that the export target cannot express."""

"""Every error that autopeft raises on purpose.

    AutopeftError              the CLI prints its message without a traceback and exits 2
    ├── SpecError              a space file breaks rules: all mistakes at once
    ├── StudyError             a study is missing, exists already, or was edited
    ├── OutcomeError           a result that cannot be compared (NaN, a missing metric)
    ├── ExportError            a configuration that the target cannot express
    └── ArtifactError          checkpoints and adapters that cannot be kept or fetched

A trial that fails is not an error: see `autopeft.domain.trial.Failure`.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

_COLUMNS = 80


class AutopeftError(Exception):
    """Base of all expected errors; its text says the rule, what was got and what to do."""


@dataclass(frozen=True)
class Span:
    """What is wrong in a file: so many characters of one line.

    line, column: 1-based; width: from 1; text: the whole line.
    """

    line: int
    column: int
    width: int
    text: str

    def excerpt(self, label: str = "") -> list[str]:
        """The line with its number, what is wrong underlined, and a label beside it.

        In 80 columns: of a long line what stands around the place.
        """
        number = f"{self.line:>5} | "
        room = _COLUMNS - len(number)
        text, start = self.text.replace("\t", " ").rstrip(), self.column - 1
        width = min(self.width, max(1, len(text) - start))
        if len(text) > room:
            first = max(0, min(start - room // 3, len(text) - room))
            cut = text[first : first + room]
            cut = ("..." + cut[3:] if first else cut)[:room]
            text = cut[:-3] + "..." if len(self.text.rstrip()) > first + room else cut
            start -= first
            width = min(width, max(1, room - start))
        bar = " " * (len(number) - 2) + "| "
        carets = bar + " " * start + "^" * width
        if not label:
            return [number + text, carets]
        if len(carets) + 1 + len(label) <= _COLUMNS:
            return [number + text, f"{carets} {label}"]
        below = textwrap.wrap(label, room, initial_indent="= ", subsequent_indent="  ")
        return [number + text, carets, *(bar + line for line in below)]


@dataclass(frozen=True)
class Mistake:
    """One mistake of a space file.

    path: dotted path of the field (`space.lora.modules[0].r`); "" where the message has it.
    message: the rule and what was got.
    suggestion: what to do; may be empty.
    line: 1-based line in the file; None when the spec did not come from a file.
    span: where on it.
    given: where it comes from, if that is not the file (`--set`).
    """

    path: str
    message: str
    suggestion: str = ""
    line: int | None = None
    span: Span | None = None
    given: str = ""

    def __str__(self) -> str:
        at = f"line {self.line}: " if self.line is not None else ""
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{at}{self._said}{hint}"

    def shown(self, source: str) -> list[str]:
        """As compilers show it: place, rule, the line with what is wrong underlined."""
        if self.span is None:
            return [f"  {self}"]
        head = f"{source}:{self.span.line}:{self.span.column}: {self._said}"
        return [head, *self.span.excerpt(self.suggestion)]

    @property
    def _said(self) -> str:
        given = f"{self.given} " if self.given and self.given != self.path else ""
        return given + (f"{self.path}: {self.message}" if self.path else self.message)


class SpecError(AutopeftError):
    """A space file that breaks rules; `mistakes` holds every one of them."""

    def __init__(self, mistakes: Sequence[Mistake], source: str = "space file") -> None:
        self.mistakes = tuple(mistakes)
        self.source = source
        count = len(self.mistakes)
        head = f"{source}: {count} mistake{'' if count == 1 else 's'}"
        shown = ["\n".join(mistake.shown(source)) for mistake in self.mistakes]
        between = "\n\n" if any(mistake.span for mistake in self.mistakes) else "\n"
        super().__init__(head + "\n" + between.join(shown))


class StudyError(AutopeftError):
    """A study that is missing, exists already, or differs from the file."""


class OutcomeError(AutopeftError):
    """A result that cannot be compared."""


class ExportError(AutopeftError):
    """A configuration that the export target cannot express."""


class ArtifactError(AutopeftError):
    """The place of checkpoints and adapters is wrong, away, or holds something damaged."""

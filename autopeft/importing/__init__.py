"""What others measured, as studies that can be looked at and that warm-start a search.

`source` reads `suite`s and `table`s, `fields` turns names and values into the fields of PEFT and a
recipe, `study` turns what was found into trials and the record of a study.
"""

from autopeft.importing.found import Found, Wanted
from autopeft.importing.source import Source, read_source
from autopeft.importing.study import (
    document_of,
    imported_spec,
    is_imported,
    looked_up,
    refuse_imported,
    trials_of,
)

__all__ = [
    "Found",
    "Source",
    "Wanted",
    "document_of",
    "imported_spec",
    "is_imported",
    "looked_up",
    "read_source",
    "refuse_imported",
    "trials_of",
]

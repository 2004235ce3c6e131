"""What the store keeps of a study, as a specification: of a space file, or of an import."""

from autopeft import config
from autopeft.domain.ports import StudyRecord
from autopeft.domain.study import StudySpec
from autopeft.importing import imported_spec, is_imported


def spec_of(record: StudyRecord) -> StudySpec:
    """The specification of a record.

    Raises:
        SpecError: this version cannot read the space file.
    """
    if is_imported(record.document):
        return imported_spec(record.document, folder=record.folder)
    return config.parse(record.document, folder=record.folder)

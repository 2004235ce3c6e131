"""What the store keeps of a study, as a specification: of a space file, or of an import."""

from autopeft import config
from autopeft.domain.errors import StudyError
from autopeft.domain.ports import StudyRecord
from autopeft.domain.study import StudySpec
from autopeft.importing import imported_spec, is_imported


def spec_of(record: StudyRecord) -> StudySpec:
    """The specification of a record.

    Raises:
        SpecError: this version cannot read the space file.
        StudyError: the name leads out of the studies' folder.
    """
    if is_imported(record.document):
        if not config.is_study_name(record.document["study"]):  # it is the name of a folder
            raise StudyError(f"no study can have the name {record.document['study']!r}")
        return imported_spec(record.document, folder=record.folder)
    return config.parse(record.document, folder=record.folder)

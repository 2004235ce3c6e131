"""What is worth knowing of a study's data before anything is trained."""

from autopeft.domain.study import StudySpec
from autopeft.training.loading.data import load_data
from autopeft.training.loading.model import load_processor
from autopeft.training.loading.trust import trusted
from autopeft.training.tasks import task_of


def model_remarks(spec: StudySpec) -> list[str]:
    """That code of the model's own runs, where the file lets it."""
    if not trusted(spec.model):
        return []
    name = spec.model["model_name_or_path"]
    return [f"model.trust_remote_code: code that comes with {name} runs here and in every trial"]


def data_remarks(spec: StudySpec) -> list[str]:
    """A line a fact: how the labels are spread, how many rows are cut or empty.

    An evaluator keeps its data to itself.
    """
    if spec.evaluator is not None:
        return []
    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    task = task_of(spec.task)
    processor = load_processor(spec.model, folder=spec.folder)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return [
        f"data.{name}: {remark}"
        for name, split in splits.items()
        if split is not None
        for remark in task.remarks(split, processor, spec.data, data.labels)
    ]

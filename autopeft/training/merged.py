"""A trained adapter merged into its base."""

from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers.utils import logging

from autopeft.domain.study import StudySpec
from autopeft.training.loading.data import load_data
from autopeft.training.loading.model import load_base


def merged(spec: StudySpec, adapter: Path, *, head: tuple[str, ...], seed: int) -> dict[str, Any]:
    """`model`, without PEFT, and its `tokenizer`.

    adapter: a folder that PEFT loads. head: modules outside the backbone, drawn by the seed where
        the adapter does not hold them.
    """
    logging.set_verbosity_error()  # a head that the base lacks is the adapter's
    logging.disable_progress_bar()
    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    base = load_base(spec.model, folder=spec.folder, labels=data.labels, head=head)
    model = PeftModel.from_pretrained(base.copy(seed), str(adapter)).merge_and_unload()
    return {"model": model.eval(), "tokenizer": base.processor}

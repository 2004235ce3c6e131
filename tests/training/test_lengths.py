"""Token lengths of the training rows, for the estimates of cost."""

import json
from dataclasses import replace

import pytest
from fakes import study_spec
from task_data import write_task
from tiny_models import chats, make_model

from autopeft.training.loading.lengths import corpus_of


def spec_of(folder, task_type, rows, *, training=None, **data):
    model = make_model("llama" if task_type == "CAUSAL_LM" else "bert", folder / "m", task_type)
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = {"path": "json", "data_files": "train.jsonl"}
    return replace(
        study_spec(),
        model={"model_name_or_path": str(model), "task_type": task_type},
        data={"train": files, "validation": files, **data},
        training=training or {},
        folder=str(folder),
    )


def test_rows_of_a_classification_are_counted_as_they_are_truncated(tmp_path):
    rows = [{"text": "what comes after " * (1 + 30 * (i % 2)), "label": i % 2} for i in range(8)]
    found = corpus_of(spec_of(tmp_path, "SEQ_CLS", rows, max_length=20))
    assert found.rows == 8
    assert len(found.lengths) == 8
    assert set(found.lengths[1::2]) == {20}
    assert max(found.lengths[::2]) < 20


@pytest.mark.parametrize("training", [{}, {"max_length": 5}])
def test_rows_that_the_trainer_tokenizes_are_counted_too(tmp_path, training):
    found = corpus_of(spec_of(tmp_path, "CAUSAL_LM", chats(6), training=training))
    assert found.rows == len(found.lengths) == 6
    assert (max(found.lengths) == 5) == bool(training)


def test_of_many_rows_a_sample_is_counted(tmp_path):
    rows = [{"text": "after", "label": i % 2} for i in range(2000)]
    found = corpus_of(spec_of(tmp_path, "SEQ_CLS", rows))
    assert found.rows == 2000
    assert 512 <= len(found.lengths) < 1024


def test_an_image_counts_its_patches_and_one_more(tmp_path):
    """16 pixels in patches of 8."""
    found = write_task(tmp_path, "IMAGE_CLS")
    counted = corpus_of(replace(study_spec(), training={}, folder=str(tmp_path), **found))
    assert (counted.rows, counted.lengths) == (36, (5,))

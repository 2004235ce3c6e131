"""Multiple choice by likelihood."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import PromptTuningConfig, get_peft_model
from tiny_models import make_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from autopeft.domain.errors import AutopeftError
from autopeft.training.scoring.choosing import choice_metrics, completion, likelihoods
from autopeft.training.tasks.language import Language, trained_columns

CHOICES = ["4", "after 3 comes 4", " 7 comes"]
ROWS = [
    {"prompt": "what comes after 3", "choices": CHOICES, "answer": 0},
    {"prompt": "what comes after 5 and then after that ", "choices": ["6", "7"], "answer": 1},
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = make_model("llama", tmp_path_factory.mktemp("choosing") / "llama", "CAUSAL_LM")
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(
        folder
    )


def by_hand(model, tokenizer, prompt, whole):
    context, ids = (tokenizer(text)["input_ids"] for text in (prompt, whole))
    total = 0.0
    for i in range(len(context), len(ids)):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids[:i]])).logits[0, -1]
        total += torch.log_softmax(logits.float(), -1)[ids[i]].item()
    return total


def test_a_likelihood_is_the_sum_over_the_choices_tokens(loaded):
    found = likelihoods(*loaded, ROWS, batch_size=2)
    for row, scores in zip(ROWS, found, strict=True):
        wholes = [row["prompt"] + completion(row["prompt"], c) for c in row["choices"]]
        expected = [by_hand(*loaded, row["prompt"], whole) for whole in wholes]
        np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_virtual_tokens_before_the_text_shift_nothing(loaded):
    model, tokenizer = loaded
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    torch.manual_seed(0)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(model.name_or_path), config).eval()
    (scores, _) = likelihoods(model, tokenizer, ROWS, batch_size=5)
    ids = tokenizer("what comes after 3 4")["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0]
    assert logits.shape[0] == len(ids) + 3
    assert scores[0] == pytest.approx(torch.log_softmax(logits[-2], -1)[ids[-1]].item(), rel=1e-4)


def test_messages_are_scored_behind_the_generation_prompt(loaded):
    (scores,) = likelihoods(
        *loaded,
        [{"prompt": [{"role": "user", "content": "after 3"}], "choices": ["4", "5"], "answer": 0}],
        batch_size=2,
    )
    before = "<|user|> after 3 </s><|assistant|>"
    expected = [by_hand(*loaded, before, f"{before} {choice}") for choice in "45"]
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_accuracies_compare_sums_and_sums_by_the_byte(monkeypatch):
    scores = [np.array([-4.0, -5.0]), np.array([-2.0, -9.0]), np.array([-3.0, -1.0])]
    monkeypatch.setattr("autopeft.training.scoring.choosing.likelihoods", lambda *a, **k: scores)
    rows = [{"choices": ["no", "é, yes"], "answer": 1}] * 3  # 2 and 7 bytes
    metrics, errors = choice_metrics(None, None, rows, batch_size=1)
    # By the byte: -2 against -5/7; -1 against -9/7; -1.5 against -1/7.
    assert metrics == {"accuracy": pytest.approx(1 / 3), "accuracy_norm": pytest.approx(2 / 3)}
    assert errors["accuracy"] == pytest.approx((1 / 3 * 2 / 3 / 3) ** 0.5)


def test_a_space_stands_between_where_neither_side_brings_one():
    assert completion("Q: 3? A:", "4") == " 4"
    assert completion("Q: 3? A: ", "4") == "4"
    assert completion("Q: 3? A:", "\n4") == "\n4"
    assert completion([{"role": "user", "content": "3?"}], "4") == [
        {"role": "assistant", "content": "4"}
    ]


def rows_of(*rows):
    found, labels = Language().rows({"train": Dataset.from_list(list(rows))}, {})
    assert labels == ()
    return found["train"]


def test_the_right_choice_is_what_is_trained_on():
    split = rows_of(ROWS[0], {"prompt": "two", "choices": ["2", "3"], "answer": 1})
    assert split["completion"] == [" 4", " 3"]
    assert sorted(trained_columns(split).column_names) == ["completion", "prompt"]
    by_text = rows_of({"prompt": "two", "choices": ["2", "3"], "answer": "3"})
    assert by_text["answer"] == [1]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "p", "choices": ["a", "b"], "answer": 2}, "the index or the text of one"),
        ({"prompt": "p", "choices": ["a", "b"], "answer": "c"}, "the index or the text of one"),
        ({"prompt": "p", "choices": ["a", "b"]}, "as answer, got None"),
        ({"prompt": "p", "choices": ["a"], "answer": 0}, "two texts or more as choices"),
        ({"prompt": "p", "choices": ["a", " "], "answer": 0}, "two texts or more as choices"),
        ({"prompt": "", "choices": ["a", "b"], "answer": 0}, "needs a prompt in every row"),
        ({"prompt": "p"}, "needs completion or choices beside prompt, got prompt"),
        ({"choices": ["a", "b"], "answer": 0}, "needs one of the columns messages, prompt"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(row, said):
    with pytest.raises(AutopeftError, match=said):
        rows_of(row)

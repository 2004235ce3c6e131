"""Metrics against scikit-learn, losses without penalties, memory that repeats."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef

from autopeft.training.measure import (
    PeakMemory,
    classification_metrics,
    classify,
    language_losses,
    macro_f1,
    matthews,
)

CPU = torch.device("cpu")
pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@settings(deadline=None)
@given(pairs)
def test_f1_and_matthews_are_those_of_scikit_learn(rows):
    labels, predictions = np.array(rows).T
    counts = np.zeros((4, 4), int)
    np.add.at(counts, (labels, predictions), 1)
    expected = f1_score(labels, predictions, average="macro", zero_division=0.0)
    assert macro_f1(counts) == pytest.approx(expected, abs=1e-12)
    assert matthews(counts) == pytest.approx(matthews_corrcoef(labels, predictions), abs=1e-12)


def test_the_errors_of_the_bootstrap_are_those_of_repeated_draws():
    rng = np.random.default_rng(1)

    def split():
        labels = rng.integers(0, 2, 400)
        return labels, np.where(rng.random(400) < 0.8, labels, 1 - labels)

    labels, predictions = split()
    metrics, errors = classification_metrics(np.ones(400), labels, predictions)
    repeated = [
        classification_metrics(np.ones(400), *split())[0]["matthews_correlation"]
        for _ in range(100)
    ]
    assert errors["matthews_correlation"] == pytest.approx(np.std(repeated), rel=0.3)
    assert errors["accuracy"] == pytest.approx(
        np.sqrt(metrics["accuracy"] * (1 - metrics["accuracy"]) / 400)
    )


class Penalised(torch.nn.Module):
    """A model whose own loss holds a penalty, as AdaLoRA's does."""

    def forward(self, input_ids):
        logits = torch.nn.functional.one_hot(input_ids, 5).float() * 3
        return SimpleNamespace(logits=logits, loss=torch.tensor(99.0))


def test_a_label_stays_beside_its_row_and_no_penalty_is_in_the_loss():
    batches = [
        {"input_ids": torch.tensor([2, 1]), "labels": torch.tensor([2, 0])},
        {"input_ids": torch.tensor([4]), "labels": torch.tensor([4])},
    ]
    losses, labels, predictions = classify(Penalised(), batches, CPU)
    assert labels.tolist() == [2, 0, 4]
    assert predictions.tolist() == [2, 1, 4]
    right = -np.log(np.exp(3) / (np.exp(3) + 4))
    assert losses == pytest.approx([right, right + 3, right], abs=1e-6)


def test_language_losses_count_labelled_tokens_one_place_on():
    tokens = torch.tensor([[0, 1, 2, 3], [1, 1, 0, 0]])
    labels = torch.tensor([[-100, 0, 1, 2], [-100, 1, -100, -100]])
    losses = language_losses(Penalised(), [{"input_ids": tokens, "labels": labels}], CPU)
    right = -np.log(np.exp(3) / (np.exp(3) + 4))
    assert losses == pytest.approx([right] * 4, abs=1e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="counts the resident set")
def test_the_same_work_has_the_same_peak_the_second_time():
    peaks = []
    for _ in range(3):
        with PeakMemory(every_s=0.005) as memory:
            blocks = [torch.ones(1 << 16) for _ in range(400)]  # 100 MiB in small pieces
            sum(float(block.sum()) for block in blocks for _ in range(5))
        del blocks
        peaks.append(memory.peak_gib)
    assert memory.kind == "rss_growth"
    assert peaks[1:] == pytest.approx([peaks[0]] * 2, rel=0.25)
    assert peaks[0] == pytest.approx(100 / 1024, rel=0.25)

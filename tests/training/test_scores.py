"""What further kinds of task are judged by, against scikit-learn, SciPy and counts by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn

from autopeft.training.scoring.measure import classification_metrics, language_metrics
from autopeft.training.scoring.scores import (
    Tagged,
    entities,
    multi_label_metrics,
    pearson,
    regression_metrics,
    tag_metrics,
    target_metrics,
)

RNG = np.random.default_rng(0)


def test_regression_is_measured_as_scipy_does():
    labels = RNG.normal(size=400)
    predictions = labels + RNG.normal(size=400)
    metrics, errors = regression_metrics(labels, predictions)
    assert metrics["pearson"] == pytest.approx(stats.pearsonr(labels, predictions).statistic)
    assert metrics["spearmanr"] == pytest.approx(stats.spearmanr(labels, predictions).statistic)
    assert metrics["eval_loss"] == pytest.approx(((labels - predictions) ** 2).mean())
    assert metrics["mae"] == pytest.approx(np.abs(labels - predictions).mean())
    # Of a correlation r of normal numbers: (1 - r^2) / sqrt(n).
    expected = (1 - metrics["pearson"] ** 2) / np.sqrt(400)
    assert errors["pearson"] == pytest.approx(expected, rel=0.2)


def test_a_constant_prediction_correlates_with_nothing():
    metrics, _ = regression_metrics(np.array([1.0, 2.0, 3.0]), np.full(3, 2.0))
    assert metrics["pearson"] == metrics["spearmanr"] == 0
    assert pearson(np.ones(4), np.arange(4.0)) == 0


def test_several_labels_are_measured_as_scikit_learn_does():
    labels = RNG.random((200, 4)) < 0.4
    predictions = labels ^ (RNG.random((200, 4)) < 0.2)
    losses = RNG.random(200)
    metrics, errors = multi_label_metrics(losses, labels, predictions)
    for name, average in (("f1", "macro"), ("f1_micro", "micro")):
        expected = sklearn.f1_score(labels, predictions, average=average)
        assert metrics[name] == pytest.approx(expected)
    assert metrics["accuracy"] == sklearn.accuracy_score(labels, predictions)
    assert metrics["eval_loss"] == losses.mean()
    assert 0 < errors["f1_micro"] < errors["accuracy"] < 0.05


def test_labels_that_nobody_has_or_tells_count_for_nothing():
    none = np.zeros((5, 3), dtype=bool)
    metrics, _ = multi_label_metrics(np.ones(5), none, none)
    assert (metrics["f1"], metrics["f1_micro"], metrics["accuracy"]) == (0, 0, 1)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-PER I-PER O B-LOC", {("PER", 0, 1), ("LOC", 3, 3)}),
        ("O O", set()),
        ("I-PER I-PER O", {("PER", 0, 1)}),
        ("B-PER B-PER", {("PER", 0, 0), ("PER", 1, 1)}),
        ("B-PER I-LOC I-LOC", {("PER", 0, 0), ("LOC", 1, 2)}),
        (
            "S-PER S-PER B-LOC E-LOC I-LOC",
            {("PER", 0, 0), ("PER", 1, 1), ("LOC", 2, 3), ("LOC", 4, 4)},
        ),
        ("B-MISC-A I-MISC-A", {("MISC-A", 0, 1)}),
    ],
)
def test_entities_start_and_end_where_conlleval_has_them(tags, expected):
    assert entities(tags.split()) == expected


def test_f1_of_tags_is_that_of_entities():
    """The example of seqeval's own documentation: f1 0.50, accuracy 0.80."""
    names = {0: "O", 1: "B-MISC", 2: "I-MISC", 3: "B-PER", 4: "I-PER"}
    truth = [[0, 0, 0, 1, 2, 2, 0], [3, 4, 0]]
    told = [[0, 0, 1, 2, 2, 2, 0], [3, 4, 0]]
    metrics, errors = tag_metrics(rows(truth, told), names)
    assert metrics["f1"] == 0.5
    assert metrics["accuracy"] == 0.8
    assert errors["f1"] > 0


def test_tags_without_a_scheme_have_the_f1_of_their_tokens():
    truth, told = [[0, 1, 2], [0, 0]], [[0, 1, 1], [0, 2]]
    metrics, _ = tag_metrics(rows(truth, told), {0: "NOUN", 1: "VERB", 2: "ADJ"})
    flat = [np.concatenate(one) for one in (truth, told)]
    assert metrics["f1"] == pytest.approx(sklearn.f1_score(*flat, average="macro"))


def rows(truth, told):
    return [
        Tagged(np.full(len(a), 0.5), np.array(a), np.array(b))
        for a, b in zip(truth, told, strict=True)
    ]


def test_the_loss_of_targets_is_that_of_their_tokens_and_its_error_that_of_rows():
    found = [RNG.exponential(size=int(n)) for n in RNG.integers(1, 9, size=500)]
    metrics, errors = target_metrics(found)
    loss = np.concatenate(found).mean()
    assert metrics == {"eval_loss": loss, "perplexity": np.exp(loss)}
    draws = [
        np.concatenate([found[i] for i in RNG.integers(500, size=500)]).mean() for _ in range(300)
    ]
    assert errors["eval_loss"] == pytest.approx(np.std(draws), rel=0.15)
    assert errors["perplexity"] == pytest.approx(np.exp(loss) * errors["eval_loss"])


@pytest.mark.parametrize(
    "metrics",
    [lambda: target_metrics([np.full(3, 1e3)]), lambda: language_metrics(np.full(3, 1e3))],
)
def test_a_loss_beyond_measure_has_an_infinite_perplexity(metrics):
    with np.errstate(all="raise"):
        assert metrics()[0] == {"eval_loss": 1e3, "perplexity": np.inf}


def test_two_labels_have_an_f1_of_the_second():
    labels, predictions = RNG.integers(2, size=300), RNG.integers(2, size=300)
    metrics, errors = measured(labels, predictions)
    assert metrics["f1_binary"] == pytest.approx(sklearn.f1_score(labels, predictions))
    assert 0 < errors["f1_binary"] < 0.1
    alone, _ = measured(np.zeros(4, int), np.zeros(4, int))
    assert (alone["f1_binary"], alone["accuracy"]) == (0, 1)


def test_labels_are_counted_by_the_data_not_by_the_rows():
    labels = predictions = RNG.integers(2, size=300)
    metrics, errors = measured(labels, predictions, classes=3)
    assert "f1_binary" not in metrics
    assert "f1_binary" not in errors
    assert metrics["f1"] == metrics["accuracy"] == 1


def measured(labels, predictions, *, classes=2):
    ones = np.ones(len(labels))
    return classification_metrics(ones, labels, predictions, ones, (), classes=classes)

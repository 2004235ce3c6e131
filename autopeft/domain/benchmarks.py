"""GLUE and SuperGLUE by the names of their tasks: where they lie, what they read, what they score.

GLUE: Wang et al. 2018, arXiv 1804.07461. SuperGLUE: Wang et al. 2019, arXiv 1905.00537. Their test
splits hide the labels. COPA and ReCoRD choose among answers, which no head for classes does.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class BenchmarkTask:
    """A task of a benchmark.

    metrics: those of the benchmark by our names, the first as an objective.
    columns: texts, as `data.columns` takes them; the label's column is `label`.
    """

    metrics: tuple[str, ...]
    columns: Mapping[str, str]
    validation: str = "validation"
    problem_type: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """path: of `load_dataset`; refused: tasks that it has besides, and why not."""

    title: str
    path: str
    tasks: Mapping[str, BenchmarkTask]
    refused: Mapping[str, str]


def _pair(text: str, text_pair: str) -> dict[str, str]:
    return {"text": text, "text_pair": text_pair}


_SENTENCES = _pair("sentence1", "sentence2")
_INFERENCE = _pair("premise", "hypothesis")
_ACCURACY = ("accuracy",)
_NO_CLASSES = "it chooses among answers, and a head for classes does not"

BENCHMARKS: Mapping[str, Benchmark] = {
    "glue": Benchmark(
        "GLUE",
        "nyu-mll/glue",
        {
            "cola": BenchmarkTask(("matthews_correlation",), {"text": "sentence"}),
            "mnli": BenchmarkTask(_ACCURACY, _INFERENCE, validation="validation_matched"),
            "mrpc": BenchmarkTask(("f1_binary", "accuracy"), _SENTENCES),
            "qnli": BenchmarkTask(_ACCURACY, _pair("question", "sentence")),
            "qqp": BenchmarkTask(("f1_binary", "accuracy"), _pair("question1", "question2")),
            "rte": BenchmarkTask(_ACCURACY, _SENTENCES),
            "sst2": BenchmarkTask(_ACCURACY, {"text": "sentence"}),
            "stsb": BenchmarkTask(("pearson", "spearmanr"), _SENTENCES, problem_type="regression"),
            "wnli": BenchmarkTask(_ACCURACY, _SENTENCES),
        },
        {"ax": "it has a test split only"},
    ),
    "super_glue": Benchmark(
        "SuperGLUE",
        "aps/super_glue",
        {
            "boolq": BenchmarkTask(_ACCURACY, _pair("question", "passage")),
            "cb": BenchmarkTask(("f1", "accuracy"), _INFERENCE),
            "multirc": BenchmarkTask(("f1_binary",), _pair("paragraph", "{question} {answer}")),
            "rte": BenchmarkTask(_ACCURACY, _INFERENCE),
            "wic": BenchmarkTask(_ACCURACY, _pair("{word}: {sentence1}", "sentence2")),
            "wsc": BenchmarkTask(_ACCURACY, _pair("text", "{span2_text}: {span1_text}")),
        },
        {
            "axb": "it has a test split only",
            "axg": "it has a test split only",
            "copa": _NO_CLASSES,
            "record": _NO_CLASSES,
        },
    ),
}
"""By their key under `data`."""

"""`data: {glue: ...}` stands for the data that it names; a copy on the disk is loaded as the hub's is."""

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from autopeft.config import parse
from autopeft.domain.benchmarks import BENCHMARKS
from autopeft.domain.errors import SpecError
from autopeft.domain.tasks import task_kind
from autopeft.training.loading.data import load_data

CASES = [(key, name) for key, benchmark in BENCHMARKS.items() for name in benchmark.tasks]
TEXTS = {  # the columns of the data sets on the hub, but label and idx
    "cola": ["sentence"],
    "sst2": ["sentence"],
    "mnli": ["premise", "hypothesis"],
    "cb": ["premise", "hypothesis"],
    "qnli": ["question", "sentence"],
    "qqp": ["question1", "question2"],
    "boolq": ["question", "passage"],
    "multirc": ["paragraph", "question", "answer"],
    "wic": ["word", "sentence1", "sentence2"],
    "wsc": ["text", "span1_text", "span2_text"],
}
REGRESSION = {"problem_type": "regression"}


def document(data, **model):
    return {
        "autopeft": 1,
        "study": "glue",
        "model": {"model_name_or_path": "bert", "task_type": "SEQ_CLS", **model},
        "data": data,
        "modules": [{"peft_type": "LORA"}],
        "budget": {"trials": 2},
    }


def mistakes(data, **model):
    with pytest.raises(SpecError) as raised:
        parse(document(data, **model), folder=".")
    return str(raised.value)


def write_copy(folder, key, name):
    """A folder with the layout of the data set on the hub."""
    texts = TEXTS.get(
        name, ["premise", "hypothesis"] if key == "super_glue" else ["sentence1", "sentence2"]
    )
    label = Value("float32") if name == "stsb" else ClassLabel(names=["no", "yes"])
    features = Features({**{text: Value("string") for text in texts}, "label": label})
    rows = [{**{text: f"{text} {i}" for text in texts}, "label": i % 2} for i in range(4)]
    validation = BENCHMARKS[key].tasks[name].validation
    paths = {split: f"{name}/{split}-00000-of-00001.parquet" for split in ("train", validation)}
    for path in paths.values():
        (folder / name).mkdir(exist_ok=True)
        Dataset.from_list(rows, features=features).to_parquet(folder / path)
    lines = [f"- config_name: {name}", "  data_files:"]
    lines += [f"  - {{split: {split}, path: {path}}}" for split, path in paths.items()]
    (folder / "README.md").write_text("\n".join(["---", "configs:", *lines, "---", ""]))


@pytest.mark.parametrize(("key", "name"), CASES)
def test_every_task_loads_from_a_copy_with_the_layout_of_the_hub(key, name, tmp_path):
    write_copy(tmp_path, key, name)
    model = REGRESSION if name == "stsb" else {}
    spec = parse(document({key: name, "path": str(tmp_path)}, **model), folder=".")
    data = load_data(spec.data, folder=".", task=task_kind(spec.model))
    assert len(data.train) == len(data.validation) == 4
    assert data.labels == (() if name == "stsb" else ("no", "yes"))
    used = {
        word
        for row in data.train
        for text in ("text", "text_pair")
        for word in row.get(text, "").split()
    }
    assert {text for text in TEXTS.get(name, []) if text in used or f"{text}:" in used} == set(
        TEXTS.get(name, [])
    )


def test_a_task_stands_for_the_hubs_data_and_its_metric_is_the_objective():
    spec = parse(document({"glue": "mnli", "max_length": 64}), folder=".")
    source = {"path": "nyu-mll/glue", "name": "mnli"}
    assert spec.data == {
        "train": {**source, "split": "train"},
        "validation": {**source, "split": "validation_matched"},
        "columns": {"text": "premise", "text_pair": "hypothesis", "label": "label"},
        "max_length": 64,
    }
    assert [objective.metric for objective in spec.objectives] == ["accuracy", "adapter_params"]
    spec = parse(document({"super_glue": "cb"}), folder=".")
    assert spec.data["train"]["path"] == "aps/super_glue"
    assert spec.objectives[0].metric == "f1"


def test_every_metric_of_a_benchmark_is_one_of_its_kind_of_task():
    for key, name in CASES:
        task = BENCHMARKS[key].tasks[name]
        kind = task_kind(
            {
                "task_type": "SEQ_CLS",
                "problem_type": task.problem_type or "single_label_classification",
            }
        )
        assert set(task.metrics) <= set(kind.metrics)


@pytest.mark.parametrize(
    ("data", "model", "said"),
    [
        ({"glue": "sst3"}, {}, "data.glue: GLUE has no task 'sst3' (did you mean sst2?)"),
        ({"super_glue": "copa"}, {}, "copa of SuperGLUE cannot be searched: it chooses among"),
        ({"glue": 3}, {}, "GLUE has no task 3"),
        ({"glue": "stsb"}, {}, "model.problem_type: glue stsb needs regression, got"),
        ({"glue": "rte"}, REGRESSION, "glue rte needs single_label_classification"),
        (
            {"glue": "rte"},
            {"task_type": "CAUSAL_LM"},
            "glue rte is a task of SEQ_CLS, got 'CAUSAL_LM'",
        ),
        ({"glue": "rte", "columns": {}}, {}, "data.columns: glue sets columns itself"),
        ({"glue": "rte", "path": 3}, {}, "data.path: takes a folder or a hub name, got 3"),
    ],
)
def test_what_no_benchmark_takes_is_said(data, model, said):
    assert said in mistakes(data, **model)

"""`causal_lm.py` and `gpu.py`: what they write is what the search takes; figures end in one file."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import chats, make_model

from autopeft.config import parse

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))
causal_lm = importlib.import_module("causal_lm")
gpu = importlib.import_module("gpu")
PAIRS = [{"signature": f"f{i}(x)", "docstring": f"text {i}", "label": i % 3 < 2} for i in range(12)]
ABSENT = ("ray", "mlflow", "optuna", "plotly", "bitsandbytes", "playwright")


def test_a_row_of_the_task_holds_its_own_text_once_and_three_others(monkeypatch):
    monkeypatch.setattr(causal_lm, "load_split", lambda split, options: PAIRS)
    rows = causal_lm.task(["any"], "train")
    own = {pair["signature"]: pair["docstring"] for pair in PAIRS if pair["label"]}
    assert len(rows) == len(own) == 8
    for row in rows:
        signature = row["prompt"].removeprefix("def ").removesuffix(":\n")
        assert row["choices"][row["answer"]] == own[signature]
        assert len(set(row["choices"])) == 4
    assert {row["answer"] for row in rows} == {0, 1, 2, 3}


def test_no_first_paragraph_of_a_function_is_in_the_corpus(tmp_path, monkeypatch):
    long = (
        "What follows is long enough to be worth reading, as it says a good deal of nothing at all."
    )
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "__init__.py").write_text(
        f'"""The module. {long}"""\n\n'
        f'def first(x):\n    """The task asks for this. {long}\n\n    Rest. {long}\n    """\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert causal_lm.corpus(["aside"]) == [f"The module. {long}", f"Rest. {long}"]


@pytest.mark.parametrize(
    "document",
    [
        gpu.document(),
        gpu.space(1.5),
        {
            **causal_lm.SPACE,
            "model": {"model_name_or_path": "m", "task_type": "CAUSAL_LM"},
            "budget": {"trials": 9},
            "space": {
                n: {**t, "layers": "all"} if "layers" in t else t
                for n, t in causal_lm.SPACE["space"].items()
            },
        },
    ],
    ids=["qlora", "search", "causal_lm"],
)
def test_the_space_files_are_valid(document):
    spec = parse(json.loads(json.dumps(document)), folder=".")
    assert spec.space.searched


def test_a_stage_that_fails_is_in_the_figures(tmp_path, monkeypatch, capsys):
    (tmp_path / "prepare.json").write_text('{"parameters": 5}')
    arguments = ["gpu.py", "search", "--to", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)  # without the stage that it builds on
    with pytest.raises(SystemExit, match="FileNotFoundError"):
        gpu.main()
    monkeypatch.setattr(sys, "argv", ["gpu.py", "pack", "--to", str(tmp_path)])
    gpu.main()
    packed = json.loads((tmp_path / "gpu.json").read_text())
    assert capsys.readouterr().out.strip() == str(tmp_path / "gpu.json")
    assert packed["prepare"] == {"parameters": 5}
    assert "FileNotFoundError" in packed["search"]["failure"]
    assert packed["environment"]["torch"]


def test_a_search_needs_neither_ray_nor_mlflow(tmp_path):
    make_model("llama", tmp_path / "model", "CAUSAL_LM")
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, chats(16))))
    document = gpu.document(
        data={
            "train": {"path": "json", "data_files": "train.jsonl"},
            "validation": {"carve": 0.25, "from": "train"},
        },
        training={"max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-3},
        constraints=["peak_memory_gib <= 8"],
        budget={"trials": 2},
        resources={},
    )
    (tmp_path / "space.yaml").write_text(json.dumps(document))
    code = (
        f"import sys\nfor name in {ABSENT}:\n    sys.modules[name] = None\n"
        "sys.argv = ['autopeft', 'search', 'space.yaml', '--local', '--quiet', '--json']\n"
        "from autopeft.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(BENCHMARKS.parent), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["front"]
    assert "MLflow is not installed" in done.stderr

"""The report of the real search, from its record."""

import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "search"
sys.path.append(str(FOLDER))
real_search = importlib.import_module("real_search")


def row(study, number, accuracy, params, *, front=True):
    return {
        "study": study,
        "sampler": study.split("-")[0],
        "number": number,
        "branch": "lora",
        "key": f"{study}{number}",
        "front": front,
        "metrics": {"accuracy": accuracy, "adapter_params": params},
    }


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def reported(monkeypatch, capsys, file):
    monkeypatch.setattr(sys, "argv", ["real_search.py", "report", "--out", str(file)])
    status = real_search.main()
    return status, capsys.readouterr()


def test_a_share_is_of_the_box_from_the_references_to_the_best_of_all_studies(
    tmp_path, monkeypatch, capsys
):
    record = [
        row("one-s0", 0, 1.0, 1e2),  # the whole box: references are .2 and 1e6
        row("two-s0", 0, 0.6, 1e4),  # half of the accuracy, half of the sizes' logarithm
        {"key": "one-s00", "seed": 1000, "accuracy": 0.8},
        {"key": "one-s00", "seed": 1001, "accuracy": 0.4},
    ]
    file = tmp_path / "record.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in record))
    status, said = reported(monkeypatch, capsys, file)
    assert status == 0
    found = {cells(line)[0]: cells(line)[1:] for line in said.out.splitlines()}
    assert found["one-s0"] == ["1.000"] * 5 + ["0.500", "0.600"], "its mean is .6: half"
    assert found["two-s0"] == ["0.250"] * 5 + ["-", "-"], "not trained again"
    assert found["**one** (1)"] == found["one-s0"]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ([], "the record has no search"),
        ([row("one-s0", 0, 0.1, 1e2)], "better than the objectives' references"),
    ],
)
def test_a_record_without_an_answer_is_a_message(tmp_path, monkeypatch, capsys, record, said):
    file = tmp_path / "record.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in record))
    status, told = reported(monkeypatch, capsys, file)
    assert status == 2
    assert said in told.err


def test_the_record_beside_it_has_whole_searches(monkeypatch, capsys):
    file = FOLDER / "real" / "intents.jsonl"
    status, told = reported(monkeypatch, capsys, file)
    assert status == 0
    assert "-" not in {cell for line in told.out.splitlines()[2:] for cell in cells(line)}
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    studies = [row["study"] for row in rows if "study" in row]
    assert {studies.count(study) for study in studies} == {60}

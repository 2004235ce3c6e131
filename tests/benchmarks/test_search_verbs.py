"""What every benchmark that searches answers to `run` and `report`."""

import importlib
import sys
from argparse import Namespace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "search"))
verbs = importlib.import_module("verbs")


@pytest.mark.parametrize("script", ["compare", "fidelity", "stopping", "warm_start"])
def test_a_report_of_no_file_is_one_line(script, tmp_path, capsys):
    missing = tmp_path / "none.jsonl"
    assert importlib.import_module(script).main(["report", str(missing)]) == 2
    said = f"error: report needs the results of a run, got no file {missing}: correct it\n"
    assert capsys.readouterr().err == said


def test_an_interrupted_run_says_that_nothing_is_lost(capsys):
    def interrupted(chosen):
        raise KeyboardInterrupt

    assert verbs.obey(Namespace(verb="run"), interrupted, str) == 130
    assert "every finished search is kept" in capsys.readouterr().err

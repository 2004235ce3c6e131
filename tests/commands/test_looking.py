"""`show`, `status`, `studies` and `best` of a study whose own code fails for some options."""

import json
import re
from io import StringIO

import pytest
from own_code import SPACE, at_home, autopeft, write
from rich.console import Console

from autopeft import terminal

BODY = """p = configuration.parameters
    if p["rank"] > 8:
        raise RuntimeError(f"a rank of {p['rank']} is too large")
    return {"rouge": (score(p), 0.01), "size": p["rank"]}"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the study, searched once."""
    folder = tmp_path_factory.mktemp("looked")
    with pytest.MonkeyPatch.context() as patch:
        at_home(patch, folder)
        write(folder, BODY)
        assert autopeft(patch, "search", "space.yaml", "--local", "--quiet") == 0
    return folder


@pytest.fixture
def said(place, monkeypatch, capsys):
    """said(*arguments): what a verb prints where stdout is no terminal."""
    at_home(monkeypatch, place)

    def said(*arguments, code=0):
        assert autopeft(monkeypatch, *arguments) == code
        return capsys.readouterr()

    return said


@pytest.fixture
def seen(place, monkeypatch):
    """seen(*arguments): what a verb prints on a terminal of 80 columns."""
    at_home(monkeypatch, place)

    def seen(*arguments):
        console = Console(file=StringIO(), force_terminal=True, width=80, height=24)
        monkeypatch.setattr(terminal, "out", console)
        assert autopeft(monkeypatch, *arguments) == 0
        text = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())
        assert max(map(len, text.splitlines())) <= 80
        return text

    return seen


def test_status_is_lines_elsewhere_and_the_panel_on_a_terminal(said, seen):
    text = said("status", "free").out
    assert text.startswith("free: finished, 8 of 8 trials: ")
    told = json.loads(said("status", "free", "--json").out)
    number = told["failed"]["error"][-1]
    assert f"trial {number} failed: error: RuntimeError: a rank of" in text
    assert text.endswith(f"More of a failure: autopeft show free {number}\n")
    assert told["saved_hours"] is None
    assert told["device_hours"] >= 0
    panel = seen("status", "free")
    assert panel.startswith("free  finished")
    assert "● front" in panel
    assert "failed by error, last trial" in panel


def test_show_tells_a_failure_with_the_user_s_traceback(said, seen):
    number = json.loads(said("status", "free", "--json").out)["failed"]["error"][0]
    document = json.loads(said("show", "free", str(number), "--json").out)
    assert document["place"] == "failed"
    assert "in evaluate" in document["failure"]["traceback"]
    text = seen("show", "free", str(number))
    assert "RuntimeError: a rank of" in text
    assert "in evaluate" in " ".join(text.split())  # folded at 80 columns
    assert "architecture" not in text  # free parameters build none of ours
    assert "parameters.rank" in text
    missing = said("show", "free", "99", code=2).err
    assert "has trials 0 to 7, got 99" in missing


def test_best_names_the_prices_of_its_neighbours(said):
    document = json.loads(said("best", "free", "--prefer", "size", "--json").out)
    (above,) = document["neighbours"]
    assert above["better"]
    assert above["changes"]["size"] > 0
    cost = f"would cost {above['changes']['size']:.3g} MB of size (trial {above['trial']})."
    assert cost in document["reason"]
    assert said("best", "free", "--prefer", "size").out == document["reason"] + "\n"


def test_studies_are_a_table_on_a_terminal_and_two_columns_elsewhere(said, seen):
    assert said("studies").out == "free\tfinished\n"
    (row,) = json.loads(said("studies", "--json").out)
    assert (row["study"], row["state"], sum(row["trials"].values())) == ("free", "finished", 8)
    assert row["model"] is None
    head, row = seen("studies").splitlines()
    named = "study owner state trials completed failed began model"
    assert head.split() == named.split()
    assert row.split()[0::2][:2] == ["free", "finished"]


def test_a_search_ends_with_its_failures_by_reason(place, said):
    text = said("resume", "free", "--local").out
    assert re.search(r"\d failed by error \(trials? [\d, ]+\): RuntimeError: a rank of", text)
    assert "More of a failure: autopeft show free" in text


def test_a_search_in_which_nothing_holds_the_constraints_says_so(tmp_path, monkeypatch, capsys):
    at_home(monkeypatch, tmp_path)
    write(tmp_path, space=SPACE + 'constraints: ["size <= 0"]\n')
    assert autopeft(monkeypatch, "search", "space.yaml", "--local", "--quiet", "--json") == 1
    printed = capsys.readouterr()
    assert "error: no completed trial holds the constraints (8 completed)" in printed.err
    assert json.loads(printed.out)["front"] == []

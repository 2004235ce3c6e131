"""`store backup`, `restore` and `check` as a user types them."""

import json
import sqlite3

import own_code
import pytest
from own_code import autopeft


@pytest.fixture
def searched(monkeypatch, tmp_path):
    """A folder with a finished study of the user's own code; its events reached no MLflow."""
    own_code.at_home(monkeypatch, tmp_path)
    own_code.write(tmp_path)
    assert autopeft(monkeypatch, "search", "space.yaml", "--local", "-q") == 0
    return tmp_path


def test_a_study_moves_to_another_store_and_is_found_there(searched, monkeypatch, capsys):
    assert autopeft(monkeypatch, "store", "backup", "b.db") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "b.db"
    assert "1 studies, 8 trials, 8 results" in err
    assert autopeft(monkeypatch, "store", "backup", "b.db") == 2
    assert "b.db exists" in capsys.readouterr().err
    monkeypatch.setenv("AUTOPEFT_HOME", str(searched / "other"))
    assert autopeft(monkeypatch, "store", "restore", "b.db", "--study", "free") == 0
    assert capsys.readouterr().out == "restored 1 studies, 8 trials, 8 results\n"
    assert autopeft(monkeypatch, "front", "free", "--json") == 0
    assert json.loads(capsys.readouterr().out)["front"]
    assert autopeft(monkeypatch, "store", "restore", "b.db") == 2
    assert "has a study 'free' already" in capsys.readouterr().err


def test_check_exits_1_with_what_to_do_until_it_is_done(searched, monkeypatch, capsys):
    assert autopeft(monkeypatch, "store", "check", "--json") == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert found["study"] == "free"
    assert found["what"].startswith("MLflow has not taken ")
    assert found["do"] == "deliver them by `autopeft sync free`"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert autopeft(monkeypatch, "sync", "free") == 0
    capsys.readouterr()
    assert autopeft(monkeypatch, "store", "check") == 0
    assert capsys.readouterr().out == "the store is sound\n"


def test_check_names_a_study_that_cannot_be_read_and_goes_on(searched, monkeypatch, capsys):
    for document, why in (("{", ""), ('{"study": "free"}', " (space file: ")):
        with sqlite3.connect("autopeft-studies/autopeft.db") as connection:
            connection.execute("UPDATE studies SET document = ?", [document])
        assert autopeft(monkeypatch, "store", "check") == 1
        said = capsys.readouterr().out
        assert f"free: its space file cannot be read{why}" in said
        assert "free: MLflow has not taken " in said


def test_a_study_whose_name_leaves_the_folder_is_not_restored(searched, monkeypatch, capsys):
    assert autopeft(monkeypatch, "store", "backup", "b.db") == 0
    with sqlite3.connect("b.db") as connection:
        for table, column in (("studies", "name"), ("trials", "study"), ("rungs", "study")):
            connection.execute(f"UPDATE {table} SET {column} = '../../etc'")
    monkeypatch.setenv("AUTOPEFT_HOME", str(searched / "other"))
    capsys.readouterr()
    assert autopeft(monkeypatch, "store", "restore", "b.db") == 2
    assert "got '../../etc'" in capsys.readouterr().err
    assert not (searched / "other").exists()

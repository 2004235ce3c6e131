"""A job on the cluster before its verb runs: the store, the home, the files that came."""

import json
import os

import pytest

from autopeft import build, parcel, submitted
from autopeft.domain.errors import StudyError
from autopeft.home import Home


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Ray's folder of the job, with a file that came along."""
    monkeypatch.setenv("AUTOPEFT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOPEFT_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "job"
    (place / "files").mkdir(parents=True)
    (place / "files" / "space.yaml").write_text("study: x")
    return place


def request(place, **changes):
    store = build.open_store(Home.from_environment()).identity()
    told = {"arguments": ["search", "--new"], "space": "space.yaml", "parcel": "ab", "store": store}
    (place / "request.json").write_text(json.dumps({**told, **changes}))
    return place


def test_a_search_gets_its_file_where_it_stays_and_starts_beside_a_copy(place, tmp_path):
    arguments = submitted._prepare(request(place))
    kept = tmp_path / "home" / ".sent" / "ab"
    assert arguments == ["search", str(kept / "space.yaml"), "--new"]
    assert (kept / "space.yaml").read_text() == "study: x"
    assert os.getcwd() == str(place / "files")


def test_another_store_is_refused_before_anything_is_kept(place, tmp_path):
    with pytest.raises(StudyError, match="are different databases"):
        submitted._prepare(request(place, store="another"))
    assert not (tmp_path / "home" / ".sent").exists()


@pytest.mark.parametrize("home", ["", "relative/studies"])
def test_a_cluster_without_a_home_is_refused(place, monkeypatch, home):
    request(place)
    monkeypatch.setenv("AUTOPEFT_HOME", home)
    with pytest.raises(StudyError, match="set AUTOPEFT_HOME to an absolute path"):
        submitted._prepare(place)


@pytest.mark.parametrize(("code", "ends"), [(130, 0), (0, 0), (1, 1), (2, 2)])
def test_a_pause_is_no_failure_of_the_job(place, monkeypatch, code, ends):
    def verb():
        raise SystemExit(code)

    monkeypatch.setattr(submitted.cli, "main", verb)
    monkeypatch.setattr("sys.argv", ["submitted", str(request(place))])
    with pytest.raises(SystemExit) as ended:
        submitted.main()
    assert ended.value.code == ends


def test_a_job_that_cannot_begin_says_why_in_one_message(place, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["submitted", str(request(place, store="another"))])
    with pytest.raises(SystemExit) as ended:
        submitted.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: the cluster's AUTOPEFT_STORE")


def test_a_study_that_goes_on_starts_beside_its_files_again(place, tmp_path):
    from fakes import record_of, study_spec

    home = Home.from_environment()
    kept = parcel.unpack(place / "files", "ab", home)
    (place / "files" / "space.yaml").unlink()
    (place / "files").rmdir()
    spec = study_spec()
    build.open_store(home).create(
        record_of(spec).__class__(spec.name, {}, str(kept), 1.0, "paused")
    )
    told = {"arguments": ["resume", spec.name], "space": "", "parcel": ""}
    assert submitted._prepare(request(place, **told)) == ["resume", spec.name]
    assert os.getcwd() == str(place / "files")
    assert os.path.isfile("space.yaml")

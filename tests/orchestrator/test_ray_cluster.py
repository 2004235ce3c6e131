"""The token of this user's Ray clusters: made once, also by searches that begin at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from autopeft.domain.errors import StudyError
from autopeft.domain.study import Resources
from autopeft.orchestrator import ray_cluster
from autopeft.orchestrator.ray_cluster import make_token


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_of_several_that_begin_at_once_one_makes_the_token(home):
    token = home / ".ray" / "auth_token"

    def told(_):
        make_token()
        return token.read_text()

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(told, range(32)))
    assert len(found) == 1
    assert len(found.pop()) == 64
    assert token.stat().st_mode & 0o077 == 0
    assert [file.name for file in token.parent.iterdir()] == ["auth_token"]


def test_a_token_that_is_there_stays(home):
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("mine")
    make_token()
    assert (home / ".ray" / "auth_token").read_text() == "mine"


@pytest.mark.parametrize("name", ["RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_who_set_rays_authentication_is_left_alone(home, monkeypatch, name):
    monkeypatch.setenv(name, "disabled")
    make_token()
    assert not (home / ".ray").exists()


def test_a_home_that_cannot_be_written_is_said(home, monkeypatch, caplog):
    (home / ".ray").write_text("no folder")
    make_token()
    assert "no token was made in" in caplog.text


def test_a_ray_that_does_not_start_is_one_message(home, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def init(**options):
        raise Exception("The current node timed out during startup. This could happen.\nMore")

    monkeypatch.setattr(ray_cluster.ray, "init", init)
    monkeypatch.setattr(ray_cluster.ray, "is_initialized", lambda: False)
    with (
        pytest.raises(StudyError, match=r"^Ray did not start on this machine \(The current node"),
        ray_cluster.cluster(2, Resources()),
    ):
        raise AssertionError("not reached")

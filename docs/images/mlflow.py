"""The pictures of a study in MLflow: the search of explorer.py, delivered to a real server.

    python docs/images/mlflow.py

Writes mlflow.png (the study's run) and mlflow-metrics.png (its charts) here.
Needs Debian's chromium; takes two minutes.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
# Behind what is installed: this file has the name of the package.
sys.path = [path for path in sys.path if Path(path or ".").resolve() != HERE] + [str(HERE)]

from explorer import document, searched  # noqa: E402

from autopeft.domain.results.front import front  # noqa: E402
from autopeft.report.description import description  # noqa: E402
from autopeft.report.front import front_json  # noqa: E402
from autopeft.report.layer_map import layer_map  # noqa: E402
from autopeft.report.page import explorer_page  # noqa: E402
from autopeft.tracking.mlflow import deliver  # noqa: E402
from autopeft.tracking.shown import Member, Shown  # noqa: E402


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        spec, problem, store = searched(Path(folder))
        trials = store.history(spec.name)
        members = front(spec.objectives, spec.constraints, trials)
        maps = {t.number: layer_map(t.configuration.architecture) for t in members}
        shown = Shown(
            description(spec, trials),
            {
                "front.json": front_json(spec.objectives, trials, [t.number for t in members]),
                "front.html": explorer_page(document(spec, problem, store)),
            },
            {number: Member({"layer_map.html": page}) for number, page in maps.items()},
        )
        uri = f"sqlite:///{folder}/mlflow.db"
        deliver(
            store,
            spec.name,
            uri=uri,
            experiment=spec.name,
            show=lambda: shown,
            timeout_s=600,
            artifact_location=f"{folder}/artifacts",
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        server = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(address)
            facts = store.recall(spec.name)
            runs = f"{address}/#/experiments/{facts['mlflow.experiment']}/runs"
            page = f"{runs}/{facts['mlflow.run.parent']}"
            shoot(page, HERE / "mlflow.png")
            shoot(f"{page}/model-metrics", HERE / "mlflow-metrics.png")
        finally:
            server.kill()


def wait_for(address: str) -> None:
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1)
            return
        except OSError:
            time.sleep(1)
    sys.exit("mlflow server did not start")


def shoot(address: str, to: Path) -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("the pictures need Debian's chromium, which is not there: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 1400, "height": 900})
        window.goto(address)
        window.wait_for_timeout(10_000)  # it goes on asking, so it is never idle
        for name in ("Close", "Show more"):  # MLflow's assistant; the whole description
            if (button := window.get_by_role("button", name=name)).count():
                button.first.click()
                window.wait_for_timeout(1500)
        window.screenshot(path=to)
        browser.close()


if __name__ == "__main__":
    main()

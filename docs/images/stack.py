"""The pictures of the service: a search on the natively started stack (tests/native_stack.py).

    python docs/images/stack.py

Writes stack-jobs.png, stack-cluster.png, stack-explorer.png and stack-mlflow.png here. The search
runs as a job of the cluster, on two workers. Needs Debian's chromium; takes three minutes.
"""

import json
import shutil
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Without this folder: mlflow.py of it has the name of the package.
sys.path = [path for path in sys.path if Path(path or ".").resolve() != HERE]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import native_stack  # noqa: E402
from native_stack import Stack  # noqa: E402
from tiny_study import write_study  # noqa: E402

SPACE = """
study: films
training: {per_device_train_batch_size: 8, num_train_epochs: 2}
space:
  lora:
    modules:
      - peft_type: LORA
        r: {choice: [1, 2, 4, 8]}
        target_modules: {choice: [query, [query, value], all-linear]}
    training: {learning_rate: {low: 1e-4, high: 3e-2, log: true}}
  ia3:
    modules:
      - peft_type: IA3
        target_modules: [key, value, output.dense]
        feedforward_modules: [output.dense]
    training: {learning_rate: {low: 1e-3, high: 1e-1, log: true}}
objectives:
  - {metric: eval_loss, goal: minimize}
  - {metric: adapter_params, goal: minimize, scale: log}
budget: {trials: 24}
search: {parallel: 2, seed: 0}
"""


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        stack = Stack(Path(folder), native_stack.settings())
        data = Path(folder, "data")
        data.mkdir()
        write_study(data, SPACE, rows=96)
        with stack.up("db", "mlflow", "head", "worker", "worker:2", "explorer"):
            job = ask(stack, "/api/jobs/", {"entrypoint": f"autopeft search {data}/space.yaml"})
            shoot(stack, job["submission_id"])


def ask(stack: Stack, path: str, data: dict[str, str] | None = None) -> Any:
    """Ray's job server, with the token."""
    asked = urllib.request.Request(
        f"http://{stack.address('head', 8265)}{path}",
        None if data is None else json.dumps(data).encode(),
        {
            "Authorization": f"Bearer {stack.variables['RAY_AUTH_TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.loads(answer.read())


def wait(stack: Stack, job: str, least: int) -> None:
    """Until the log of the job tells of so many trials."""
    for _ in range(600):
        log = ask(stack, f"/api/jobs/{job}/logs")["logs"]
        state = ask(stack, f"/api/jobs/{job}")["status"]
        if log.count(" completed: ") >= least and (least < 24 or state == "SUCCEEDED"):
            return
        if state in ("FAILED", "STOPPED"):
            sys.exit(f"the job {state}:\n{log}")
        time.sleep(1)
    sys.exit(f"the search takes too long:\n{log}")


def shoot(stack: Stack, job: str) -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("the pictures need Debian's chromium, which is not there: apt install chromium")
    ray = f"http://{stack.address('head', 8265)}"
    explorer = f"http://{stack.address('explorer', 8517)}"
    mlflow = f"http://{stack.address('mlflow', 5000)}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1400, "height": 760}, color_scheme="light")
        context.set_default_timeout(180_000)
        token = {"Authorization": f"Bearer {stack.variables['RAY_AUTH_TOKEN']}"}
        context.request.post(f"{ray}/api/authenticate", headers=token)  # a cookie, as its dialog
        page = context.new_page()
        wait(stack, job, 8)
        for name, height in (("jobs", 610), ("cluster", 750)):
            page.goto(f"{ray}/#/{name}")
            page.wait_for_timeout(9000)  # it goes on asking, so it is never idle
            clip = {"x": 0, "y": 0, "width": 1400, "height": height}
            page.screenshot(path=HERE / f"stack-{name}.png", clip=clip)
        wait(stack, job, 24)
        page.goto(f"{explorer}/studies/films/?token={stack.variables['AUTOPEFT_UI_TOKEN']}")
        page.wait_for_selector("html[data-ready=true]")
        page.screenshot(path=HERE / "stack-explorer.png")
        page.goto(f"{mlflow}/#/experiments/1/runs")
        page.wait_for_timeout(12_000)
        if (close := page.get_by_role("button", name="Close")).count():  # MLflow's assistant
            close.first.click()
            page.wait_for_timeout(1000)
        run = page.get_by_role("link", name="films").last.bounding_box()
        if run is not None:  # what unfolds the trials has no name
            page.mouse.click(run["x"] - 32, run["y"] + run["height"] / 2)
            page.wait_for_timeout(3000)
        page.screenshot(path=HERE / "stack-mlflow.png")
        browser.close()


if __name__ == "__main__":
    main()

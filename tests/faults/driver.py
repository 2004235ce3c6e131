"""A search driver that kills itself: python driver.py HOME SPACE LEDGER WHERE NTH

WHERE: suggestion, commit (inside the transaction), checkpoint (while a worker writes one) or none.
The driver dies by SIGKILL the NTH time that it gets there. Workers append every result to
LEDGER.worker, and the driver every told rung to LEDGER.told after its commit, both fsynced.
"""

import functools
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path


def append(path: str, row: list) -> None:
    descriptor = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, (json.dumps(row) + "\n").encode())
    os.fsync(descriptor)
    os.close(descriptor)


class Ledgered:
    """An evaluator that writes down what it did, outside the store."""

    def __init__(self, make, ledger: str) -> None:
        self._evaluator, self._ledger = make(), ledger

    def run(self, segment, report):
        from autopeft.training.pausing import PausingMixin

        pause = PausingMixin.pause

        @functools.wraps(pause)
        def told_pause(trainer, folder, progress):
            Path(f"{self._ledger}.checkpoint").touch()
            time.sleep(0.2)  # so that the driver dies while the checkpoint is being written
            return pause(trainer, folder, progress)

        PausingMixin.pause = told_pause
        try:
            result = self._evaluator.run(segment, report)
        finally:
            PausingMixin.pause = pause
        loss = getattr(result, "metrics", {}).get("eval_loss")
        append(f"{self._ledger}.worker", [segment.trial, segment.rung, loss])
        return result


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def counted(function, nth: int, *, delay_s: float = 0.0):
    """The function, but at its nth call the driver dies, or so long after it began."""
    calls = [0]

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        calls[0] += 1
        if calls[0] == nth and delay_s:
            threading.Timer(delay_s, die).start()
        elif calls[0] >= nth and not delay_s:
            die()
        return function(*args, **kwargs)

    return wrapper


def arm(where: str, nth: int, session, ledger: str) -> None:
    if where == "suggestion":
        kind = type(session._proposer._sampler)  # an instance is frozen
        kind.suggest = counted(kind.suggest, nth, delay_s=0.02)
    elif where == "commit":
        from autopeft.store import sql

        sql._put_rungs = counted(sql._put_rungs, nth)
    elif where == "checkpoint":
        mark = Path(f"{ledger}.checkpoint")
        mark.unlink(missing_ok=True)

        def watch() -> None:
            seen = 0
            while True:
                if mark.exists():
                    mark.unlink(missing_ok=True)
                    seen += 1
                    if seen >= nth:
                        die()
                time.sleep(0.005)

        threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    home, space, ledger, where, nth = sys.argv[1:]
    from autopeft import build, entry
    from autopeft.builders import searches
    from autopeft.config import load
    from autopeft.home import Home

    place = Home(Path(home))
    store = build.open_store(place)
    spec = entry.enter(load(Path(space)), store)
    make = searches.make_evaluator
    searches.make_evaluator = lambda *a: Ledgered(functools.partial(make, *a), ledger)

    def told(trial) -> None:
        if trial.rungs and trial.state != "running":
            rung = trial.rungs[-1]
            append(f"{ledger}.told", [trial.number, rung.index, rung.metrics["eval_loss"]])

    with build.open_search(spec, place, store, listeners=(told,)) as search:
        arm(where, int(nth), search.session, ledger)
        search.run()


if __name__ == "__main__":
    main()

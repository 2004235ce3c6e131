"""Faults at random moments of one search, and the verdict on each of them.

What can be seen at once is looked at after each fault, so that a loss is told of the fault that
made it; the rest when the search has come to its end.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from faulty import Run
from invariants import check, told_is_kept
from kinds import Inject


@dataclass
class Injection:
    """One fault. bad: what it broke; nothing: the search survived it."""

    kind: str
    did: str
    bad: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def row(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Verdict:
    """injections: in their order. end: what does not hold in the end."""

    injections: list[Injection]
    end: list[str]
    log: str

    @property
    def good(self) -> bool:
        return not self.end and not any(i.bad for i in self.injections)


def inflict(
    run: Run,
    faults: Sequence[tuple[str, Inject]],
    *,
    seed: int,
    mlflow: str | None = None,
    ready: Callable[[], None] = lambda: None,
) -> Verdict:
    """Start a search, do the faults to it one after another, and have it come to its end.

    Faults that the search's end leaves no room for are left out.

    ready: waits until all that the search stands on is there again.
    """
    rng = random.Random(seed)
    done: list[Injection] = []
    end: list[str] = []
    try:
        for kind, inject in faults:
            began = time.monotonic()
            try:
                did = inject(run, rng)
                if did is None:
                    break
                bad = told_is_kept(run)
            except (AssertionError, TimeoutError) as error:
                did, bad = "", [str(error)]
            done.append(Injection(kind, did, bad, round(time.monotonic() - began, 1)))
            if bad:
                break
        run.finish()
        if run.codes[-1] != 0:
            end.append(f"the driver exits {run.codes[-1]}: {run.log()[-1500:]}")
        else:
            ready()
            end += check(run, mlflow=mlflow)
    except Exception as error:  # of the harness or of the search: a loss either way
        end.append(f"{type(error).__name__}: {error}")
    finally:
        run.clean()
    return Verdict(done, end, run.log())

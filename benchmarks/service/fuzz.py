"""Hostile space files, expressions and constraints, for as long as one likes.

    python benchmarks/service/fuzz.py --minutes 10                # each kind for ten minutes
    python benchmarks/service/fuzz.py --minutes 10 --kind space-file --seed 3

Prints a line a kind: inputs, accepted, refused, crashes, the slowest. A crash is printed with the
input that made it; see `tests/security/fuzzing.py` for what one is. Exits 1 where there was one.
"""

import argparse
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from hypothesis import HealthCheck, Phase, given, seed, settings
from security import fuzzing

_BATCH = 200  # inputs between two looks at the clock
_MEMORY = 6 * 2**30  # of address space: who asks for more crashes, instead of the machine
_HANG_S = 4 * fuzzing.PATIENCE_S


class Tally:
    """What came of all inputs of a kind. crashes: by their last line, the first input of each."""

    def __init__(self) -> None:
        self.counts = {"accepted": 0, "refused": 0, "crashed": 0}
        self.slowest = 0.0
        self.slowest_input: Any = None
        self.crashes: dict[str, tuple[Any, str]] = {}

    def add(self, given: Any, outcome: fuzzing.Outcome) -> None:
        self.counts[outcome.kind] += 1
        if outcome.seconds > self.slowest:
            self.slowest, self.slowest_input = outcome.seconds, given
        if outcome.kind == "crashed":
            lines = [line for line in outcome.said.splitlines() if line.strip()] or [""]
            places = [line.strip() for line in lines if line.strip().startswith("File ")]
            self.crashes.setdefault(
                f"{(places or [''])[-1]} {lines[-1][:60]}", (given, outcome.said)
            )

    def line(self, kind: str, minutes: float) -> str:
        total = sum(self.counts.values())
        parts = (
            f"{total:,}",
            *(f"{number:,}" for number in self.counts.values()),
            f"{self.slowest * 1000:,.0f} ms",
        )
        return f"| {kind} | {minutes:.0f} | " + " | ".join(parts) + " |"


def fuzz(
    strategy: Any, attempt: Callable[[Any], fuzzing.Outcome], minutes: float, first: int
) -> Tally:
    """Inputs of one kind until the time is over, other ones in each batch."""
    tally, until, number = Tally(), time.monotonic() + 60 * minutes, first
    while time.monotonic() < until:

        @seed(number)
        @settings(
            max_examples=_BATCH,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def batch(text: Any) -> None:
            tally.add(text, attempt(text))

        batch()
        number += 1
    return tally


def _hangs(*_: object) -> None:
    raise TimeoutError(f"took more than {_HANG_S} s")


def guarded(attempt: Callable[[Any], fuzzing.Outcome]) -> Callable[[Any], fuzzing.Outcome]:
    """The attempt, ended where it never ends by itself."""

    def bounded(text: Any) -> fuzzing.Outcome:
        signal.setitimer(signal.ITIMER_PROF, _HANG_S)
        try:
            return attempt(text)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    return bounded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--kind", choices=["space-file", "expression", "constraint"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    broken = False
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.signal(signal.SIGPROF, _hangs)
    with tempfile.TemporaryDirectory() as scratch:
        kinds = {
            "space-file": (fuzzing.SPACE_FILES, lambda t: fuzzing.try_space_file(t, Path(scratch))),
            "expression": (fuzzing.EXPRESSIONS, fuzzing.try_expression),
            "constraint": (fuzzing.CONSTRAINTS, fuzzing.try_constraint),
        }
        print("| kind | minutes | inputs | accepted | refused | crashed | slowest |")
        print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
        for kind, (strategy, attempt) in kinds.items():
            if options.kind not in (None, kind):
                continue
            tally = fuzz(strategy, guarded(attempt), options.minutes, options.seed)
            print(tally.line(kind, options.minutes), flush=True)
            print(f"slowest {kind}: {tally.slowest_input!r:.300}", file=sys.stderr)
            for input_, said in tally.crashes.values():
                broken = True
                print(f"\n--- crash of {input_!r:.1500}\n{said}", file=sys.stderr)
    sys.exit(broken)


if __name__ == "__main__":
    main()

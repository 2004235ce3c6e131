"""kill -9 of the driver at ten moments of one search, compared with the workers' own ledger.

python benchmarks/kill_driver.py [SEED]         # about 10 minutes on 4 cores
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "faults"))

from kills import kill_and_resume

PLACES = [
    "commit",
    "random",
    "suggestion",
    "checkpoint",
    "random",
    "commit",
    "checkpoint",
    "random",
    "suggestion",
    "random",
]


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    with tempfile.TemporaryDirectory() as folder:
        verdict = kill_and_resume(Path(folder), PLACES, trials=60, seed=seed)
    print(f"seed {seed}: {verdict}")
    sys.exit(not verdict.good)


if __name__ == "__main__":
    main()

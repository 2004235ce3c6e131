"""kill -9 of the driver loses no told result; three places here, ten kills in the benchmark."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from kills import kill_and_resume


def test_a_driver_killed_inside_commit_suggestion_and_checkpoint_loses_nothing(tmp_path):
    places = ["commit", "suggestion", "checkpoint"]
    verdict = kill_and_resume(tmp_path, places, trials=9, seed=0)
    assert verdict.good, verdict
    assert verdict.kills == tuple(places)
    assert verdict.told >= 3

"""kill -9 of the driver loses no told result; a few kills here, ten in benchmarks/kill_driver.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest
from kills import kill_and_resume


@pytest.mark.parametrize(
    "places",
    [
        ["commit", "checkpoint"],
        pytest.param(["commit", "suggestion", "checkpoint"], marks=pytest.mark.long),
    ],
    ids=" ".join,
)
def test_a_driver_killed_at_any_moment_loses_nothing(tmp_path, places):
    verdict = kill_and_resume(tmp_path, places, trials=9, seed=0)
    assert verdict.good, verdict
    assert verdict.kills == tuple(places)
    assert verdict.told >= 3

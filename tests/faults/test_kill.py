"""kill -9 of the driver loses no told result; two places here, ten in the benchmark."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kills import kill_and_resume

pytestmark = pytest.mark.xdist_group("kill")


def test_a_driver_killed_inside_a_commit_and_beside_a_checkpoint_loses_nothing(tmp_path):
    verdict = kill_and_resume(tmp_path, ["commit", "checkpoint"], trials=7, seed=0)
    assert verdict.good, verdict
    assert verdict.kills == ("commit", "checkpoint")
    assert verdict.told >= 3

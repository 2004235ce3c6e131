"""`confirm:` of a space file."""

from pathlib import Path

import pytest

from autopeft.config import load
from autopeft.domain.errors import SpecError
from autopeft.domain.study import Confirm

GOOD = Path(__file__).parent / "good.yaml"


def test_five_seeds_unless_the_file_says_otherwise():
    assert load(GOOD).confirm is None
    assert load(GOOD, ["confirm={}"]).confirm == Confirm(5, None)
    assert load(GOOD, ["confirm={seeds: 3, trials: 9}"]).confirm == Confirm(3, 9)
    assert load(GOOD, ["confirm=false"]).confirm is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("5", "confirm: takes {seeds: number}, got 5"),
        ("{seeds: 1}", "confirm.seeds: takes a whole number from 2, got 1"),
        ("{seeds: true}", "confirm.seeds: takes a whole number from 2, got True"),
        ("{seed: 5}", "confirm has no 'seed' (did you mean seeds?)"),
        (
            "{seeds: 5, trials: 9}",
            "confirm.trials: takes a whole number from 10 (5 seeds of one member and 1 baseline), "
            "got 9",
        ),
        (
            "{seeds: 10}",
            "confirm: takes 20 of budget.trials (10 seeds of one member and 1 baseline), which "
            "leaves the search nothing of 20",
        ),
        ("{trials: 30}", "confirm: takes 30 of budget.trials (as it says), which leaves"),
    ],
)
def test_what_makes_no_sense_is_one_message(given, said):
    with pytest.raises(SpecError) as caught:
        load(GOOD, [f"confirm={given}"])
    assert said in str(caught.value)
    assert "1 mistake" in str(caught.value)


def test_no_baseline_is_a_word_of_its_own():
    assert load(GOOD, ["baselines=false", "constraints=[]"]).space.baselines == ()

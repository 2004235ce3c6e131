"""The check of `confirm:`."""

from collections.abc import Mapping
from typing import Any

from autopeft.config.names import check_names
from autopeft.config.tree import Complain, told
from autopeft.config.values import is_whole
from autopeft.domain.study import Budget, Confirm

CONFIRM = ("seeds", "trials")
FEWEST = 2  # seeds: of one there is no interval


def check_confirm(
    given: Any, budget: Budget | None, baselines: int, complain: Complain
) -> Confirm | None:
    """None where the file asks for none, or for one that makes no sense.

    baselines: how many the study has.
    """
    if given is None or given is False:
        return None
    if not isinstance(given, Mapping):
        complain("confirm", f"takes {{seeds: number}}, got {told(given)}", "confirm: {seeds: 5}")
        return None
    check_names("confirm", given, CONFIRM, "confirm", complain)
    seeds, trials = given.get("seeds", Confirm.seeds), given.get("trials")
    if not is_whole(seeds, FEWEST):
        rule = f"takes a whole number from {FEWEST}, got {told(seeds)}"
        complain("confirm.seeds", rule, "an interval needs more than one seed")
        return None
    least = Confirm(seeds).least(baselines)
    of = f"{seeds} seeds of one member and {baselines} baseline{'' if baselines == 1 else 's'}"
    if trials is not None and not is_whole(trials, least):
        rule = f"takes a whole number from {least} ({of}), got {told(trials)}"
        complain("confirm.trials", rule, "raise it, or lower confirm.seeds")
        return None
    limit = None if budget is None else budget.trials
    if limit is not None and limit <= (trials or least):
        rule = (
            f"takes {trials or least} of budget.trials ({of if trials is None else 'as it says'}), "
            f"which leaves the search nothing of {limit}"
        )
        complain("confirm", rule, "raise budget.trials, or lower confirm.seeds")
        return None
    return Confirm(seeds, trials)

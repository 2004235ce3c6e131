"""The parameters of all branches as one list, for models that know nothing of branches."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autopeft.domain.space import Branch, Variable


@dataclass(frozen=True)
class FlatParameter:
    """branches: the names of those that have it. name, variable, given: see `space.Parameter`.

    deciding: the variables that `given` names.
    """

    branches: tuple[str, ...]
    name: str
    variable: Variable
    given: tuple[tuple[str, int], ...]
    deciding: tuple[Variable, ...]

    @property
    def key(self) -> str:
        """What no other parameter of the list is called."""
        return f"{self.branches[0]}/{self.name}"

    def alike(self, other: "FlatParameter") -> bool:
        """Whether both stand at one place, for the same choices, and have the same values."""
        return replace(self, branches=other.branches) == other


def flat(branches: Sequence[Branch], *, shared: bool) -> tuple[FlatParameter, ...]:
    """Branch by branch; a parameter comes after those that it depends on.

    shared: what several branches have alike, a learning rate or a layer, is one parameter.
    """
    found: list[FlatParameter] = []
    namesakes: dict[str, list[int]] = defaultdict(list)
    for branch in branches:
        for new in _own(branch):
            same = (i for i in namesakes[new.name] if found[i].alike(new))
            place = next(same, None) if shared else None
            if place is None:
                namesakes[new.name].append(len(found))
                found.append(new)
            else:
                found[place] = replace(new, branches=(*found[place].branches, branch.name))
    return tuple(found)


def _own(branch: Branch) -> list[FlatParameter]:
    variables = {parameter.name: parameter.variable for parameter in branch.parameters}
    return [
        FlatParameter(
            branches=(branch.name,),
            name=parameter.name,
            variable=parameter.variable,
            given=parameter.given,
            deciding=tuple(variables[name] for name, _ in parameter.given),
        )
        for parameter in branch.parameters
    ]

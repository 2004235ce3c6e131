"""LoRA's rank and learning rate alone: what most people tune, as a landscape of its own.

The rest is what PEFT's examples use: all layers, query and value, alpha twice the rank, no
allocation. Truth, reference and best hypervolume are those of the whole landscape, so a search over
these two is measured against one over everything.
"""

from dataclasses import replace
from typing import Any

from landscapes import Landscape

from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import AutopeftError
from autopeft.domain.expression import Expr
from autopeft.domain.space import Bits, Branch, Choice, Parameter, Point, Space, Subset
from autopeft.search.points.drawing import LEARNING_RATE

SUFFIX = " over rank and rate"
_LORA = "lora"
_RANK = "modules[0].r"
_USUAL = (["query", "value"], "2 * r", "uniform")
_KINDS = {"query", "value", "attention.query", "attention.value"}


def restricted(landscape: Landscape) -> Landscape:
    """The landscape over these two parameters of branch `lora`.

    Raises:
        AutopeftError: it has no such branch, or nothing usual among a parameter's options.
    """
    problem = landscape.problem
    if _LORA not in {branch.name for branch in problem.space.branches}:
        raise AutopeftError(f"{landscape.name} has no branch {_LORA}: leave{SUFFIX} out")
    parameters = problem.space[_LORA].parameters
    free = {p.name: p.variable for p in parameters if p.name in (_RANK, LEARNING_RATE)}
    fixed = {p.name: _usual(p) for p in parameters if p.name not in free}

    def configure(point: Point) -> Configuration:
        return problem.configure({**point, **fixed})

    space = Space((Branch(_LORA, free),))
    return replace(landscape, problem=replace(problem, space=space, configure=configure))


def _usual(parameter: Parameter) -> Any:
    """The value of a point that fixes a parameter."""
    match parameter.variable:
        case Bits(length):
            return (1,) * length
        case Subset(options) if _KINDS & set(options):
            return tuple(int(option in _KINDS) for option in options)
        case Choice(options) if parameter.name == "layers":
            return max(range(len(options)), key=lambda i: len(options[i]))
        case Choice(options):
            told = [o.text if isinstance(o, Expr) else o for o in options]
            for wanted in _USUAL:
                if wanted in told:
                    return told.index(wanted)
    raise AutopeftError(f"nothing usual among the options of {parameter.name}: leave{SUFFIX} out")

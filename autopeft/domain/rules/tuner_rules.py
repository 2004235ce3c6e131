"""What the tuners of `autopeft.tuners` ask of a module, given the shapes of its targets."""

from collections.abc import Callable, Mapping

from autopeft.domain.networks.counting.count import Placed

Rule = Callable[[Placed], str | None]


def _compacter(placed: Placed, *widths: str) -> str | None:
    """phm_dim divides all that a PHM layer reads or writes; 0: the layers are plain."""
    terms, size = int(placed.field("phm_dim")), int(placed.field("bottleneck_size"))
    if not terms:
        return None
    if size % terms:
        return f"phm_dim divides bottleneck_size, got {terms} and {size}: change one of the two"
    for target in placed.targets:
        for width in widths:
            if getattr(target, width) % terms:
                return (
                    f"phm_dim divides the {width} of every target, got {terms} and "
                    f"{getattr(target, width)} of {target.name}: change it or the targets"
                )
    return None


def _paca(placed: Placed) -> str | None:
    return _rank(placed, "columns", lambda inputs, outputs: inputs)


def _svfit(placed: Placed) -> str | None:
    return _rank(placed, "singular values", min)


def _rank(placed: Placed, what: str, most: Callable[[int, int], int]) -> str | None:
    rank = int(placed.field("r"))
    for target in placed.targets:
        if rank > (found := most(target.inputs, target.outputs)):
            return (
                f"{placed.module.peft_type} needs r within the {found} {what} of {target.name}, "
                f"got {rank}: lower it"
            )
    return None


RULES: Mapping[str, Rule] = {
    "PACA": _paca,
    "PARALLEL_ADAPTER": lambda placed: _compacter(placed, "inputs", "outputs"),
    "SERIAL_ADAPTER": lambda placed: _compacter(placed, "outputs"),
    "SVFIT": _svfit,
}

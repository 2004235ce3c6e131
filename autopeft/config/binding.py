"""The checks that need the model: its layers, its modules, its widths."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from autopeft.config.reading import Lines, line_of, read
from autopeft.config.tree import Complain, options_of
from autopeft.domain.architecture import SIZE_FIELDS, match_targets, place
from autopeft.domain.errors import Mistake, SpecError
from autopeft.domain.model import ModelShape, TargetModule
from autopeft.domain.space import Bits, Branch, Choice, Json, Range, Space, Subset
from autopeft.domain.study import StudySpec

_LOW_RANK = ("LORA", "ADALORA", "LOHA", "DELORA", "HRA")


def bind(spec: StudySpec, shape: ModelShape, *, source: Path | None = None) -> StudySpec:
    """The spec on this model: layer bits get their length, and everything is checked against it.

    source: the file that the spec came from, for line numbers.

    Raises:
        SpecError: every target that matches nothing, layer that is not there, size too large.
    """
    lines: Lines = read(source)[1] if source is not None else {}
    mistakes: list[Mistake] = []

    def complain(path: str, message: str, suggestion: str = "") -> None:
        mistakes.append(Mistake(path, message, suggestion, line_of(lines, path)))

    branches = tuple(_branch(branch, spec, shape, complain) for branch in spec.space.branches)
    if mistakes:
        raise SpecError(mistakes, str(source or f"study {spec.name}"))
    return replace(spec, space=Space(branches))


def _branch(branch: Branch, spec: StudySpec, shape: ModelShape, complain: Complain) -> Branch:
    group = "baselines" if branch.baseline else "space"
    path = f"{group}.{branch.name}." if group in spec.document else ""
    tree = dict(branch.tree)
    modules = [dict(module) for module in tree.get("modules", [])]
    layers = tree.get("layers", "all")
    if layers == {"bits": "own"}:
        tree.pop("layers")
        for module in modules:
            module.setdefault("layers", {"bits": "own"})
    elif "layers" in tree:
        tree["layers"] = _layers(layers, f"{path}layers", shape, complain)
    for i, module in enumerate(modules):
        at = f"{path}modules[{i}]"
        if "layers" in module:
            module["layers"] = _layers(module["layers"], f"{at}.layers", shape, complain)
        _module(module, at, shape, complain)
        if module["peft_type"] == "PREFIX_TUNING" and not _everywhere(tree, module, shape):
            complain(
                f"{path}layers",
                "PEFT's prefix goes into every layer",
                "layers: all, or leave it out",
            )
    if modules:
        tree["modules"] = modules
    return replace(branch, tree=tree)


def _everywhere(tree: Mapping[str, Json], module: Mapping[str, Json], shape: ModelShape) -> bool:
    layers = module.get("layers", tree.get("layers", "all"))
    return bool(layers in ("all", {"first": shape.layers}, {"last": shape.layers}))


def _layers(layers: Json, path: str, shape: ModelShape, complain: Complain) -> Json:
    if isinstance(layers, Choice):
        return Choice(
            tuple(
                _layers(option, f"{path}.choice[{i}]", shape, complain)
                for i, option in enumerate(layers.options)
            )
        )
    if layers in ({"bits": "shared"}, {"bits": "own"}):
        return {"bits": Bits(shape.layers)}
    for literal in _extremes(layers):
        try:
            place(literal, shape.layers)
        except ValueError as error:
            complain(path, str(error))
    return layers


def _extremes(layers: Json) -> list[Json]:
    """The literal values of a `layers` node, a varying k at its largest."""
    if isinstance(layers, Mapping) and len(layers) == 1:
        ((key, k),) = layers.items()
        if key in ("first", "last"):
            return [
                {key: int(value.high) if isinstance(value, Range) else value}
                for _, value in options_of(k)
            ]
    return [layers]


def _module(module: Mapping[str, Json], path: str, shape: ModelShape, complain: Complain) -> None:
    targeted: list[TargetModule] = []
    for field in ("target_modules", "feedforward_modules"):
        if field not in module and not (field == "target_modules" and _needs_targets(module)):
            continue
        for suffix, value in options_of(module.get(field)):
            entries = list(value.options) if isinstance(value, Subset) else value
            if entries == [] and field == "feedforward_modules":
                continue
            if isinstance(entries, list) and any(isinstance(e, Choice | Subset) for e in entries):
                complain(
                    path + suffix, f"{field} varies as a whole: put the choice around the list"
                )
                continue
            try:
                matched = match_targets(entries, shape)
            except (ValueError, TypeError) as error:
                complain(f"{path}.{field}{suffix}", str(error))
                continue
            if field == "target_modules":
                targeted += matched
                _fits(module["peft_type"], matched, f"{path}.{field}{suffix}", complain)
    _sizes(module, path, targeted, complain)


def _needs_targets(module: Mapping[str, Json]) -> bool:
    return bool(module["peft_type"] != "PREFIX_TUNING")


def _fits(peft_type: str, matched: tuple[TargetModule, ...], path: str, complain: Complain) -> None:
    wrong = [m.kind for m in matched if m.linear == (peft_type == "LN_TUNING")]
    if wrong:
        wanted = "norms" if peft_type == "LN_TUNING" else "linear maps"
        complain(path, f"{peft_type} takes {wanted}, got {', '.join(dict.fromkeys(wrong))}")


def _sizes(
    module: Mapping[str, Json], path: str, targeted: list[TargetModule], complain: Complain
) -> None:
    if module["peft_type"] not in _LOW_RANK or not targeted:
        return
    size = SIZE_FIELDS.get(module["peft_type"], "r")
    least = min(min(target.inputs, target.outputs) for target in targeted)
    for suffix, value in options_of(module.get(size)):
        largest = value.high if isinstance(value, Range) else value
        if isinstance(largest, int | float) and largest > least:
            complain(
                f"{path}.{size}{suffix}",
                f"{size} stays within the narrowest targeted module ({least}), got {largest}",
            )

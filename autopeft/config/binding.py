"""The checks that need the model: its layers, its modules, its widths."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from autopeft.config.layer_sizes import numbers_of, spread
from autopeft.config.placement import bind_layers, reached_layers
from autopeft.config.places import Places
from autopeft.config.reading import read
from autopeft.config.tree import Complain, options_of
from autopeft.domain.configured import configured
from autopeft.domain.errors import Mistake, SpecError
from autopeft.domain.methods.layer_sizes import size_field
from autopeft.domain.methods.placement import match_targets, wraps_layers
from autopeft.domain.model import ModelShape, TargetModule
from autopeft.domain.nearest import nearest
from autopeft.domain.networks.capabilities import CAPABILITIES
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.recipes.recipe import RecipeError, Refusal
from autopeft.domain.rules.fit import wrapped_as
from autopeft.domain.space import Branch, Json, Range, Space, Subset
from autopeft.domain.study import StudySpec

_LOW_RANK = ("LORA", "ADALORA", "LOHA", "DELORA", "HRA")
_PREFIX_SHAPE = ("num_layers", "token_dim", "num_attention_heads", "num_transformer_submodules")
"""What PEFT reads off the model and writes into a prefix's config."""

_HEADS_OF_PEFT = ("classifier", "score")  # in every SEQ_CLS config that PEFT wrote
_DRAWS = 32


def bind(
    spec: StudySpec,
    shape: ModelShape,
    *,
    source: Path | None = None,
    refusal: Refusal = lambda field, value, recipe: "",
) -> StudySpec:
    """The spec on this model: layer bits get their length, and everything is checked against it.

    source: the file that the spec came from, for the places of mistakes.
    refusal: why no trial trains with a value of a field, beside the others of its recipe, for what
        neither the file nor the shape shows.

    Raises:
        SpecError: every target that matches nothing, layer that is not there, size too large.
    """
    places = read(source)[1] if source is not None else Places()
    mistakes: dict[str, Mistake] = {}

    def complain(path: str, message: str, suggestion: str = "") -> None:
        mistake = places.mistake(path, message, suggestion, checked=spec.document)
        mistakes.setdefault(path, mistake)

    for name in ("max_length", "max_target_length"):
        if (most := shape.positions) and spec.data.get(name, 0) > most:
            rule = f"the model has positions for {most} tokens, got {spec.data[name]}"
            complain(f"data.{name}", rule, f"take {most} or fewer")
    branches = []
    for branch in spec.space.branches:
        path, before = _path(branch, spec), len(mistakes)
        bound = _branch(branch, f"{path}." if path else "", shape, complain)
        recipe = branch.tree.get("training", {})
        for field, value in recipe.items():
            for suffix, option in options_of(value):
                if reason := refusal(field, option, recipe):
                    at = _recipe_path(field, branch, spec)
                    complain(f"{at}{suffix}" if at else path, reason)
        if len(mistakes) == before and (error := _refused(bound, spec, shape)):
            at = _recipe_path(error.field, branch, spec) if isinstance(error, RecipeError) else ""
            rule = str(error) if at else f"this model takes no configuration of it: {error}"
            complain(at or path or "modules", rule)
        branches.append(bound)
    if mistakes:
        found = sorted(mistakes.values(), key=lambda m: (m.line is None, m.line or 0))
        raise SpecError(found, str(source or f"study {spec.name}"))
    return replace(spec, space=Space(tuple(branches)))


def _path(branch: Branch, spec: StudySpec) -> str:
    if branch.baseline:
        return f"baselines.{branch.name}"
    return f"space.{branch.name}" if "space" in spec.document else ""


def _recipe_path(field: str, branch: Branch, spec: StudySpec) -> str:
    """Where the file has a field of a branch's recipe; "": nowhere."""
    group = "baselines" if branch.baseline else "space"
    own = (spec.document.get(group) or {}).get(branch.name) or {}
    if field in (own.get("training") or {}):
        return f"{group}.{branch.name}.training.{field}"
    return f"training.{field}" if field in (spec.document.get("training") or {}) else ""


def _branch(branch: Branch, path: str, shape: ModelShape, complain: Complain) -> Branch:
    tree = dict(branch.tree)
    modules = [dict(module) for module in tree.get("modules", [])]
    if tree.get("layers") == {"bits": "own"}:
        tree.pop("layers")
        for module in modules:
            module.setdefault("layers", {"bits": "own"})
    elif "layers" in tree:
        tree["layers"] = bind_layers(tree["layers"], f"{path}layers", shape, complain)
    for i, module in enumerate(modules):
        at = f"{path}modules[{i}]"
        if "layers" in module:
            module["layers"] = bind_layers(module["layers"], f"{at}.layers", shape, complain)
        _head(module, at, shape, complain)
        if module["peft_type"] == "PREFIX_TUNING":
            _prefix(module, at, shape, complain)
        elif wraps_layers(module["peft_type"]):
            _module(module, at, shape, complain)
        elif "target_modules" in module:
            complain(
                f"{at}.target_modules",
                f"{module['peft_type']} trains rows of the input embeddings and takes none",
                "remove it",
            )
        if (field := size_field(module["peft_type"])) in module:
            reached = reached_layers(module, tree.get("layers", "all"), shape.layers)
            module[field] = spread(module[field], f"{at}.{field}", shape.layers, reached, complain)
    if modules:
        tree["modules"] = modules
    return replace(branch, tree=tree)


def _head(module: dict[str, Json], path: str, shape: ModelShape, complain: Complain) -> None:
    """PEFT names the head in modules_to_save; it is trained and saved anyway."""
    saved = module.pop("modules_to_save", None) or []
    others = [name for name in saved if name not in (*_HEADS_OF_PEFT, *shape.head)]
    if others:
        complain(
            f"{path}.modules_to_save",
            f"the head is trained and saved anyway, and nothing else, got {', '.join(others)}",
            "remove it",
        )


def _prefix(module: dict[str, Json], path: str, shape: ModelShape, complain: Complain) -> None:
    count = module.get("num_layers")
    if count not in (None, shape.layers):
        complain(f"{path}.num_layers", f"the model has {shape.layers} layers, got {count!r}")
    for name in _PREFIX_SHAPE:
        module.pop(name, None)


def _module(module: Mapping[str, Json], path: str, shape: ModelShape, complain: Complain) -> None:
    targeted = _matched(module, "target_modules", path, shape, complain)
    if module.get("feedforward_modules") is not None:
        _matched(module, "feedforward_modules", path, shape, complain)
    _fits(module["peft_type"], targeted, f"{path}.target_modules", complain)
    _sizes(module, path, targeted, complain)
    _patterns(module, path, targeted, complain)
    if (own := module.get("layers_to_transform")) is not None:
        bind_layers(
            [own] if isinstance(own, int) else own, f"{path}.layers_to_transform", shape, complain
        )


def _matched(
    module: Mapping[str, Json], field: str, path: str, shape: ModelShape, complain: Complain
) -> list[TargetModule]:
    """Every module that any option of a field of names matches."""
    found: list[TargetModule] = []
    for suffix, value in options_of(module.get(field)):
        entries = list(value.options) if isinstance(value, Subset) else value
        if not entries and field == "feedforward_modules":
            continue
        at = f"{path}.{field}{suffix}"
        for inner, entry in _entries(entries):
            if not isinstance(entry, str) and (inner or entry):
                complain(at + inner, f"{field} takes names of modules, got {entry!r}")
                continue
            try:
                found += match_targets(entry, shape, module["peft_type"])
            except ValueError as error:
                complain(at + inner, str(error), _nearest_target(entry, shape))
    return found


def _nearest_target(entry: Json, shape: ModelShape) -> str:
    """The name of a module that a text is most like."""
    targets = shape.everything
    known = [name for m in targets for name in (m.kind.rpartition(".")[2], m.kind, m.role) if name]
    return nearest(entry, dict.fromkeys(known)) if isinstance(entry, str) else ""


def _entries(entries: Json) -> Iterator[tuple[str, Json]]:
    if not isinstance(entries, list):
        yield "", entries
        return
    if not entries:
        yield "", entries
    for i, entry in enumerate(entries):
        for suffix, option in options_of(entry):
            yield f"[{i}]{suffix}", option


def _fits(peft_type: str, matched: list[TargetModule], path: str, complain: Complain) -> None:
    wraps = CAPABILITIES[peft_type].wraps
    wrong = [f"{m.kind} ({wrapped_as(m)})" for m in matched if wrapped_as(m) not in wraps]
    if wrong:
        got = ", ".join(dict.fromkeys(wrong))
        complain(path, f"{peft_type} wraps {', '.join(sorted(wraps))}, got {got}")


def _sizes(
    module: Mapping[str, Json], path: str, targeted: list[TargetModule], complain: Complain
) -> None:
    if module["peft_type"] not in _LOW_RANK or not targeted:
        return
    size = size_field(module["peft_type"])
    least = min(min(target.inputs, target.outputs) for target in targeted)
    for suffix, value in numbers_of(module.get(size)):
        largest = value.high if isinstance(value, Range) else value
        if isinstance(largest, int | float) and largest > least:
            complain(
                f"{path}.{size}{suffix}",
                f"{size} stays within the narrowest targeted module ({least}), got {largest}",
                f"lower it to {least}",
            )


def _patterns(
    module: Mapping[str, Json], path: str, targeted: list[TargetModule], complain: Complain
) -> None:
    """PEFT reads the keys of these as regular expressions on the end of a module's name."""
    names = {target.name for target in targeted}
    for field in ("rank_pattern", "alpha_pattern"):
        for suffix, patterns in options_of(module.get(field)):
            for pattern in patterns if isinstance(patterns, Mapping) and names else ():
                try:
                    matches = any(re.match(rf"(.*\.)?({pattern})$", name) for name in names)
                except re.error as error:
                    complain(f"{path}.{field}{suffix}", f"{pattern!r} is no pattern: {error}")
                    continue
                if not matches:
                    kinds = ", ".join(dict.fromkeys(target.kind for target in targeted))
                    complain(
                        f"{path}.{field}{suffix}.{pattern}",
                        f"{pattern!r} matches no targeted module: they are {kinds}",
                    )


def _refused(branch: Branch, spec: StudySpec, shape: ModelShape) -> Exception | None:
    """The first refusal where every drawn point is refused, else nothing."""
    rng, first = np.random.default_rng(0), None
    spec = replace(spec, space=Space((branch,)))
    for _ in range(_DRAWS if branch.parameters else 1):
        try:
            configuration = configured(spec, shape, spec.space.draw(rng))
            known_metrics(configuration.architecture, shape)
        except (ArithmeticError, TypeError, ValueError) as error:
            first = first or error
        else:
            return None
    return first

"""How to choose the next configuration.

    sampler = make_sampler("autopeft", {})
    suggestion = sampler.suggest(problem, history, seed=0)

A sampler loads its library (botorch, optuna) when it is made or first needed.

`model_based` is the engine, `random_sampler` the plainest other; each room imports what stands
after it alone:

    insight      what the surrogate says to people
    optuna       Optuna's samplers behind our port, studies in Optuna's words
    botorch      BoTorch's acquisition functions: samplers to measure against, and `as_optuna`
    candidates   the initial design, and the pool that the next trial is chosen from
    gain         what a trial is worth
    model        configurations as vectors, what is expected of them, what was told
    points       the points of a space
"""

from collections.abc import Mapping, Sequence
from typing import Any

from autopeft.domain.errors import AutopeftError
from autopeft.domain.ports import Sampler
from autopeft.search.model.earlier import Earlier

BOTORCH = ("botorch.qLogNEHVI", "botorch.qLogNParEGO", "botorch.AutoPEFT")

_OPTUNA = "optuna."


def make_sampler(name: str, options: Mapping[str, Any], sources: Sequence[Earlier] = ()) -> Sampler:
    """The sampler of a space file's `search.sampler`, with its options.

    name: `autopeft` (options `initial`, `candidates`, `budget`, `seeds`: see `ModelBasedSampler`),
    `random` (no options), `optuna.X`, a class of optuna.samplers with its arguments as options, or
    one of `BOTORCH` (options `initial`, `candidates`; `botorch.AutoPEFT` also `budget`).
    sources: earlier studies to start from; `autopeft` alone takes them.

    Raises:
        AutopeftError: no such sampler, or an option that it does not take.
    """
    if sources and name != "autopeft":
        raise AutopeftError(
            f"only sampler autopeft starts from earlier studies, got {name}: leave them out"
        )
    if name.startswith(_OPTUNA):
        from autopeft.search.optuna.sampler import OptunaSampler, known_names

        if name in known_names():
            return OptunaSampler(name.removeprefix(_OPTUNA), dict(options))
        raise AutopeftError(
            f"search.sampler takes a known sampler, got {name!r}: one of autopeft, random, "
            + ", ".join(known_names())
        )
    if name == "random":
        from autopeft.search.random_sampler import RandomSampler

        _counts(name, options, ())
        return RandomSampler()
    if name == "autopeft":
        from autopeft.search.model_based import ModelBasedSampler

        sound = _counts(name, options, ("initial", "candidates", "budget", "seeds"))
        return ModelBasedSampler(sources=tuple(sources), **sound)
    if name in BOTORCH:
        known = ("initial", "candidates", *(("budget",) if name == "botorch.AutoPEFT" else ()))
        sound = _counts(name, options, known)
        from autopeft.search.botorch.samplers import BoTorchSampler

        return BoTorchSampler(name, **sound)
    raise AutopeftError(
        f"search.sampler takes a known sampler, got {name!r}: one of autopeft, random, "
        f"optuna.TPESampler, optuna.NSGAIISampler, {', '.join(BOTORCH)}, "
        "or another class of optuna.samplers"
    )


def _counts(name: str, options: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """Check options that are whole numbers of at least 1."""
    for option, value in options.items():
        if option not in known:
            raise AutopeftError(
                f"sampler {name} takes {', '.join(known) or 'no options'}, got {option!r}: "
                "remove it or correct its name"
            )
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise AutopeftError(
                f"sampler {name}: {option} takes a whole number from 1, got {value!r}: raise it"
            )
    return dict(options)

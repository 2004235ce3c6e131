"""The trials of somebody else's Optuna study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autopeft.domain.errors import AutopeftError


@dataclass(frozen=True)
class OptunaTrials:
    """A study of a storage.

    directions: `maximize` or `minimize` of each of its values.
    rows: (name, parameters) and (n,) values of every completed trial. left_out: how many did not.
    """

    study: str
    directions: tuple[str, ...]
    rows: tuple[tuple[str, Mapping[str, Any], tuple[float, ...]], ...]
    left_out: int


def read_storage(url: str, study: str | None) -> OptunaTrials:
    """
    study: its name; may be left out where the storage has one.

    Raises:
        AutopeftError: the storage cannot be opened, has several studies or none of the name.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _must_exist(url)
    try:
        names = optuna.get_all_study_names(storage=url)
        name = _chosen(names, study, url)
        found = optuna.load_study(study_name=name, storage=url)
        trials = found.get_trials(deepcopy=False)
    except AutopeftError:
        raise
    except Exception as error:  # the database driver's own, of any kind
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AutopeftError(f"import cannot read the Optuna storage: {said}") from error
    done = [t for t in trials if t.state is optuna.trial.TrialState.COMPLETE]
    return OptunaTrials(
        name,
        tuple(direction.name.lower() for direction in found.directions),
        tuple((f"trial {t.number}", dict(t.params), tuple(t.values)) for t in done),
        len(trials) - len(done),
    )


def _must_exist(url: str) -> None:
    """SQLite would make an empty database of a wrong name."""
    from pathlib import Path

    prefix = "sqlite:///"
    if url.startswith(prefix) and not Path(url.removeprefix(prefix)).is_file():
        raise AutopeftError(f"there is no Optuna storage at {url}: name the file that is there")


def _chosen(names: Sequence[str], study: str | None, url: str) -> str:
    if study in names:
        return str(study)
    if study is None and len(names) == 1:
        return names[0]
    got = "none was named" if study is None else f"got {study!r}"
    raise AutopeftError(
        f"--optuna-study names a study of the storage, {got}: it has {', '.join(names) or 'none'}"
    )

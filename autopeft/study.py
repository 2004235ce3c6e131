"""Studies from Python: look at one, take its best, hand it to PEFT.

study = autopeft.load_study("quickstart")
chosen = study.best("trainable_params <= 50000")
model = peft.get_peft_model(base, chosen.peft_config())
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autopeft import build, entry
from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import AutopeftError
from autopeft.domain.model import ModelShape
from autopeft.domain.results.front import front
from autopeft.domain.results.pick import parse_when, pick
from autopeft.domain.results.prices import Neighbour
from autopeft.domain.results.replicates import averaged, completed, confirmed, fresh, searched
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.home import Home
from autopeft.namespaces import whole_name

if TYPE_CHECKING:
    from peft import PeftConfig


@dataclass(frozen=True)
class Chosen:
    """A trial of a study, and why it was chosen.

    A configuration that ran at several seeds is its first completed trial: that one's adapter is
    kept, and exported with what that trial measured.

    beside: its neighbours on the front, within the limits that it was chosen by.
    """

    study: "Study"
    trial: Trial
    reason: str
    beside: tuple[Neighbour, ...] = ()

    @property
    def configuration(self) -> Configuration:
        return self.trial.configuration

    @property
    def mean(self) -> Trial:
        """The trial with the mean over the seeds of its configuration; itself where it has one."""
        means = {mean.number: mean for mean in averaged(self.study.trials)}
        return means.get(self.trial.number, self.trial)

    @property
    def confirmed(self) -> dict[str, Any] | None:
        """The fresh `seeds` of its configuration, and `metrics` and `stderr` over them."""
        key, trials = self.configuration.key, self.study.trials
        if key not in confirmed(trials):
            return None
        seeds = [t.seed for t in fresh(completed(trials)) if t.configuration.key == key]
        return {"seeds": seeds, "metrics": self.mean.metrics, "stderr": dict(self.mean.stderr)}

    @property
    def metrics(self) -> dict[str, float]:
        """What the trial measured."""
        return self.trial.metrics

    @property
    def adapter(self) -> Path:
        """The folder of the trained adapter; it exists for the front and the best baselines.

        Of a study whose files lie at a URL it is a copy, fetched where there is none yet.

        Raises:
            ArtifactError: it cannot be fetched.
        """
        study = self.study
        return build.adapter_folder(study.home, study.spec.name, self.trial.number, study.artifacts)

    def peft_config(self) -> "PeftConfig":
        """PEFT's own configuration object, ready for `get_peft_model`."""
        return build.peft_config(self.study.spec, self.study.shape, self.trial)

    def export(self, to: Path, *, force: bool = False) -> tuple[Path, ...]:
        """Write adapter, recipe, train.py and provenance; returns the files.

        Raises:
            ExportError: the trial is not complete, its adapter was not kept, or `to` is in use.
        """
        return build.export(
            self.study.spec,
            self.study.shape,
            self.trial,
            self.adapter,
            to,
            force=force,
            confirmed=self.confirmed,
        )

    def export_as(
        self,
        kind: str,
        to: Path,
        *,
        force: bool = False,
        servable: str | None = None,
        rank: float | None = None,
    ) -> tuple[Path, ...]:
        """Write it for another tool: `peft`, `script`, `trl`, `axolotl`, ...; returns the files.

        servable: `vllm`. rank: of `converted-lora`: a rank, or a share of energy in (0, 1).

        Raises:
            ExportError: the tool has no name for what the trial has, or `to` is in use.
        """
        return build.export_as(
            kind,
            self.study.spec,
            self.study.shape,
            self.trial,
            self.adapter,
            to,
            force=force,
            confirmed=self.confirmed,
            servable=servable,
            rank=rank,
        )

    def log_model(self, *, register: str | None = None) -> str:
        """Log the merged model with the trial's run in MLflow; returns MLflow's URI of it.

        register: name of the registered model that this becomes the next version of.

        Raises:
            ExportError: it cannot be merged, MLflow has no pipeline for the task, or its weights
                were not kept.
        """
        home, spec = self.study.home, self.study.spec
        return build.log_model(
            spec,
            self.study.shape,
            self.trial,
            self.adapter,
            home,
            build.open_store(home),
            register=register,
        )

    def export_suite(self, to: Path) -> tuple[Path, ...]:
        """Write the configuration as an experiment of the PEFT comparison suite.

        Raises:
            ExportError: the suite cannot train it, or the experiment is there already.
        """
        return build.export_suite(self.study.spec, self.study.shape, self.trial, to)


@dataclass(frozen=True)
class Study:
    """A study as the store has it now.

    artifacts: the URL where its checkpoints and adapters lie; None: in its folder of `home`.
    """

    spec: StudySpec
    trials: tuple[Trial, ...]
    home: Home
    owner: str | None = None
    artifacts: str | None = None

    @cached_property
    def shape(self) -> ModelShape:
        """The model's shapes; reads the model's config on first use."""
        return build.bound(self.spec)[1]

    @property
    def front(self) -> tuple[Trial, ...]:
        return front(self.spec.objectives, self.spec.constraints, self.trials)

    @property
    def modelled_front(self) -> tuple[Trial, ...]:
        """The front by the model's means, which stand in place of what was measured.

        Raises:
            AutopeftError: the study has several measured objectives.
        """
        believed = build.modelled(self.spec, searched(self.trials))
        return front(self.spec.objectives, self.spec.constraints, believed)

    def export_optuna(self, to: Path) -> Path:
        """Write all trials as an Optuna storage (SQLite), for optuna-dashboard.

        Raises:
            ExportError: the file is there already.
        """
        return build.export_optuna(self.spec, self.trials, to)

    def trial(self, number: int) -> Chosen:
        """A trial by its number.

        Raises:
            AutopeftError: there is none.
        """
        for trial in self.trials:
            if trial.number == number:
                return Chosen(self, trial, f"trial {number}, as asked for")
        raise AutopeftError(
            f"study {self.spec.name!r} has trials 0 to {len(self.trials) - 1}, got {number}: "
            f"see `autopeft front {self.spec.name}`"
        )

    def best(self, when: str = "", *, prefer: str | None = None) -> Chosen:
        """One trial of the front: the knee, or the best by `prefer`, within the limits `when`.

        Raises:
            AutopeftError: no trial is left, or a name is unknown.
        """
        chosen = pick(
            self.spec.objectives,
            self.spec.constraints,
            self.trials,
            when=parse_when(when),
            prefer=prefer,
            declared=self.spec.metrics,
        )
        found = self.trial(chosen.trial.number)
        return replace(found, reason=chosen.reason, beside=chosen.beside)


def load_study(name: str, *, home: Path | None = None) -> Study:
    """Read a study from the store of `home` (default: AUTOPEFT_HOME or ./autopeft-studies).

    name: `rte` of one's own namespace (AUTOPEFT_NAMESPACE), or `nlp/rte` of any.

    Raises:
        StudyError: there is none of this name.
    """
    place = Home.from_environment() if home is None else Home(home.resolve())
    store, name = build.open_store(place), whole_name(name)
    owner = store.study(name).owner
    spec = entry.stored(name, store)
    return Study(spec, store.history(name), place, owner, build.place_of(name, store))

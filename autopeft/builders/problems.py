"""What a study asks for, bound to its model."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

from autopeft import config
from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.configured import configured
from autopeft.domain.errors import AutopeftError
from autopeft.domain.estimates import Corpus, Setting, estimates
from autopeft.domain.model import NO_MODEL, ModelShape
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.objective import SERVED_BY
from autopeft.domain.ports import Problem
from autopeft.domain.recipes.processes import spread_out
from autopeft.domain.rules.fit import loads_quantised
from autopeft.domain.rules.serving import servable_metrics
from autopeft.domain.study import StudySpec


def bound(spec: StudySpec, source: Path | None = None) -> tuple[StudySpec, ModelShape]:
    """Read the model's shape and check the spec against it.

    source: the file that it came from, for the places of mistakes.

    Raises:
        SpecError: something that this model cannot take, data that are not there.
        StudyError: the study was imported.
    """
    from autopeft.importing import refuse_imported

    refuse_imported(spec)
    try:
        shape = own_shape(spec) if spec.evaluator is not None else _shape(spec)
    except AutopeftError as error:
        raise config.relocated(error, source, spec.document) from error
    if spec.trainer != "trl.SFTTrainer" or spec.evaluator is not None:
        return config.bind(spec, shape, source=source), shape
    from autopeft.training.template import refusal_of

    return config.bind(spec, shape, source=source, refusal=refusal_of(spec)), shape


def _shape(spec: StudySpec) -> ModelShape:
    from autopeft.training.loading.data import load_data
    from autopeft.training.loading.shapes import model_shape
    from autopeft.training.measuring.harness import check_harness_tasks
    from autopeft.training.measuring.judging import check_judged

    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    check_harness_tasks(spec)
    check_judged(spec, data)
    return model_shape(spec.model, folder=spec.folder, num_labels=max(len(data.labels), 1))


def shape_of(model: Mapping[str, str], *, folder: str) -> ModelShape:
    """The shape of a `model:` whose labels nobody has counted: two of them."""
    from autopeft.training.loading.shapes import model_shape

    return model_shape(model, folder=folder, num_labels=2)


def own_shape(spec: StudySpec) -> ModelShape:
    """The shape of the model that an evaluator's study names, if any."""
    if not spec.model:
        return NO_MODEL
    from autopeft.training.loading.shapes import model_shape

    labels = int(spec.model.get("num_labels", 2))
    return model_shape(spec.model, folder=spec.folder, num_labels=labels)


def check_own_code(spec: StudySpec) -> None:
    """Whether an evaluator or metrics can be imported here and called; nothing without any.

    Raises:
        AutopeftError: it cannot; with the traceback of the user's code where that raised.
    """
    if spec.evaluator is not None:
        from autopeft.training.own_function import find_function

        find_function(spec.evaluator, folder=spec.folder)
    if spec.own_metrics:
        from autopeft.training.measuring.own_metrics import check_own_metrics

        check_own_metrics(spec)


def problem(spec: StudySpec, shape: ModelShape) -> Problem:
    """What a sampler may know of a bound study."""
    return Problem(
        space=spec.space,
        objectives=spec.objectives,
        constraints=spec.constraints,
        shape=shape,
        configure=partial(configured, spec, shape),
        known=partial(_known, spec, shape),
        estimates=None if spec.evaluator else _estimates(spec, shape),
    )


def _known(spec: StudySpec, shape: ModelShape, architecture: Architecture) -> Mapping[str, float]:
    """What is exact before training, whether it can be served only where that is asked."""
    if spec.evaluator is not None and architecture.frozen:
        return {}  # parameters alone say nothing of what is trained
    found = known_metrics(architecture, shape)
    if spec.asked & {f"servable_{by}" for by in SERVED_BY}:
        quantized = loads_quantised(spec.model)
        return {**found, **servable_metrics(architecture, shape, quantized=quantized)}
    return found


def _estimates(
    spec: StudySpec, shape: ModelShape
) -> Callable[[Configuration], Mapping[str, float]]:
    """The estimates of cost; the data are read when the first is asked for."""
    setting = Setting.of(
        spec.model,
        spec.trainer,
        cuda=spec.resources.gpus_per_trial > 0,
        processes=spec.resources.processes_per_trial,
    )

    @cache
    def corpus() -> Corpus:
        from autopeft.training.loading.lengths import corpus_of

        return corpus_of(spec)

    def of(configuration: Configuration) -> Mapping[str, float]:
        with suppress(ValueError):  # of a trial from before the resources were changed
            configuration = spread_out(configuration, spec.resources.processes_per_trial)
        return estimates(configuration, shape=shape, corpus=corpus(), setting=setting)

    return of


def earlier_problem(spec: StudySpec) -> Problem:
    """The problem of an earlier study; its data may be gone."""
    from autopeft.training.loading.shapes import model_shape

    return problem(spec, model_shape(spec.model, folder=spec.folder, num_labels=2))

"""A point of a study's space as the configuration that a trial trains."""

from autopeft.domain.architecture import Configuration, canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape
from autopeft.domain.own_code import refuse_unreachable
from autopeft.domain.recipes.processes import refuse_alone, spread_out
from autopeft.domain.rules.fit import loads_quantised, refuse_unfit
from autopeft.domain.rules.trainer_rules import refuse_too_long, refuse_untrainable
from autopeft.domain.space import Point
from autopeft.domain.study import StudySpec


def configured(spec: StudySpec, shape: ModelShape, point: Point) -> Configuration:
    """What no worker would refuse for what is known before.

    Raises:
        ValueError: no trial can train it; a RecipeError where a field of the recipe is to blame.
    """
    found = canonical(
        spec.space.realise(point),
        branch=point["branch"],
        shape=shape,
        training=spec.training,
        defaults=PEFT_DEFAULTS,
    )
    refuse_unfit(
        found.architecture,
        shape=shape,
        task_type=spec.model.get("task_type", ""),
        quantized=loads_quantised(spec.model),
    )
    spread_out(found, spec.resources.processes_per_trial)  # or refuse it
    if spec.evaluator is not None:
        refuse_unreachable(found.architecture)
    else:
        refuse_alone(found, spec.resources.processes_per_trial)
        refuse_untrainable(found, shape, spec.trainer)
        refuse_too_long(found, shape, int(spec.data.get("max_length", 0)))
    return found

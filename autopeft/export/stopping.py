"""Early stopping of a trial in its train.py, and the file that it needs."""

from autopeft.domain.recipes.recipe import recipe_as_run
from autopeft.domain.recipes.stopping import EarlyStopping, settled_at
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.export.beside import renamed_file

FILE = "early_stopping.py"
_EVERY_ROW = "\n    trainer.args.dataloader_drop_last = False  # every row is measured"


def stopping_values(spec: StudySpec, trial: Trial, trainer: str) -> dict[str, str]:
    """What the templates say of it. trainer: the class of the study's trainer."""
    stopping = EarlyStopping.of(trial.configuration.recipe)
    if stopping is None:
        drops = recipe_as_run(trial).get("dataloader_drop_last")
        return {
            "import_stopping": "",
            "trainer": trainer,
            "stop_early": "",
            "trained_best": _EVERY_ROW if drops else "",
        }
    settled = settled_at(trial.configuration.architecture, trial.provenance["total_steps"])
    judge = "measure"
    if stopping.metric in spec.own_metrics:
        judge = "lambda trainer: measure(trainer) | own_metrics(trainer, rows, None)"
    lines = [f"trainer.judge = {judge}"]
    lines += ["trainer.keeps_best = True"] if stopping.best else []
    said = [repr(stopping.patience), f"threshold={stopping.threshold!r}"]
    said += [f"settled={settled}"] if settled else []
    lines.append(f"trainer.add_callback(Patience({', '.join(said)}))")
    return {
        "import_stopping": f"from {FILE.removesuffix('.py')} import Patience, judged",
        "trainer": f"judged({trainer})",
        "stop_early": "".join(f"\n    {line}" for line in lines),
        "trained_best": "\n    trainer.back_to_best()" if stopping.best else "",
    }


def stopping_files(trial: Trial) -> dict[str, str]:
    """By name; {} where the recipe asks for none."""
    if EarlyStopping.of(trial.configuration.recipe) is None:
        return {}
    return renamed_file(FILE, "training.stopping")

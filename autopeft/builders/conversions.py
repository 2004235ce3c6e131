"""A trial's adapter converted and measured again: where training and export meet."""

from pathlib import Path
from typing import TYPE_CHECKING

from autopeft.domain.errors import ExportError
from autopeft.domain.space import Json
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Segment, Stop, Trial

if TYPE_CHECKING:
    from autopeft.export.converted import Convert


def converter(spec: StudySpec, trial: Trial, adapter: Path) -> "Convert":
    """Load base and data, and give what converts the trial's adapter and measures both."""
    from peft import PeftConfig, PeftModel

    from autopeft.export.converted import told_of, write_lora
    from autopeft.training.evaluator import open_bench
    from autopeft.training.loading.data import load_data
    from autopeft.training.pausing import NotFiniteError
    from autopeft.training.trial import remeasure

    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    bench = open_bench(spec, data, Path(spec.folder))
    segment = Segment(
        spec.name, trial.number, trial.configuration, trial.seed, 0, Stop(), resume=False, last=True
    )

    def convert(rank: float, folder: Path) -> dict[str, Json]:
        try:
            model = _loaded(adapter)
            ranks = write_lora(model, rank, folder)  # first: what PEFT refuses need not be measured
            before, _ = remeasure(bench, segment, model)
            after, _ = remeasure(bench, segment, _loaded(folder))
        except NotFiniteError as error:
            raise ExportError(f"the converted adapter cannot be measured: {error}") from error
        return told_of(rank, ranks, before, after)

    def _loaded(folder: Path) -> PeftModel:
        # Trainable: a trainer takes no quantised model without something to train; prompts, which
        # PEFT loads for inference alone, are never measured.
        trainable = not PeftConfig.from_pretrained(str(folder)).is_prompt_learning
        return PeftModel.from_pretrained(
            bench.base.copy(trial.seed), str(folder), is_trainable=trainable
        )

    return convert

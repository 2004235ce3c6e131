"""What trains with TRL on a base in 4 bits, on the CPU's own kernels."""

from dataclasses import replace

import pytest
from tiny_models import make_model
from training.test_sft import no_report, spec  # noqa: F401 - a fixture

from autopeft.domain.architecture import canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.trial import Failure, FailureReason, Result, Segment, Stop
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.loading.shapes import model_shape

LORA = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj", "v_proj"]}
RECIPE = {"learning_rate": 1e-3, "per_device_train_batch_size": 4, "max_steps": 4, "max_length": 48}


@pytest.fixture(scope="module")
def run(spec, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("nf4")
    make_model("llama", folder / "llama", "CAUSAL_LM", hidden_size=64, intermediate_size=128)
    bits = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_compute_dtype": "bfloat16",
    }
    model = {"model_name_or_path": str(folder / "llama"), "task_type": "CAUSAL_LM"}
    quantised = replace(spec, model={**model, "quantization_config": bits})
    shape = model_shape(quantised.model, folder=quantised.folder, num_labels=1)
    worker = TrialEvaluator(quantised, folder / "home")

    def of(tree, **recipe):
        configuration = canonical(
            tree, branch="b", shape=shape, training=RECIPE | recipe, defaults=PEFT_DEFAULTS
        )
        work = Segment("sft", 0, configuration, 0, 0, Stop(), False, True)
        return worker.run(work, no_report)

    return of


@pytest.mark.parametrize("allocation", ["uniform", "eva", "random", "ist"])
def test_an_allocation_trains_on_it(run, allocation):
    result = run({"modules": [LORA], "allocation": allocation})
    assert isinstance(result, Result), result
    assert (allocation in ("eva", "random")) == ("ranks" in result.provenance)


@pytest.mark.parametrize("kind", ["HIRA", "PVERA", "ROAD", "VERA"])
def test_what_meets_float32_needs_mixed_precision_and_says_so(run, kind):
    fields = {"group_size": 8} if kind == "ROAD" else {}
    tree = {"modules": [{"peft_type": kind, "target_modules": ["q_proj", "v_proj"], **fields}]}
    failure = run(tree)
    assert isinstance(failure, Failure), failure
    assert failure.reason is FailureReason.UNFIT
    assert failure.message == f"{kind} on a quantised base needs bf16: true in training"
    result = run(tree, bf16=True)
    assert isinstance(result, Result), result

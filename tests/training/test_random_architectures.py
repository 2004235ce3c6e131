"""Any architecture that fits is counted by formula as it is built, trained and stored."""

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_models import make_model

from autopeft.domain.architecture import Configuration, canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.networks.allocation import found_before_training
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.rules.fit import refuse_unfit
from autopeft.training.inject import build
from autopeft.training.loading.model import load_base
from autopeft.training.loading.shapes import model_shape
from autopeft.tuners.composite import is_composite, save_composite

STEPS = 60
ROLES = ["attention.query", "attention.value", "attention.output", "feed_forward.down", "norm"]
ROLES += ["attention.query,feed_forward.up", "all-linear", "attention", "feed_forward"]
SIZES = {
    "ADALORA": "init_r",
    "FOURIERFT": "n_frequency",
    "PARALLEL_ADAPTER": "bottleneck_size",
    "PREFIX_TUNING": "num_virtual_tokens",
    "SERIAL_ADAPTER": "bottleneck_size",
}
UNSIZED = ["IA3", "LN_TUNING", "BEFT", "SSF", "ROAD"]
SIZED = ["LORA", "LORA", "LOHA", "LOKR", "DELORA", "HRA", "MISS", "SHIRA", "PACA", "SVFIT", *SIZES]
ALLOCATIONS = ["uniform", "uniform", "adalora", "ist", "lisa", "increlora", "spt", "random"]


@st.composite
def modules(draw):
    peft_type = draw(st.sampled_from([*SIZED, *UNSIZED]))
    module = {"peft_type": peft_type}
    if peft_type in SIZED:
        module[SIZES.get(peft_type, "r")] = draw(st.integers(0, 6))
    if peft_type == "ADALORA":
        module["target_r"] = max(1, module["init_r"] - 1)
    if peft_type == "LORA":
        module |= {
            "use_dora": draw(st.booleans()),
            "init_lora_weights": draw(st.sampled_from([True, "gaussian", "pissa", "mica"])),
        }
    if peft_type == "SERIAL_ADAPTER":
        module["phm_dim"] = draw(st.sampled_from([0, 0, 2]))
    if peft_type == "PREFIX_TUNING":
        module["prefix_projection"] = draw(st.booleans())
    else:
        module["target_modules"] = draw(st.sampled_from(ROLES)).split(",")
    if draw(st.booleans()):
        module["layers"] = draw(st.lists(st.integers(0, 2), min_size=1, unique=True))
    return module


trees = st.fixed_dictionaries(
    {
        "modules": st.lists(modules(), min_size=1, max_size=3),
        "layers": st.sampled_from(["all", {"last": 2}, {"first": 1}, [0, 2]]),
        "allocation": st.sampled_from(ALLOCATIONS),
    }
)


@pytest.fixture(scope="module", params=["bert", "llama", "gpt2"])
def host(request, tmp_path_factory):
    folder = make_model(request.param, tmp_path_factory.mktemp(request.param), "SEQ_CLS")
    model = {"model_name_or_path": str(folder), "task_type": "SEQ_CLS"}
    shape = model_shape(model, folder=".", num_labels=2)
    return shape, load_base(model, folder=".", labels=("a", "b"), head=shape.head)


def _parallel(targets, **placed):
    module = {"peft_type": "PARALLEL_ADAPTER", "bottleneck_size": 1, "target_modules": targets}
    return module | placed


# A block around one target of a module whose other targets stand as high as the block.
@example(
    tree={
        "modules": [
            _parallel(["attention.query", "feed_forward.up"]),
            _parallel(["attention"], layers=[0]),
        ],
        "layers": "all",
        "allocation": "uniform",
    }
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(tree=trees)
def test_what_fits_is_counted_as_it_is_built_and_stored(host, tmp_path_factory, tree):
    shape, base = host
    try:
        architecture = canonical(
            tree, branch="b", shape=shape, training={}, defaults=PEFT_DEFAULTS
        ).architecture
        refuse_unfit(architecture, shape=shape, task_type="SEQ_CLS")
        known = known_metrics(architecture, shape)
    except ValueError:
        assume(False)
    ranks = None
    if found_before_training(architecture):  # each at its average: equal shapes or not
        ranks = {
            t: int(module.fields.get("r", 8))
            for module in architecture.modules
            for t in module.targets
        }
    model = build(
        base,
        Configuration("b", architecture, {}),
        task_type="SEQ_CLS",
        total_steps=STEPS,
        seed=0,
        ranks=ranks,
    )
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    stored = _stored(model, shape, tmp_path_factory.mktemp("stored"))
    numbers = sum(tensor.numel() for tensor in stored)
    width = sum(tensor.numel() * tensor.element_size() for tensor in stored)
    if ranks is not None:  # counted is the most that the budget buys
        assert trainable <= known["trainable_params"]
        assert numbers <= known["adapter_params"]
        return
    assert trainable == known["trainable_params"]
    if architecture.allocation[0] in ("adalora", "increlora") or any(
        module.peft_type == "ADALORA" for module in architecture.modules
    ):
        return  # stored at the ranks that training leaves
    if architecture.modules:
        assert numbers == known["adapter_params"]
        assert width == known["adapter_bytes"]


def _stored(model, shape, folder):
    if is_composite(model):
        save_composite(model, folder)
    elif hasattr(model, "peft_config"):
        model.save_pretrained(folder)
    return [
        tensor
        for path in folder.rglob("adapter_model.safetensors")
        for name, tensor in load_file(path).items()
        if not set(name.split(".")) & set(shape.head)
    ]

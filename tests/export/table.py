"""docs/exports.md's table: what each export makes of each method, as it really happens.

A row is a trial of a tiny Llama whose adapter was stirred, not trained. A cell is (word, reason).
"""

import copy
import json
import runpy
import warnings
from dataclasses import replace
from pathlib import Path

import peft
import torch
import yaml
from domain.matrix import base_of, logits, module_of, tiny_shape
from fakes import study_spec
from trl import ModelConfig, ScriptArguments, SFTConfig, TrlParser
from trl.trainer.utils import get_peft_config

from autopeft.allocation.data_inits import initial_adapter, save_plain_lora
from autopeft.domain.architecture import Architecture, Configuration, Module, canonical
from autopeft.domain.errors import ExportError
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.networks.capabilities import CAPABILITIES
from autopeft.domain.networks.data_inits import rewrites_base
from autopeft.domain.rules.fit import unfit
from autopeft.domain.rules.serving import unserved_after_folding
from autopeft.domain.trial import State, Trial
from autopeft.export import Prepared, export_adapter, export_suite, export_trial
from autopeft.export.configs import config_arguments, config_class
from autopeft.export.converted import RANK, to_lora, unconvertible
from autopeft.export.recipes import recipe_files
from autopeft.tuners.composite import inject_composite, load_composite, save_composite

FILE = Path(__file__).parents[2] / "docs" / "exports.md"
BEGIN, END = "<!-- table: made by `make coverage` -->\n", "<!-- end of the table -->\n"
COLUMNS = ("peft", "script", "trl", "axolotl", "llama-factory", "converted-lora", "vllm", "suite")
EXACT = "exact"
_CLOSE = 1e-3  # of the adapter's effect on the logits
_BUCKETS = (0.01, 0.05, 0.2)
_PROVENANCE = {
    "total_steps": 20,
    "threads": 1,
    "device": "cpu",
    "versions": dict.fromkeys(
        ("torch", "transformers", "accelerate", "datasets", "peft", "trl"), "1"
    ),
    "seed": 0,
}


def methods():
    """Name of the row -> a placed module, or the tree of a branch."""
    shape = tiny_shape("llama")
    lora = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj", "v_proj"]}
    found = {}
    for kind in CAPABILITIES:
        found[kind] = module_of(kind, "llama", shape)
    for name, more in {
        "rank_pattern": {"rank_pattern": {"q_proj": 2}},
        "use_rslora": {"use_rslora": True},
        "use_dora": {"use_dora": True},
        "lora_bias": {"lora_bias": True},
        "init pissa": {"init_lora_weights": "pissa"},
        "init eva": {"init_lora_weights": "eva"},
    }.items():
        found[f"LORA, {name}"] = {"modules": [lora | more]}
    for name in ("adalora", "increlora", "ist", "lisa", "owlore", "spt"):
        found[f"LORA, allocation {name}"] = {"modules": [lora], "allocation": name}
    both = {"peft_type": "SERIAL_ADAPTER", "bottleneck_size": 4}
    found["LORA with SERIAL_ADAPTER"] = {"modules": [lora, both]}
    found["full fine-tuning"] = {"full_fine_tuning": True}
    return found


class Row:
    """A trial, its built and stirred model, and the folder of its weights."""

    def __init__(self, tree, folder):
        self.shape = tiny_shape("llama")
        training = {"learning_rate": 1e-3, "warmup_steps": 2, "lr_scheduler_type": "cosine"}
        architecture = architecture_of(tree)
        configuration = Configuration("b", architecture, training)
        provenance = dict(_PROVENANCE)
        if architecture.allocation[0] == "spt":
            (module,) = architecture.modules
            provenance["ranks"] = {n: 2 + 4 * (i % 2) for i, n in enumerate(module.targets)}
        self.trial = Trial(
            3, configuration, 7, {}, {"eval_loss": 1.0}, state=State.COMPLETED,
            provenance=provenance,
        )  # fmt: skip
        self.folder, self.adapter = folder, folder / "adapter"
        base_of("llama").save_pretrained(folder / "base")
        self.spec = replace(
            study_spec(name="table"),
            model={"model_name_or_path": str(folder / "base"), "task_type": "CAUSAL_LM"},
            trainer="trl.SFTTrainer",
        )
        rows = [{"text": "a"}]
        self.prepared = Prepared(
            str(folder / "base"), {"dtype": "float32"}, (), {"train": rows, "validation": rows}
        )
        self.model = self._built()

    @property
    def configs(self):
        described = config_arguments(
            self.trial.configuration, self.shape, task_type="CAUSAL_LM", total_steps=20,
            ranks=self.trial.provenance.get("ranks"),
        )  # fmt: skip
        return [config_class(d["peft_type"])(**{k: v for k, v in d.items() if k != "peft_type"})
                for d in described]  # fmt: skip

    def _built(self):
        base = base_of("llama")
        torch.manual_seed(3)
        if self.trial.configuration.architecture.full_fine_tuning:
            base.save_pretrained(self.adapter)
            return base
        configs = self.configs
        several = len(configs) > 1
        model = (
            inject_composite(base, configs) if several else peft.get_peft_model(base, configs[0])
        )
        initial = None
        if any(map(rewrites_base, self.trial.configuration.architecture.modules)):
            initial = initial_adapter(model)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.05 * torch.randn_like(parameter)
        if several:
            save_composite(model, self.adapter)
        elif initial is not None:
            save_plain_lora(model, initial, self.adapter)
        else:
            model.save_pretrained(self.adapter)
        return model

    def off(self, model):
        """How far its logits are from the trial's, of the adapter's effect."""
        expected = logits(self.model, "llama")
        effect = (expected - logits(base_of("llama"), "llama")).norm()
        assert effect > 1e-4, "the adapter has to do something"
        return float((logits(model, "llama") - expected).norm() / effect)

    def written(self, name, **options):
        return export_adapter(
            self.spec, self.trial, shape=self.shape, adapter=self.adapter,
            to=self.folder / name, prepared=self.prepared, **options,
        )  # fmt: skip


def cells(tree, folder):
    """Column -> (word, reason) of a row; every export is really made."""
    row = Row(tree, folder)
    found = {}
    for column, of in {
        "peft": _peft, "script": _script, "trl": _trl, "axolotl": _recipe,
        "llama-factory": _recipe, "converted-lora": _converted, "vllm": _vllm, "suite": _suite,
    }.items():  # fmt: skip
        try:
            found[column] = of(row, column)
        except ExportError as refused:
            found[column] = "refused", str(refused)
    kinds = [m.peft_type for m in architecture_of(tree).modules] if isinstance(tree, Module) else []
    return {column: (word, _short(reason, *kinds)) for column, (word, reason) in found.items()}


def _peft(row, _):
    files = row.written("peft")
    to = row.folder / "peft"
    if (to / "composite.json").exists():
        loaded = load_composite(base_of("llama"), to)
    else:
        loaded = peft.PeftModel.from_pretrained(base_of("llama"), to)
    assert row.off(loaded) < _CLOSE
    ours = any(path.parent.name == "tuners" for path in files)
    return (f"{EXACT}, with `tuners/`" if ours else EXACT), ""


def _script(row, _):
    to = row.folder / "script"
    files = export_trial(
        row.spec, row.trial, shape=row.shape, adapter=None, to=to, prepared=row.prepared
    )
    if any(path.parent.name in ("tuners", "allocation") for path in files):
        compile((to / "train.py").read_text(), "train.py", "exec")  # run by test_same_bits.py
    elif not row.trial.configuration.architecture.full_fine_tuning:
        _same(runpy.run_path(str(to / "train.py"))["PEFT"], row)
    return EXACT, ""


def _trl(row, _):
    files = recipe_files("trl", row.spec, row.trial, row.shape, row.prepared)
    (row.folder / "sft.py").write_text(files["sft.py"])
    (row.folder / "sft.yaml").write_text(files["sft.yaml"])
    parser = TrlParser((ScriptArguments, SFTConfig, ModelConfig))
    _, _, model = parser.parse_args_and_config(["--config", str(row.folder / "sft.yaml")])
    if row.trial.configuration.architecture.full_fine_tuning:
        assert get_peft_config(model) is None
        return EXACT, ""
    _same(runpy.run_path(str(row.folder / "sft.py"))["PEFT"], row)
    if not model.use_peft:
        return f"{EXACT} by sft.py", ""
    _same(get_peft_config(model), row)
    return EXACT, ""


def _recipe(row, tool):
    files = recipe_files(tool, row.spec, row.trial, row.shape, row.prepared)
    told = yaml.safe_load(next(text for name, text in files.items() if name.endswith(".yaml")))
    assert told["learning_rate"] == 1e-3
    return EXACT, ""


def _converted(row, _):
    if reason := unconvertible(row.trial.configuration.architecture):
        return "refused", reason
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config, weights = to_lora(row.model, RANK)
    plain = peft.get_peft_model(base_of("llama"), config)
    assert not peft.set_peft_model_state_dict(plain, weights).unexpected_keys
    off = row.off(plain)
    if off < _CLOSE:
        return EXACT, ""
    bucket = next((b for b in _BUCKETS if off < b), None)
    return ("over 20 % off" if bucket is None else f"within {100 * bucket:g} %"), ""


def _vllm(row, _):
    architecture = row.trial.configuration.architecture
    if reason := unserved_after_folding(architecture, row.shape):
        return "refused", reason
    if architecture.full_fine_tuning:
        return "a whole model", ""
    row.written("vllm", vllm=True)
    told = json.loads((row.folder / "vllm" / "adapter_config.json").read_text())
    ratios = {told["alpha_pattern"].get(n, told["lora_alpha"]) / r
              for n, r in told["rank_pattern"].items()}  # fmt: skip
    assert ratios <= {told["lora_alpha"] / told["r"]}
    loaded = peft.PeftModel.from_pretrained(base_of("llama"), row.folder / "vllm")
    assert row.off(loaded) < _CLOSE
    return EXACT, ""


def _suite(row, _):
    export_suite(
        row.spec, row.trial, shape=row.shape, prepared=row.prepared, to=row.folder / "suite"
    )
    return EXACT, ""


def _same(config, row):
    """The same network: PEFT's configs with the same fields."""
    (ours,) = row.configs
    told, expected = (copy.deepcopy(c).to_dict() for c in (config, ours))
    for fields in (told, expected):
        for name, value in fields.items():
            fields[name] = sorted(value) if isinstance(value, set) else value
        if isinstance(fields.get("target_modules"), list):
            fields["target_modules"] = sorted(fields["target_modules"])
    assert told == expected


def _short(said, *kinds):
    """The reason without what row and column say: the type, the trial, the tool."""
    for before in (
        "has no name for what trial 3 has: ",
        "does not take trial 3: ",
        "trial 3 is or has ",
    ):
        if before in said:
            said = said.partition(before)[2]
    for after in (". Take --to script", ": choose another trial or"):
        said = said.partition(after)[0]
    for kind in kinds:
        said = said.replace(f"peft_type {kind}", "this type").replace(kind, "this type")
    return said.replace("trial 3", "it")


def searchable():
    """Rows that a search on this model may hold."""
    shape = tiny_shape("llama")
    for name, tree in methods().items():
        modules = architecture_of(tree).modules
        if any(CAPABILITIES[m.peft_type].unsearchable for m in modules):
            continue
        if not any(unfit(m, shape=shape, task_type="CAUSAL_LM") for m in modules):
            yield name, tree


def architecture_of(tree):
    if isinstance(tree, Module):
        return Architecture((tree,))
    built = canonical(
        tree, branch="b", shape=tiny_shape("llama"), training={}, defaults=PEFT_DEFAULTS
    )
    return built.architecture


def render(rows):
    """The table of {row: {column: (word, reason)}}."""
    notes = {}
    lines = [["method", *COLUMNS], ["---"] * (1 + len(COLUMNS))]
    for name, found in rows.items():
        line = [name]
        for column in COLUMNS:
            word, reason = found[column]
            number = notes.setdefault(reason, len(notes) + 1) if reason else None
            line.append(f"{word} ({number})" if number else word)
        lines.append(line)
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"\n{table}\n" + "".join(f"{i}. {reason}\n" for reason, i in notes.items()) + "\n"

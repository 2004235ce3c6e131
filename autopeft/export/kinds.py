"""What train.py does that depends on the kind of task, for the transformers trainers.

A file of `templates/kinds` holds the functions of a kind: `read` (rows, inputs) and `measure`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from autopeft.domain.errors import ExportError
from autopeft.domain.model import ModelShape
from autopeft.domain.space import Json
from autopeft.domain.tasks import TaskKind
from autopeft.export.prepared import Prepared
from autopeft.export.source import constant, further, literal

_FRAGMENTS = Path(__file__).with_name("templates") / "kinds"
_HEAD = """
    set_seed(SEED)
    for name in HEAD:
        for module in getattr(model, name).modules():
            if isinstance(module, torch.nn.Linear):
                std = getattr(model.config, "initializer_range", 0.02)
                torch.nn.init.normal_(module.weight, std=std)
                if module.bias is not None:
                    torch.nn.init.zeros_(module.bias)"""
_PAD = """
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id"""


@dataclass(frozen=True)
class Written:
    """How a kind is written.

    auto_class: of transformers; read, measure: whose functions it takes.
    functional: of torch.nn.functional; more: of transformers.
    collator: after the other arguments of the trainer.
    """

    auto_class: str
    read: str
    measure: str
    functional: str = "cross_entropy"
    more: tuple[str, ...] = ()
    collator: str = ""
    trainer: tuple[str, str] = ("Trainer", "TrainingArguments")


_SEQUENCE = "AutoModelForSequenceClassification"
KINDS: Mapping[str, Written] = {
    "SEQ_CLS": Written(_SEQUENCE, "seq_cls", "seq_cls"),
    "SEQ_CLS regression": Written(_SEQUENCE, "seq_cls", "regression", functional=""),
    "SEQ_CLS multi_label_classification": Written(
        _SEQUENCE, "seq_cls", "multi_label", functional="binary_cross_entropy_with_logits"
    ),
    "TOKEN_CLS": Written(
        "AutoModelForTokenClassification",
        "token_cls",
        "token_cls",
        more=("DataCollatorForTokenClassification",),
        collator="DataCollatorForTokenClassification(tokenizer)",
    ),
    "SEQ_2_SEQ_LM": Written(
        "AutoModelForSeq2SeqLM",
        "seq2seq",
        "seq2seq",
        more=("DataCollatorForSeq2Seq",),
        collator="DataCollatorForSeq2Seq(tokenizer, model=model)",
        trainer=("Seq2SeqTrainer", "Seq2SeqTrainingArguments"),
    ),
    "IMAGE_CLS": Written("AutoModelForImageClassification", "image_cls", "seq_cls"),
}
"""By the name of a kind; a language model has a template of its own."""


def auto_class(kind: TaskKind) -> str:
    """The class of transformers that loads a kind's model."""
    return KINDS[kind.name].auto_class if kind.name in KINDS else "AutoModelForCausalLM"


def head_arguments(kind: TaskKind, labels: Sequence[str]) -> dict[str, Json]:
    """What `from_pretrained` is told of a new head; {} where there is none."""
    if kind.problem_type == "regression":
        return {"num_labels": 1, "problem_type": "regression"}
    if not labels:
        return {}
    problem = {"problem_type": kind.problem_type} if kind.problem_type else {}
    return {"num_labels": len(labels), **problem}


def kind_values(kind: TaskKind, prepared: Prepared, shape: ModelShape) -> dict[str, str]:
    """What the template of the transformers trainers says of a kind.

    Raises:
        ExportError: nobody wrote it for this kind.
    """
    if kind.name not in KINDS:
        raise ExportError(f"train.py can be written for {', '.join(KINDS)}, got {kind.name}")
    written = KINDS[kind.name]
    images = "image" in kind.columns
    reader = "processor" if images else "tokenizer"
    reads = "AutoImageProcessor" if images else "AutoTokenizer"
    names = sorted(
        {written.auto_class, reads, "set_seed", *written.more, *written.trainer},
        key=lambda name: (name == name.lower(), name),  # classes before functions, as ruff sorts
    )
    texts = 'batch["text"], batch["text_pair"]'
    if not any("text_pair" in row for row in prepared.splits["train"]):
        texts = 'batch["text"],'
    return {
        "import_functional": written.functional,
        "import_transformers": "\n".join(f"    {name}," for name in names),
        "constants": "\n".join(_constants(kind, prepared, shape)),
        "read": _section(written.read, "read").substitute(texts=texts),
        "measure": _section(written.measure, "measure").substitute(),
        "auto_class": written.auto_class,
        "trainer": written.trainer[0],
        "arguments": written.trainer[1],
        "load": _load(kind, prepared),
        "drawn": "head and adapter are drawn" if shape.head else "the adapter is drawn",
        "pad": "" if images else _PAD,
        "draw": _HEAD if shape.head else "",
        "collator": f"\n        data_collator={written.collator}," if written.collator else "",
        "reader": reader,
        "process": _process(kind, prepared, reader),
    }


def _constants(kind: TaskKind, prepared: Prepared, shape: ModelShape) -> list[str]:
    lines = []
    if prepared.labels:
        lines += ["# Names of the labels by id.", constant("LABELS", list(prepared.labels))]
    if shape.head:
        lines += ["# Beside the backbone, drawn anew and trained in full."]
        lines += [constant("HEAD", list(shape.head))]
    if prepared.max_length is not None:
        lines.append(f"MAX_LENGTH = {prepared.max_length}  # tokens; what is longer is cut")
    if prepared.max_target_length is not None:
        lines.append(f"MAX_TARGET_LENGTH = {prepared.max_target_length}")
    return lines


def _load(kind: TaskKind, prepared: Prepared) -> str:
    """The arguments of `from_pretrained`."""
    given = head_arguments(kind, prepared.labels)
    if not given:
        return "MODEL, **MODEL_ARGUMENTS"
    lines = [f"{name}={literal(value)}," for name, value in given.items()]
    if prepared.labels:
        lines[0] = "num_labels=len(LABELS),"
        lines.insert(1, "id2label=dict(enumerate(LABELS)),")
        lines.insert(2, "label2id={label: i for i, label in enumerate(LABELS)},")
    lines.append("ignore_mismatched_sizes=True,  # a head for other labels is drawn anew below")
    inner = "\n".join(f"        {line}" for line in ["MODEL,", *lines, "**MODEL_ARGUMENTS,"])
    return f"\n{inner}\n    "


def _process(kind: TaskKind, prepared: Prepared, reader: str) -> str:
    """The lines of main that load what makes rows into inputs."""
    options = further(prepared.processor_arguments)
    if reader == "processor":
        return f'    processor = AutoImageProcessor.from_pretrained(MODEL{options}, backend="pil")'
    return (
        f"    tokenizer = AutoTokenizer.from_pretrained(MODEL{options})\n"
        "    if tokenizer.pad_token is None:\n"
        "        tokenizer.pad_token = tokenizer.eos_token"
    )


def _section(fragment: str, name: str) -> Template:
    text = (_FRAGMENTS / f"{fragment}.py.tmpl").read_text(encoding="utf-8")
    (found,) = [part for part in text.split("#: ") if part.startswith(f"{name}\n")]
    return Template(found.removeprefix(f"{name}\n").rstrip("\n"))

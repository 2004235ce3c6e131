"""Texts that a model generates for validation rows, and how well they match the rows' own.

Greedy (or by beams): the same model gives the same text. Rows are those of TRL: `prompt` and
`completion`, texts or messages, or `messages`, whose last answer is what is compared; those of an
encoder and decoder have `text` and `target`.
"""

import copy
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig

from autopeft.domain.errors import AutopeftError
from autopeft.domain.generation import GENERATED, Generation
from autopeft.training.ranks import rows_over_ranks
from autopeft.training.scoring.batches import padded

Row = Mapping[str, Any]
Scores = tuple[dict[str, float], dict[str, float]]
"""Metrics by name, and their standard errors."""
_NUMBER = re.compile(r"(?<![\d.])-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_MARK = "####"  # stands before the answer in GSM8K (Cobbe et al. 2021, arXiv 2110.14168)


def generation_metrics(
    model: Any,
    processor: Any,
    rows: Sequence[Row],
    asked: Collection[str],
    config: Generation,
    *,
    batch_size: int,
    longest: int | None = None,
    own: Callable[[list[str], list[str]], Scores] | None = None,
) -> Scores:
    """The asked metrics of `GENERATED` as means over `config.rows` rows, and standard errors.

    own: what the texts and the rows' own are handed to besides, and what it makes of them.
    """
    chosen = spread(rows, config.rows)
    texts = rows_over_ranks(
        chosen,
        lambda some: generate_texts(
            model, processor, some, config, batch_size=batch_size, longest=longest
        ),
    )
    references = [reference(row) for row in chosen]
    metrics, errors = {}, {}
    for name in (name for name in GENERATED if name in asked):
        score = scorer(name)
        scores = [score(*pair) for pair in zip(texts, references, strict=True)]
        metrics[name] = float(np.mean(scores))
        errors[name] = float(np.std(scores) / np.sqrt(len(scores)))
    more = own(texts, references) if own else ({}, {})
    return metrics | more[0], errors | more[1]


def check_generated(
    rows: Sequence[Row], asked: Collection[str], config: Generation, *, own: bool = False
) -> None:
    """Whether the asked metrics can be measured on these rows at all.

    own: whether metrics of the user's read the texts.

    Raises:
        AutopeftError: what is missing.
    """
    wanted = [name for name in GENERATED if name in asked]
    if not wanted and not own:
        return
    for name in wanted:
        scorer(name)
    for row in spread(rows, config.rows):
        prompt(row)
        if "numeric_answer" in wanted and last_number(reference(row)) is None:
            raise AutopeftError(
                "numeric_answer needs a number in every validation row's completion, "
                f"got {reference(row)[-80:]!r}: take another metric or drop such rows"
            )


def spread(rows: Sequence[Row], count: int) -> list[Row]:
    """At most so many of the rows, evenly spread: files are often sorted."""
    if len(rows) <= count:
        return list(rows)
    return [rows[int(i)] for i in np.linspace(0, len(rows) - 1, count).round()]


def prompt(row: Row) -> str | list[Row]:
    """What the model is given: a text, or the messages before the last answer.

    Raises:
        AutopeftError: the row has no prompt, or no answer after it.
    """
    if "prompt" in row and "completion" in row:
        given: str | list[Row] = row["prompt"]
        return given
    if "target" in row:
        return str(row["text"])
    messages = row.get("messages") or []
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise AutopeftError(
            f"{', '.join(GENERATED)} and metrics of your own need validation rows with prompt and "
            f"completion, or messages that end with the assistant's, got {', '.join(row)}: "
            "name them under data.columns"
        )
    return list(messages[:-1])


def reference(row: Row) -> str:
    """What a generated text is compared with."""
    if "target" in row:
        return str(row["target"])
    if "completion" in row:
        completion = row["completion"]
        return completion if isinstance(completion, str) else str(completion[-1]["content"])
    return str(row["messages"][-1]["content"])


def prompt_ids(row: Row, processor: Any, room: int) -> list[int]:
    """The last `room` tokens of what a decoder goes on from."""
    given = prompt(row)
    if isinstance(given, str):
        ids = list(processor(text=given)["input_ids"])
        if ids and ids[-1] == processor.eos_token_id:  # some tokenizers end every text
            ids.pop()
        return ids[-room:]
    found = processor.apply_chat_template(
        given,
        tools=row.get("tools"),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        **(row.get("chat_template_kwargs") or {}),
    )["input_ids"]
    return list(found)[-room:]


def _encoder_ids(row: Row, processor: Any, room: int) -> list[int]:
    return list(processor(text=prompt(row), truncation=True, max_length=room)["input_ids"])


def generate_texts(
    model: Any,
    processor: Any,
    rows: Sequence[Row],
    config: Generation,
    *,
    batch_size: int = 8,
    longest: int | None = None,
) -> list[str]:
    """The model's text for every row, without its prompt and without special tokens.

    A decoder's prompts are padded on the left, and lose their beginning where they leave no room
    for `max_new_tokens`; an encoder's are padded and cut on the right, as in training.

    longest: tokens that an encoder was trained to read; None: as many as it has positions.

    Raises:
        AutopeftError: the model has no room for so many new tokens.
    """
    encoder = bool(model.config.is_encoder_decoder)
    room = _room(model, 0 if encoder else config.max_new_tokens)
    if encoder:
        ids = [_encoder_ids(row, processor, min(room, longest or room)) for row in rows]
    else:
        ids = [prompt_ids(row, processor, room) for row in rows]
    wanted = _wanted(model, processor, config)
    tokenizer = {"tokenizer": processor} if wanted.stop_strings else {}
    longest_first = sorted(range(len(rows)), key=lambda i: (-len(ids[i]), i))
    size = config.batch_size or batch_size
    texts: dict[int, str] = {}
    was_training = model.training
    model.eval()
    for start in range(0, len(rows), size):
        some = longest_first[start : start + size]
        batch = padded([ids[i] for i in some], wanted.pad_token_id, left=not encoder)
        batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
        with torch.no_grad():
            found = model.generate(**batch, generation_config=wanted, **tokenizer)
        new = found if encoder else found[:, batch["input_ids"].shape[1] :]
        texts |= zip(some, processor.batch_decode(new, skip_special_tokens=True), strict=True)
    model.train(was_training)
    return [texts[i] for i in range(len(rows))]


def _wanted(model: Any, processor: Any, config: Generation) -> GenerationConfig:
    """The model's own generation config, its stop tokens above all, made greedy."""
    wanted = copy.deepcopy(model.generation_config)
    ours: dict[str, Any] = {
        "do_sample": False,
        "num_beams": 1,
        "num_return_sequences": 1,
        "use_cache": True,
    }
    drawing = dict.fromkeys(("temperature", "top_k", "top_p", "min_p", "typical_p", "max_length"))
    ours["max_new_tokens"] = config.max_new_tokens
    wanted.update(**{**drawing, **ours, **config.options})
    if wanted.eos_token_id is None:
        wanted.eos_token_id = processor.eos_token_id
    if wanted.pad_token_id is None:
        wanted.pad_token_id = processor.pad_token_id
    return wanted


def _room(model: Any, new: int) -> int:
    """Tokens that a prompt may have, virtual ones of a prompt tuner aside."""
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not most:
        return 10**9
    configs = getattr(model, "peft_config", None)
    virtual = sum(
        getattr(found, "num_virtual_tokens", None) or 0
        for found in (configs.values() if isinstance(configs, dict) else ())
    )
    room = int(most) - virtual - new
    if room < 1:
        raise AutopeftError(
            f"the model has {most} positions, evaluation.generate.max_new_tokens {new} leaves none "
            "for a prompt: lower it"
        )
    return room


def scorer(name: str) -> Callable[[str, str], float]:
    """(generated text, reference) -> the row's score.

    Raises:
        AutopeftError: the package that computes it is not installed.
    """
    if name == "exact_match":
        return lambda text, truth: float(text.strip() == truth.strip())
    if name == "numeric_answer":
        return lambda text, truth: float(last_number(text) == last_number(truth))
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise AutopeftError(
            f"{name} needs the package rouge_score, it is not installed: "
            "pip install 'autopeft[rouge]'"
        ) from error
    rouge = RougeScorer([name])
    return lambda text, truth: float(rouge.score(truth, text)[name].fmeasure)


def last_number(text: str) -> float | None:
    """The number after the last `####`, or else the last one; None where there is none."""
    for part in (text.rpartition(_MARK)[2], text):
        if found := _NUMBER.findall(part):
            return float((found[0] if part != text else found[-1]).replace(",", ""))
    return None

"""Multiple choice by likelihood, as evaluation harnesses score it.

A row has `prompt`, `choices` (texts) and `answer` (the right one's index, or its text). What is
trained on is the prompt and the right choice; what is scored is every choice after the prompt:

    l(c) = sum over the tokens t of c of log p(t | prompt, tokens before t)

    accuracy        the right choice has the largest l(c)
    accuracy_norm   ... the largest l(c) / bytes of c, so that long choices are not at a loss

Between prompt and choice stands a space, where neither brings one; it is no byte of the choice.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import log_softmax

from autopeft.domain.errors import AutopeftError
from autopeft.training.ranks import rows_over_ranks
from autopeft.training.scoring.batches import padded

Row = Mapping[str, Any]


def answer_index(row: Row, where: str) -> int:
    """Which of the row's choices is right.

    where: what messages call the row's split.

    Raises:
        AutopeftError: the row has no prompt, fewer than two choices, or no right one.
    """
    choices, answer = row.get("choices"), row.get("answer")
    if not isinstance(choices, list) or len(choices) < 2 or not all(map(_text, choices)):
        raise AutopeftError(
            f"{where} needs two texts or more as choices in every row, got {choices!r}"
        )
    if not row.get("prompt"):
        raise AutopeftError(f"{where} needs a prompt in every row that has choices, got none")
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        return answer
    if answer in choices:
        return int(choices.index(answer))
    raise AutopeftError(
        f"{where} needs the index or the text of one of its choices as answer, got {answer!r} "
        f"for {choices!r}"
    )


def _text(choice: Any) -> bool:
    return isinstance(choice, str) and bool(choice.strip())


def completion(prompt: Any, choice: str) -> Any:
    """The choice as TRL's completion of the prompt, which is a text or messages."""
    if not isinstance(prompt, str):
        return [{"role": "assistant", "content": choice}]
    return choice if prompt[-1].isspace() or choice[0].isspace() else " " + choice


def choice_metrics(
    model: Any, processor: Any, rows: Sequence[Row], *, batch_size: int
) -> tuple[dict[str, float], dict[str, float]]:
    """`accuracy` and `accuracy_norm` over rows, and their standard errors."""
    found = rows_over_ranks(
        rows, lambda some: likelihoods(model, processor, some, batch_size=batch_size)
    )
    right = np.array([row["answer"] for row in rows])
    plain = np.array([np.argmax(scores) for scores in found]) == right
    sizes = [np.array([len(c.encode()) for c in row["choices"]]) for row in rows]
    normed = np.array([np.argmax(s / b) for s, b in zip(found, sizes, strict=True)]) == right
    hits = {"accuracy": plain, "accuracy_norm": normed}
    return (
        {name: float(values.mean()) for name, values in hits.items()},
        {name: float(values.std() / np.sqrt(len(values))) for name, values in hits.items()},
    )


def likelihoods(
    model: Any, processor: Any, rows: Sequence[Row], *, batch_size: int
) -> list[NDArray[Any]]:
    """For every row the (choices,) log-likelihoods l(c), in nat; answers are not looked at."""
    pairs = [(row["prompt"], choice) for row in rows for choice in row["choices"]]
    tokens = [_tokens(prompt, choice, processor) for prompt, choice in pairs]
    longest_first = sorted(range(len(tokens)), key=lambda i: (-len(tokens[i][0]), i))
    scores = np.zeros(len(tokens))
    was_training = model.training
    model.eval()
    for start in range(0, len(tokens), batch_size):
        some = longest_first[start : start + batch_size]
        scores[some] = _scores(model, [tokens[i] for i in some], processor.pad_token_id)
    model.train(was_training)
    ends = np.cumsum([len(row["choices"]) for row in rows])
    return np.split(scores, ends[:-1])


def _tokens(prompt: Any, choice: str, processor: Any) -> tuple[list[int], int]:
    """The tokens of prompt and choice, and how many of them are the prompt's.

    A token that holds the prompt's end and the choice's beginning is the choice's.
    """
    if isinstance(prompt, str):
        before, whole = prompt, prompt + completion(prompt, choice)
        context, full = processor(text=before)["input_ids"], processor(text=whole)["input_ids"]
        if full and full[-1] == processor.eos_token_id:  # some tokenizers end every text
            full = full[:-1]
    else:
        messages = [*prompt, *completion(prompt, choice)]
        before = processor.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        whole = processor.apply_chat_template(messages, tokenize=False)
        whole = whole[: whole.rindex(choice.strip()) + len(choice.strip())]
        context, full = (
            processor(text=text, add_special_tokens=False)["input_ids"] for text in (before, whole)
        )
    shared = 0
    while shared < min(len(context), len(full) - 1) and context[shared] == full[shared]:
        shared += 1
    if shared == 0:  # nothing before the first token: its likelihood has no condition
        raise AutopeftError(f"a prompt needs a token of its own, got {prompt!r}")
    return list(full), shared


def _scores(model: Any, batch: Sequence[tuple[list[int], int]], pad: int) -> list[float]:
    inputs = padded([ids for ids, _ in batch], pad)
    longest = inputs["input_ids"].shape[1]
    with torch.no_grad():
        logits = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()}).logits
    logits = logits[:, -longest:]  # virtual tokens of a prompt tuner stand before
    found = []
    for row, (ids, first) in zip(logits, batch, strict=True):
        # Row by row: (tokens, vocabulary) in float32 is the largest tensor of an evaluation.
        scores = log_softmax(row[first - 1 : len(ids) - 1].float(), dim=-1)
        targets = torch.tensor(ids[first:], device=scores.device)
        found.append(scores.gather(1, targets[:, None]).double().sum().item())
    return found

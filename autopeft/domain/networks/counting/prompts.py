"""Methods that wrap no linear map: virtual tokens, prefixes, and rows of the embeddings."""

from collections.abc import Mapping

from autopeft.domain.networks.counting.count import Count, Formula, Placed, Tensors


def _in_all_layers(placed: Placed) -> None:
    module, shape = placed.module, placed.shape
    if len(module.layers) != shape.layers:
        raise ValueError(
            f"{module.peft_type} lives in all {shape.layers} layers, got {list(module.layers)}: "
            "give it layers: all"
        )


def _everywhere(placed: Placed) -> None:
    _in_all_layers(placed)
    module, shape = placed.module, placed.shape
    if shape.encodes_and_decodes:  # PEFT counts one side's layers, and tokens for both
        raise ValueError(
            f"{module.peft_type} cannot be counted on {shape.model_type}, which has an encoder and "
            "a decoder: take a method that wraps linear maps"
        )


def _prefix(placed: Placed) -> Count:
    _everywhere(placed)
    tokens, token = int(placed.field("num_virtual_tokens")), placed.shape.kv_width
    width = 2 * placed.shape.layers * token
    kept = tokens * width
    if not placed.field("prefix_projection"):
        return placed.count(kept)
    hidden = int(placed.field("encoder_hidden_size") or token)
    return placed.count(tokens * token + _dense(token, hidden) + _dense(hidden, width), kept=kept)


def _cartridge(placed: Placed) -> Count:
    _everywhere(placed)
    tokens, frozen = int(placed.field("num_virtual_tokens")), int(placed.field("num_frozen_tokens"))
    width = 2 * placed.shape.layers * placed.shape.kv_width
    return placed.count((tokens - frozen) * width, kept=tokens * width)


def _prompt(placed: Placed) -> Count:
    _everywhere(placed)
    return placed.count(_virtual_tokens(placed) * placed.width)


def _p_tuning(placed: Placed) -> Count:
    _everywhere(placed)
    kept = _virtual_tokens(placed) * placed.width
    return placed.count(kept + _encoder(placed), kept=kept)


def _virtual_tokens(placed: Placed) -> int:
    return int(placed.field("num_virtual_tokens")) * int(
        placed.field("num_transformer_submodules") or 1
    )


def _encoder(placed: Placed) -> int:
    """P-tuning's encoder; the stored prompt is its output, so it is not stored."""
    token = placed.width
    hidden = int(placed.field("encoder_hidden_size") or token)
    if placed.field("encoder_reparameterization_type") == "MLP":
        return _dense(token, hidden) + _dense(hidden, hidden) + _dense(hidden, token)
    deeper = int(placed.field("encoder_num_layers")) - 1
    lstm = _lstm(token, hidden) + deeper * _lstm(2 * hidden, hidden)
    return lstm + _dense(2 * hidden, 2 * hidden) + _dense(2 * hidden, token)


def _dense(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _lstm(inputs: int, hidden: int) -> int:
    """A layer that reads both ways: four gates each, with two biases."""
    return 2 * 4 * hidden * (inputs + hidden + 2)


def _cpt(placed: Placed) -> Count:
    _everywhere(placed)
    return placed.count(len(placed.field("cpt_token_ids") or [0]) * placed.width)


def _adaption_prompt(placed: Placed) -> Count:
    prompt = int(placed.field("adapter_len")) * placed.width + 1
    trained = int(placed.field("adapter_layers")) * prompt
    return Count(trained, (Tensors(trained, placed.shape.backbone_bytes),))


def _trainable_tokens(placed: Placed) -> Count:
    _in_all_layers(placed)
    embeddings = placed.shape.embeddings
    if embeddings is None:
        raise ValueError(f"{placed.shape.model_type} has no embeddings of tokens to train")
    trained = len(placed.field("token_indices")) * embeddings.width
    return placed.count(trained, kept=trained * embeddings.copies)


FORMULAS: Mapping[str, Formula] = {
    "ADAPTION_PROMPT": _adaption_prompt,
    "CARTRIDGE": _cartridge,
    "CPT": _cpt,
    "PREFIX_TUNING": _prefix,
    "PROMPT_TUNING": _prompt,
    "P_TUNING": _p_tuning,
    "TRAINABLE_TOKENS": _trainable_tokens,
}

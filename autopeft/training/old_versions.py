"""What older of the supported versions get wrong without a word, and is refused there."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from autopeft.domain.architecture import Architecture
from autopeft.training.inject import UnfitError
from autopeft.training.loading.model import bits_and_bytes

_DORA_UNDER_QLORA = (1, 15)  # of TRL: its issue 7268


def refuse_what_is_broken(architecture: Architecture, model: Mapping[str, Any]) -> None:
    """Nothing, if the installed versions train this as it says.

    model: of the space file, of a language model.

    Raises:
        UnfitError: TRL rounds the magnitudes of DoRA to bfloat16, where they freeze.
    """
    if not bits_and_bytes(model) or not any(m.fields.get("use_dora") for m in architecture.modules):
        return
    installed = version("trl")
    if tuple(int(part) for part in installed.split(".")[:2]) < _DORA_UNDER_QLORA:
        raise UnfitError(
            f"use_dora on a base that bitsandbytes quantises needs trl 1.15 or later, got "
            f"{installed}, which freezes its magnitudes: upgrade trl, or leave use_dora out"
        )

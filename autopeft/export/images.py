"""Images of rows, as files beside the rows."""

from collections.abc import Iterable, Mapping
from typing import Any

from autopeft.domain.space import Json


def without_images(
    rows: Iterable[Mapping[str, Any]], split: str
) -> tuple[list[Mapping[str, Json]], dict[str, Any]]:
    """Rows with an image's path instead of the image, and the images (of PIL) by path.

    They are written as PNG, which loses nothing: whatever they were stored as, their pixels stay.
    """
    kept: list[Mapping[str, Json]] = []
    images: dict[str, Any] = {}
    for i, row in enumerate(rows):
        plain = dict(row)
        for name, value in row.items():
            if hasattr(value, "tobytes") and hasattr(value, "convert"):
                plain[name] = f"{split}/{i:06d}.png"
                images[plain[name]] = value.convert("RGB")
        kept.append(plain)
    return kept, images

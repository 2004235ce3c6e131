"""The fingerprint of a data set: of every value of every row, and of nothing else.

Read from Arrow's buffers. Where rows lie (files, chunks, behind an index) does not show, nor does
the width of a text's offsets; an image counts as its file's bytes, wherever the file is.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Image

from autopeft.domain.fingerprints import ALL_ROWS

_ROWS, _IMAGES = 1000, 100  # in memory at a time


def content_fingerprint(splits: Iterable[Dataset]) -> str:
    """120,000 short texts take 0.05 s, 1 s where rows were drawn from them (2026-11-21)."""
    digest = hashlib.sha256()
    for split in splits:
        names = sorted(split.column_names)
        digest.update(repr((names, len(split))).encode())
        images = [name for name in names if isinstance(split.features[name], Image)]
        rows = split.with_format("arrow")
        for batch in rows.iter(batch_size=_IMAGES if images else _ROWS):
            for name in names:
                values = batch.column(name).combine_chunks()
                if name in images:
                    values = split.features[name].embed_storage(values).field("bytes")
                _put(digest, values)
    return ALL_ROWS + digest.hexdigest()


def _put(digest: Any, values: pa.Array) -> None:
    """Feed an array's values. What lies in the buffers behind a null or a slice is none of them."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _put(digest, values.dictionary_decode())
    digest.update(_bytes(values.is_valid()))
    values = values.drop_null()
    if pa.types.is_struct(kind):
        for field, inner in zip(kind, values.flatten(), strict=True):
            digest.update(field.name.encode())
            _put(digest, inner)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        digest.update(_bytes(pc.list_value_length(values)))
        _put(digest, values.flatten())
    elif _is_text(kind):
        digest.update(_bytes(pc.binary_length(values)))
        digest.update(b"".join(values.cast(pa.large_binary()).to_pylist()))
    elif pa.types.is_primitive(kind) and not pa.types.is_time(kind):
        digest.update(values.to_numpy(zero_copy_only=False).tobytes())
    else:
        digest.update(repr(values.to_pylist()).encode())
    return None


def _bytes(counts: pa.Array) -> bytes:
    found: bytes = counts.cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes()
    return found


def _is_text(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_binary,
        pa.types.is_large_binary,
    )
    return any(test(kind) for test in tests)

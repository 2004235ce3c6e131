"""The fingerprint of rows: their values alone, wherever they lie in memory."""

import pyarrow as pa
import pytest
from datasets import Dataset, Value, concatenate_datasets

from autopeft.training.loading.content import content_fingerprint

ROWS = [
    {
        "text": None if i == 3 else "x" * (i % 5),
        "number": None if i == 4 else i / 3,
        "kept": i % 3 == 0,
        "tags": [i] * (i % 4),
        "messages": [{"role": "user", "content": f"say {i}"}, {"role": None, "content": "yes"}],
        "when": i,
    }
    for i in range(1003)
]


def taken(*splits):
    return content_fingerprint(splits)


@pytest.fixture(scope="module")
def rows():
    return Dataset.from_list(ROWS)


def test_where_rows_lie_does_not_show(rows):
    longer = concatenate_datasets([rows.select(range(7)), rows, rows.select(range(9))])
    parts = [rows.select(range(500)), rows.select(range(500, 1003))]
    backwards = rows.select(range(1002, -1, -1))
    others = {
        "a slice": longer.select(range(7, 1010)),
        "chunks": concatenate_datasets(parts),
        "an index": backwards.select(range(1002, -1, -1)),
        "wide offsets": rows.cast_column("text", Value("large_string")),
        "columns in another order": rows.select_columns(rows.column_names[::-1]),
    }
    assert {name: taken(other) for name, other in others.items()} == dict.fromkeys(
        others, taken(rows)
    )


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("text", "y"),
        ("text", None),
        ("number", 0.5),
        ("kept", True),
        ("tags", [1, 2]),
        ("messages", [{"role": "user", "content": "say it"}]),
        ("when", -1),
    ],
)
def test_any_value_shows(rows, column, value):
    changed = [{**row, column: value} if i == 502 else row for i, row in enumerate(ROWS)]
    assert taken(Dataset.from_list(changed, features=rows.features)) != taken(rows)


def test_order_names_and_splits_show(rows):
    a, b = rows.select(range(3)), rows.select(range(3, 9))
    several = [
        taken(rows),
        taken(rows.select([1, 0, *range(2, 1003)])),
        taken(rows.rename_column("kept", "left")),
        taken(a, b),
        taken(b, a),
        taken(concatenate_datasets([a, b])),
    ]
    assert len(set(several)) == len(several)


def test_text_that_moves_between_rows_shows():
    one, other = ({"text": texts} for texts in (["ab", "c"], ["a", "bc"]))
    assert taken(Dataset.from_dict(one)) != taken(Dataset.from_dict(other))


def test_what_is_left_behind_a_null_does_not_show():
    valid = pa.py_buffer(b"\x05")  # rows 0 and 2 of 3
    one, other = (
        pa.Array.from_buffers(pa.int64(), 3, [valid, pa.array(values).buffers()[1]])
        for values in ([1, 2, 3], [1, 9, 3])
    )
    tables = (pa.table({"number": column}) for column in (one, other))
    first, second = (taken(Dataset(table)) for table in tables)
    assert first == second == taken(Dataset.from_dict({"number": [1, None, 3]}))

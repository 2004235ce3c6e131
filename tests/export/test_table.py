"""docs/exports.md says what happens: `make coverage` writes its table, this compares."""

import os

import pytest
from export.table import BEGIN, END, FILE, cells, render, searchable

WRITING = "AUTOPEFT_WRITE_COVERAGE" in os.environ


@pytest.mark.long
def test_the_table_of_exports_is_what_happens(tmp_path):
    rows = {}
    for i, (name, tree) in enumerate(searchable()):
        rows[name] = cells(tree, tmp_path / str(i))
    before, _, rest = FILE.read_text().partition(BEGIN)
    old, _, after = rest.partition(END)
    if WRITING:
        FILE.write_text(f"{before}{BEGIN}{render(rows)}{END}{after}")
    else:
        assert render(rows) == old, f"{FILE.name} is stale: run `make coverage`"

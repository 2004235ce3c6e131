"""docs/coverage.md: what the matrix saw of every type on every family, as a table.

A cell is (works, reason): what holds, and why no more does ("" where all does). Reasons stand
under the table, each once; they begin where the name of the type ends.
"""

import re
from pathlib import Path

import peft
from domain.matrix import FAMILIES

from autopeft.domain.networks.capabilities import CAPABILITIES

FILE = Path(__file__).parents[2] / "docs" / "coverage.md"
REFUSED = "refused"
_HEAD = f"""# What works on which model

Every type of PEFT {peft.__version__} and every tuner of `autopeft.tuners`, on a tiny model of each
family with the task type below its name. This file is written by `make coverage` from what
`tests/domain/test_matrix.py` builds and runs, and the tests fail where it says anything else.

- **trains**: the gradients are finite and on the adapter and the new head only, nothing else moves,
  and the sizes that were counted before are those of the built model and of the stored file;
- **reloads**: the stored adapter gives the same outputs on a fresh base;
- **merges**: folded into the base weights it gives the same outputs;
- **refused**: a search takes no such module, for the reason below.

That is the model by itself. What TRL's trainer of language models cannot train, which a search refuses as well, is in
[language models](language-models.md#methods).

The last column is what `tests/domain/test_quantised.py` sees on a Llama in bitsandbytes' 4 and 8 bits: the
adapter does there what it does on the same weights unquantised. No type merges into such a base.

"""
_CELL = re.compile(r"(?P<works>[a-z, ]+?)(?: \((?P<note>\d+)\))?")
_NOTE = re.compile(r"^(\d+)\. (.+)$", re.MULTILINE)


def cell(peft_type, works, reason):
    return works, (reason or "").removeprefix(f"{peft_type} ")


def render(cells):
    """The file of {(peft_type, family): (works, reason)}."""
    tasks = [f"{family}<br>{task_type}" for family, (_, _, task_type) in FAMILIES.items()]
    rows = [["type", *tasks, "4 and 8 bits"], ["---"] * (2 + len(FAMILIES))]
    notes = {}
    for peft_type in CAPABILITIES:
        row = [peft_type]
        for family in FAMILIES:
            works, reason = cells[peft_type, family]
            number = notes.setdefault(reason, len(notes) + 1) if reason else None
            row.append(f"{works} ({number})" if number else works)
        can = CAPABILITIES[peft_type]
        rows.append([*row, "trains" if can.quantized and not can.unsearchable else REFUSED])
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"{_HEAD}{table}\n" + "".join(f"{i}. {reason}\n" for reason, i in notes.items())


def read(text):
    """{(peft_type, family): (works, reason)} of such a file."""
    notes = dict(_NOTE.findall(text))
    cells = {}
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith(("| type ", "| --- ")):
            peft_type, *row = line.strip("| ").split(" | ")
            for family, said in zip(FAMILIES, row[:-1], strict=True):
                found = _CELL.fullmatch(said)
                cells[peft_type, family] = found["works"], notes.get(found["note"], "")
    return cells

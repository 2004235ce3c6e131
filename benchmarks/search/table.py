"""Records to tables, and what a table says.

    python benchmarks/search/table.py pack benchmarks/search/recorded/sst2.jsonl
    python benchmarks/search/table.py describe benchmarks/search/tables/sst2.parquet

`pack` writes `tables/<study>.parquet`, also of a record that is still growing. In Python,
`rows.read(path)` gives the rows back and `replay.Replay` searches them.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import lines
from describe import described
from rows import of_record, read, write

from autopeft.domain.errors import AutopeftError

TABLES = Path(__file__).with_name("tables")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack", help="make tables of records")
    packing.add_argument("files", type=Path, nargs="+", help="recorded/<study>.jsonl")
    packing.add_argument("--to", type=Path, default=TABLES, help="folder of the tables")
    describing = verbs.add_parser("describe", help="print spread, noise and the best, as markdown")
    describing.add_argument("files", type=Path, nargs="+", help="tables/<study>.parquet")
    chosen = parser.parse_args(arguments)
    try:
        for file in chosen.files:
            if chosen.verb == "pack":
                pack(file, chosen.to / f"{file.stem}.parquet")
            else:
                print(described(file.stem, read(file)), end="\n\n")
    except AutopeftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def pack(record: Path, to: Path) -> None:
    """Make a table of a record and what stands beside it.

    Raises:
        AutopeftError: the record is missing, broken or empty.
    """
    beside = record.with_suffix(".json")
    if not record.is_file() or not beside.is_file():
        raise AutopeftError(f"pack needs {record} and {beside}, got one or none: run record.py")
    table = of_record(lines.read(record), json.loads(beside.read_text()))
    write(table, to)
    print(f"{to}: {len(table.rows)} rows, {to.stat().st_size / 1024:.0f} KiB", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

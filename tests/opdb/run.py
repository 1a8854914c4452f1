"""Tenon against PyTorch's operation database: `python -m tests.opdb.run --jobs 2 --json out.json`.

--ops REGEX      operations whose full name (`max.binary`) matches
--columns A,B    of tests/opdb/worker.py's COLUMNS
--samples N      at most N samples of an operation and dtype, evenly chosen; 0 for all
--record FILE    writes what passes, as tests/opdb/passing.txt holds it

An operation passes a column with all its samples only. One that is missing counts as failed.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import time
from pathlib import Path

from tests.opdb import worker

PASSING = Path(__file__).with_name("passing.txt")


def total(results: dict[str, worker.Result], columns: tuple[str, ...]) -> str:
    """A line a column: passed of those that PyTorch can judge."""
    lines = []
    for column in columns:
        found = [r.get(column, "not run") for r in results.values()]
        judged = [x for x in found if x != "none"]
        missing = sum(x == "missing" for x in found)
        passed = sum(x == "pass" for x in found)
        lines.append(f"{column:17s} {passed:4d} of {len(judged):4d}   ({missing} missing)")
    return "\n".join(lines)


def read_passing() -> dict[str, list[str]]:
    """The columns recorded as passed, by operation."""
    lines = [line.split() for line in PASSING.read_text().splitlines() if line[:1] not in ("#", "")]
    return {words[0]: words[1:] for words in lines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ops", default="")
    parser.add_argument("--columns", default=",".join(worker.COLUMNS))
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    columns = tuple(options.columns.split(","))

    from tests.opdb import database

    names = [n for n in database.load() if re.search(options.ops, n)]
    results: dict[str, worker.Result] = {}
    start = time.monotonic()
    for name, result in worker.run(names, columns, options.samples, options.jobs, options.timeout):
        results[name] = result
        for column, what in result.items():
            if what not in ("pass", "none", "missing"):
                print(f"{name:30s} {column:9s} {what}", flush=True)
    absent = sorted({n for n, r in results.items() if "missing" in r.values()})
    print(f"\nmissing ({len(absent)}): {' '.join(absent)}\n")
    print(total(results, columns))
    counts = collections.Counter(x for r in results.values() for x in r.values())
    print(f"{counts['pass']} passed in {time.monotonic() - start:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, sort_keys=True))
    if options.record:
        lines = [
            " ".join([name, *(c for c in columns if results[name].get(c) == "pass")])
            for name in sorted(results)
            if "pass" in results[name].values()
        ]
        head = "# Operations and the columns they pass: python -m tests.opdb.run --record FILE\n"
        options.record.write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

"""Adds up JUnit files and closes with one line: `N passed, N failed, N skipped`.

A step that broke off before it wrote its file leaves `NAME.crashed` and counts as one failure, and
so does a folder without any result.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def outcome(case: ElementTree.Element) -> str:
    """One of passed, failed and skipped."""
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def main(folder: Path) -> int:
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    rows: list[tuple[str, dict[str, int]]] = []
    for path in sorted(folder.glob("*.xml")):
        counts = dict.fromkeys(totals, 0)
        try:
            cases = list(ElementTree.parse(path).iter("testcase"))
        except ElementTree.ParseError:
            cases = []
            counts["failed"] += 1
        for case in cases:
            result = outcome(case)
            counts[result] += 1
            if result == "failed":
                print(f"failed: {path.stem}: {case.get('classname')} {case.get('name')}")
        rows.append((path.stem, counts))
    for path in sorted(folder.glob("*.crashed")):
        rows.append((path.stem, {"passed": 0, "failed": 1, "skipped": 0}))
    for name, counts in rows:
        print(f"{name:32}" + ", ".join(f"{n:5} {word}" for word, n in counts.items()))
        for word, n in counts.items():
            totals[word] += n
    if not rows:
        totals["failed"] = 1
        print("no step left a result")
    print(", ".join(f"{totals[word]} {word}" for word in ("passed", "failed", "skipped")))
    return 1 if totals["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

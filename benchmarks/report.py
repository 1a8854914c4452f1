"""Runs the benchmarks one after another and writes what they print as a report.

    python benchmarks/report.py [--out benchmarks/results/NAME.md] [chain record ...]

Run it on a machine that does nothing else: the load at the start is part of the report.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = ["record", "call", "chain", "training_steps", "import_time"]


def commit() -> str:
    """The commit of this checkout, and whether it was changed since."""
    try:
        return subprocess.run(
            ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=10"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def run(script: str) -> str:
    """What one benchmark prints; ends the report if it fails, since results then differ."""
    print(f"== {script}", flush=True)
    done = subprocess.run(
        [sys.executable, str(HERE / f"{script}.py")], stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, flush=True)
    if done.returncode != 0:
        raise SystemExit(f"{script}.py ended with {done.returncode}; no report is written")
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scripts", nargs="*", default=SCRIPTS, help="of " + ", ".join(SCRIPTS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    unknown = set(args.scripts) - set(SCRIPTS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")

    today = datetime.date.today().isoformat()
    load = os.getloadavg()[0]
    parts = [f"# Benchmarks, {today}, commit {commit()}", f"Load at the start: {load:.2f}."]
    machine = ""
    for script in args.scripts:
        text = run(script)
        machine = machine or text.splitlines()[0].split(",")[0]
        parts.append(f"`python benchmarks/{script}.py`\n\n```\n{text}\n```")
    name = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-") or "machine"
    out = args.out or HERE / "results" / f"{today}-{name}.md"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n\n".join(parts) + "\n")
    print(f"written: {out}")


if __name__ == "__main__":
    main()

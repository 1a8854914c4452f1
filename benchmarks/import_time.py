"""Seconds and memory that an import takes, in fresh processes, in turns.

python benchmarks/import_time.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

from harness import installed, machine, version_of

PROBE = """
import json, resource, time
def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize() / 1e6
before, begin = resident(), time.perf_counter()
import {module}
print(json.dumps([time.perf_counter() - begin, resident() - before]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peers", nargs="+", default=["tenon", "numpy", "torch", "jax", "drjit"])
    args = parser.parse_args()
    modules = installed(args.peers)
    print(f"{machine()}\n" + ", ".join(f"{m} {version_of(m)}" for m in modules))
    measured: dict[str, list[list[float]]] = {m: [] for m in modules}
    for _ in range(args.rounds + 1):
        for m in modules:
            out = subprocess.check_output([sys.executable, "-c", PROBE.format(module=m)])
            measured[m].append(json.loads(out.splitlines()[-1]))
    print(f"\n{'':10}{'seconds':>10}{'min':>10}{'max':>10}{'MB':>8}")
    for m, values in measured.items():
        # The first round reads the files from the disk.
        seconds = [v[0] for v in values[1:]]
        megabytes = statistics.median(v[1] for v in values[1:])
        print(
            f"{m:10}{statistics.median(seconds):>10.3f}{min(seconds):>10.3f}{max(seconds):>10.3f}"
            f"{megabytes:>8.0f}"
        )


if __name__ == "__main__":
    main()

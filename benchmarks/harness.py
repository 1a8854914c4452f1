"""Runs one benchmark in several frameworks, a process each, in turns.

A benchmark is a script with a table of peers: for each framework a function that, given a case,
returns a `Runner`. `main` starts the script once more for each framework; the parent then

1. asks every process for its result and compares it with the first one's: a peer that differs stops
   the run, and nothing is timed;
2. asks the processes for a round of timings in turn, several times over, so that what else happens
   on the machine meets all of them;
3. prints medians, their spread and the ratio to Tenon of the same round.

A run ends when its output can be read. A framework that is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class Runner:
    """One case, ready to run."""

    # Runs once and returns when the output can be read.
    run: Callable[[], Any]
    # The output, for the comparison.
    result: Callable[[], np.ndarray]
    # What one call of `run` stands for, such as a number of operations.
    units: int = 1
    # Instead of timing `run`: seconds of one call, averaged over at least the seconds given.
    timed: Callable[[float], float] | None = None


Peer = Callable[[str], Runner]


@dataclass
class Options:
    """How a benchmark measures."""

    rounds: int = 9
    # Seconds that a round of one peer lasts at least.
    round_seconds: float = 0.2
    # How much results may differ, relative to the largest value.
    tolerance: float = 1e-5
    unit: str = "us"
    # Whether a peer takes a case.
    takes: Callable[[str, str], bool] = lambda peer, case: True


SCALE = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0}


def package_of(peer: str) -> str:
    """The distribution that a peer such as `torch.compile` needs."""
    return peer.split(".")[0].split(" ")[0]


def installed(peers: Sequence[str]) -> list[str]:
    """The peers whose package can be imported."""
    missing = [p for p in peers if importlib.util.find_spec(package_of(p)) is None]
    if missing:
        print("not installed: " + ", ".join(missing))
    return [p for p in peers if p not in missing]


def machine() -> str:
    """Processor, cores and load of this machine, and the date."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":")[1].strip()
                break
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    today = datetime.date.today().isoformat()
    return f"{model}, {cores} cores, load {load:.1f} at the start, {today}"


def check_losses(losses: Mapping[str, Sequence[float]], bound: float) -> None:
    """Prints how far each peer's losses are from the first one's; ends the run beyond the bound."""
    first, *others = losses
    for peer in others:
        pairs = zip(losses[peer], losses[first], strict=True)
        largest = max(abs(a - b) for a, b in pairs)
        print(f"{peer}: losses of {len(losses[first])} steps within {largest:.1e} of {first}'s")
        if largest > bound:
            raise SystemExit("the losses differ: nothing is timed")


def version_of(peer: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    name = package_of(peer)
    try:
        return version({"tenon": "tenon-jit"}.get(name, name))
    except PackageNotFoundError:
        return "(not installed: from a path)"


def environment(peer: str) -> dict[str, str]:
    """The environment in which a peer runs in its documented way."""
    env = dict(os.environ)
    if package_of(peer) == "drjit" and "DRJIT_LIBLLVM_PATH" not in env:
        found = sorted(glob("/usr/lib/llvm-*/lib/libLLVM*.so*"))
        if found:
            env["DRJIT_LIBLLVM_PATH"] = found[-1]
    return env


# ---- in the processes of the peers ---------------------------------------------------------------


def time_runs(runner: Runner, seconds: float) -> float:
    """Seconds that one unit takes, averaged over at least `seconds`."""
    if runner.timed is not None:
        return runner.timed(seconds) / runner.units
    count, elapsed = 1, 0.0
    while True:
        begin = time.perf_counter()
        for _ in range(count):
            runner.run()
        elapsed = time.perf_counter() - begin
        if elapsed >= seconds:
            return elapsed / count / runner.units
        count = max(count + 1, int(count * min(10.0, 1.2 * seconds / max(elapsed, 1e-9))))


def serve(peer: Peer, case: str) -> None:
    runner = peer(case)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "result":
            # Warm-up: the first runs compile.
            for _ in range(3):
                runner.run()
            np.save(arguments[0], np.asarray(runner.result()))
            print("null", flush=True)
        elif command == "time":
            print(json.dumps(time_runs(runner, float(arguments[0]))), flush=True)


# ---- in the process that compares ----------------------------------------------------------------


class Process:
    """A running peer."""

    def __init__(self, peer: str, case: str, cores: Sequence[int]) -> None:
        self.peer = peer
        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)  # the process has them: frameworks start a thread a core
        try:
            self.process = subprocess.Popen(
                [sys.executable, sys.argv[0], "--peer", peer, "--case", case],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(peer),
            )
        finally:
            os.sched_setaffinity(0, mine)

    def ask(self, command: str) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {self.peer} ended: {self.process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        self.process.communicate()


def check(results: dict[str, np.ndarray], tolerance: float) -> None:
    """Stops unless all results agree with the first."""
    first, *others = results
    expected = results[first].astype(np.float64)
    scale = max(float(np.max(np.abs(expected), initial=0.0)), 1e-30)
    for name in others:
        got = results[name].astype(np.float64)
        if got.shape != expected.shape:
            raise SystemExit(f"{name} gives {got.shape}, {first} {expected.shape}")
        error = float(np.max(np.abs(got - expected), initial=0.0)) / scale
        if not error <= tolerance:
            raise SystemExit(f"{name} differs from {first} by {error:.2e}; nothing is timed")


def compare(case: str, peers: Sequence[str], options: Options, cores: Sequence[int]) -> None:
    chosen = [peer for peer in peers if options.takes(peer, case)]
    processes = [Process(peer, case, cores) for peer in chosen]
    with tempfile.TemporaryDirectory() as folder:
        results: dict[str, np.ndarray] = {}
        for p in processes:
            path = str(Path(folder) / f"{len(results)}.npy")
            p.ask(f"result {path}")
            results[p.peer] = np.load(path)
        check(results, options.tolerance)
    times: dict[str, list[float]] = {p.peer: [] for p in processes}
    for _ in range(options.rounds):
        for p in processes:
            times[p.peer].append(p.ask(f"time {options.round_seconds}"))
    for p in processes:
        p.close()
    report(case, times, options.unit)


def report(case: str, times: dict[str, list[float]], unit: str) -> None:
    """A line a peer: median, smallest and largest, and the ratio to the first peer; then which
    other framework is the fastest."""
    first = times[next(iter(times))]
    print(
        f"\n{case}{'median':>{30 - len(case)}}{'min':>12}{'max':>12}{'ratio':>10}  spread of ratio"
    )
    for name, values in times.items():
        scaled = [SCALE[unit] * v for v in values]
        ratios = [v / f for v, f in zip(values, first, strict=True)]
        print(
            f"  {name:16}{statistics.median(scaled):>9.4g} {unit}{min(scaled):>12.4g}"
            f"{max(scaled):>12.4g}{statistics.median(ratios):>10.2f}"
            f"  {min(ratios):.2f}-{max(ratios):.2f}"
        )
    ours = package_of(next(iter(times)))
    others = {name: values for name, values in times.items() if package_of(name) != ours}
    if others:
        fastest = min(others, key=lambda name: statistics.median(others[name]))
        own = [values for name, values in times.items() if name not in others]
        ratios = [o / min(mine) for o, *mine in zip(others[fastest], *own, strict=True)]
        print(
            f"  fastest peer: {fastest}, {statistics.median(ratios):.2f}"
            f" ({min(ratios):.2f}-{max(ratios):.2f}) of {ours}'s faster one"
        )


def main(
    description: str | None, peers: dict[str, Peer], cases: Sequence[str], options: Options
) -> None:
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--case", help="one of " + ", ".join(cases))
    parser.add_argument("--peers", nargs="+", default=list(peers), choices=list(peers))
    parser.add_argument("--rounds", type=int, default=options.rounds)
    cores = sorted(os.sched_getaffinity(0))
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[len(cores)], help="cores that peers have"
    )
    args = parser.parse_args()
    if args.peer:
        serve(peers[args.peer], args.case)
        return
    options.rounds = args.rounds
    chosen = installed(args.peers)
    print(f"{machine()}\n" + ", ".join(f"{p} {version_of(p)}" for p in chosen))
    if any(not 0 < threads <= len(cores) for threads in args.threads):
        parser.error(f"--threads wants numbers from 1 to {len(cores)}")
    for threads in args.threads:
        print(f"\n{threads} thread{'s' * (threads > 1)}")
        for case in [args.case] if args.case else cases:
            compare(case, chosen, options, cores[:threads])

"""Plants faults one by one and counts what the fuzzer needs to find each:

    python -m tests.fuzz.plant [--folder out/plants] [--only NAME ...] [--seconds 180] [--jobs 2]

The tree is copied to FOLDER/main and built in FOLDER/build (the extension only, incrementally; the
first build takes minutes). Each fault of plants.py is then put into the copy, compiled, and fuzzed
until a program fails or the time is spent. Prints a table; fails if a fault is not found, if its
place is not, or if the copy without a fault does not pass. See docs/fuzzing.md for a measured run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.plants import PLANTS, Plant

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = f"python/_C{sysconfig.get_config_var('EXT_SUFFIX')}"
LAYERS = "nn/generated/_layers.py"
SETUP = ["--buildtype=debugoptimized", "-Doptimization=1", "-Ddebug=false"]  # quick to compile


@dataclass
class Finding:
    what: str | None
    programs: int
    seconds: float


class Copy:
    """A copy of the tree, its build and its package."""

    def __init__(self, folder: Path, jobs: int):
        self.folder = folder
        self.tree, self.build, self.site = folder / "main", folder / "build", folder / "site"
        self.jobs = jobs
        # Kernels of an earlier fault must not come from the disk.
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{self.site}{os.pathsep}{self.tree}",
            "TENON_CACHE": "0",
        }

    def refresh(self) -> None:
        """Copies what changed in the tree, and undoes what an interrupted run left."""
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        names = {name for name in listing.split("\0") if name and (ROOT / name).is_file()}
        for name in names:
            source, target = ROOT / name, self.tree / name
            if target.exists() and target.read_bytes() == source.read_bytes():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        for path in self.tree.rglob("*"):
            if path.is_file() and str(path.relative_to(self.tree)) not in names:
                path.unlink()

    def compile(self) -> str | None:
        """What went wrong, or None."""
        if not (self.build / "build.ninja").exists():
            command = ["meson", "setup", str(self.build), str(self.tree), *SETUP]
            subprocess.run(command, env=self.environment, check=True, stdout=subprocess.DEVNULL)
        command = ["ninja", "-C", str(self.build), "-j", str(self.jobs), EXTENSION, LAYERS]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            return done.stdout[-3000:]
        shutil.rmtree(self.site, ignore_errors=True)
        shutil.copytree(self.tree / "python" / "tenon", self.site / "tenon")
        shutil.copy(self.build / LAYERS, self.site / "tenon" / "nn" / "_layers.py")
        shutil.copy(self.build / EXTENSION, self.site / "tenon")
        return None

    def fuzz(self, seed: int, seconds: float) -> Finding:
        command = [sys.executable, "-m", "tests.fuzz.run", f"--seed={seed}", f"--seconds={seconds}"]
        command.append("--verbose")
        start = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=self.tree,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        hangs = False
        try:
            output, _ = process.communicate(timeout=seconds + 120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the fuzzer's own workers too
            output, _ = process.communicate()
            hangs = True
        elapsed = time.monotonic() - start
        programs = last_seed(output) - seed + 1
        if hangs:
            return Finding("a program hangs", programs, elapsed)
        if process.returncode == 0:
            return Finding(None, programs, elapsed)
        if wrong := next((x for x in output.splitlines() if x.startswith("fails: ")), None):
            return Finding(wrong.removeprefix("fails: "), programs, elapsed)
        raise RuntimeError(f"the fuzzer itself failed:\n{output[-3000:]}")


def last_seed(output: str) -> int:
    seeds = re.findall(r"^program (\d+)$", output, re.MULTILINE)
    return int(seeds[-1]) if seeds else -1


def try_plant(copy: Copy, plant: Plant, seed: int, seconds: float) -> tuple[bool, str]:
    path = copy.tree / plant.file
    text = path.read_text()
    if text.count(plant.old) != 1:
        return False, f"{plant.file} does not hold the fault's place exactly once"
    path.write_text(text.replace(plant.old, plant.new))
    try:
        if wrong := copy.compile():
            return False, f"does not compile: {wrong}"
        found = copy.fuzz(seed, seconds)
    finally:
        path.write_text(text)
    if found.what is None:
        return False, f"NOT FOUND in {found.programs} programs, {found.seconds:.0f} s"
    return True, f"{found.programs} programs, {found.seconds:.1f} s: {found.what[:70]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "plants")
    parser.add_argument("--only", nargs="*", help="names of plants.py")
    parser.add_argument("--seconds", type=float, default=180, help="of fuzzing, a fault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    options = parser.parse_args()
    chosen = [p for p in PLANTS if not options.only or p.name in options.only]
    copy = Copy(options.folder.resolve(), options.jobs)
    copy.refresh()
    if wrong := copy.compile():
        print(f"the copy does not compile: {wrong}")
        return 1
    clean = copy.fuzz(options.seed, 30)
    if clean.what is not None:
        print(f"without a fault, program {clean.programs} fails: {clean.what}")
        return 1
    print(f"without a fault: {clean.programs} programs agree", flush=True)
    missed = 0
    for plant in chosen:
        found, how = try_plant(copy, plant, options.seed, options.seconds)
        missed += not found
        print(f"{plant.name:<22} {how}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} faults found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

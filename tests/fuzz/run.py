"""Cut-anywhere fuzzing: `python -m tests.fuzz.run --seconds 60 [--seed N] [--counts]`.

Each random program runs fused, unfused and interpreted, with cuts at random places and without, on
one thread and on two, in the code of either compiler tier, and with random optimizations switched
off and what the autotuner might choose: all must agree bit for bit. Where torch is installed it is
the judge of the values and gradients of programs that both define, in float64. Prints its seed, and
the program of the first failure. `--counts` prints how often each primitive was recorded.

Ten minutes on two cores (4,000 programs or so) record every primitive more than 100 times.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import tenon as tn
from tenon import _C
from tests.fuzz import operations
from tests.fuzz.draw import Drawer
from tests.fuzz.judge import find_judge
from tests.fuzz.programs import Program, run_body
from tests.fuzz.transforms import FUNCTIONAL, scalar_of

# Mode, threads, with cuts, what is switched off; "recompute" is fused, with all computed again that
# can be.
MODES = [
    ("fused", 2, False, ()),
    ("fused", 1, False, ()),
    ("fused", 2, True, ()),
    ("recompute", 2, False, ()),
    ("unfused", 2, True, ()),
    ("interpret", 1, False, ()),
    ("fused", 2, False, ("quick_tier", "kernel_cache")),  # the hot tier's code
]
EARLY_TURNS = 3  # of a program that comes again, and so runs while it is recorded
A_PROCESS = 1000  # programs
CHUNK = 256  # operations of a thread at a time, so that small programs run in parallel


class Tally:
    """What a run covered."""

    def __init__(self) -> None:
        self.instructions: dict[str, int] = {}
        self.primitives: dict[str, int] = {}
        self.transforms: dict[str, int] = {}
        self.switches: dict[str, int] = {}
        self.judged = 0
        self.refused: dict[str, int] = {}

    def add(self, other: dict[str, Any]) -> None:
        """What another process covered."""
        self.judged += other["judged"]
        for name in ("instructions", "primitives", "transforms", "switches", "refused"):
            mine = getattr(self, name)
            for key, n in other[name].items():
                mine[key] = mine.get(key, 0) + n

    def record(self, trace: str) -> None:
        for op in re.findall(r"^%\d+: \S.*? = (\w+)", trace, re.MULTILINE):
            self.primitives[op] = self.primitives.get(op, 0) + 1


def inputs_of(program: Program, turn: int) -> list[np.ndarray]:
    rng = np.random.default_rng([program.seed, turn])
    return [rng.standard_normal(shape) for shape in program.shapes]


def as_numpy(x: Any) -> np.ndarray:
    x = x.detach()
    if x.dtype in (tn.bfloat16, tn.float16):  # exact in float32
        x = x.float()
    return np.array(x.numpy())


def run(
    m: Any, program: Program, dtype: Any, cuts: bool, tally: Tally | None = None
) -> list[np.ndarray]:
    """Every value of the program, then its gradients, of every turn."""
    results = []
    for turn in range(program.turns):
        results += run_turn(m, program, dtype, cuts, turn, tally)
    return results


def run_turn(
    m: Any, program: Program, dtype: Any, cuts: bool, turn: int, tally: Tally | None
) -> list[np.ndarray]:
    m.manual_seed(program.seed % 1000 + turn)
    arrays = inputs_of(program, turn)  # clone: torch forgets that a leaf is one if it is a view too
    leaves = [m.tensor(x.tolist(), dtype=dtype).reshape(x.shape).clone() for x in arrays]

    def body(*xs: Any) -> list[Any]:
        return run_body(m, program, list(xs), cuts, turn)

    if program.transform in FUNCTIONAL:

        def chosen(*xs: Any) -> list[Any]:
            values = body(*xs)
            return [values[i] for i in program.results]

        results = FUNCTIONAL[program.transform](m, chosen, leaves)
    else:
        results = run_eager(m, program, body, leaves)
    if tally is not None and turn == 0:
        tally.record(m.pending_trace())
    return [as_numpy(r) for r in results]


def run_eager(m: Any, program: Program, body: Any, leaves: list[Any]) -> list[Any]:
    for leaf, requires in zip(leaves, program.leaves):
        leaf.requires_grad_(requires)
    trained = [leaf for leaf in leaves if leaf.requires_grad]
    values = body(*leaves)
    loss = scalar_of([values[i] for i in program.results])
    results = list(values)
    if program.transform == "double_backward":
        # Whether what is overwritten later has a gradient of zeros, or none, isn't said.
        grads = [None] * len(trained)
        if loss.requires_grad:
            grads = m.autograd.grad(loss, trained, create_graph=True, allow_unused=True)
        grads = [x.detach() * 0 if g is None else g for x, g in zip(trained, grads)]
        results += grads
        if grads:
            loss = scalar_of(grads)
    if loss.requires_grad:
        loss.backward()
    # A leaf that nothing depends on has no gradient, or zeros.
    results += [x.detach() * 0 if x.grad is None else x.grad for x in trained]
    return results


def differs(a: list[np.ndarray], b: list[np.ndarray]) -> str | None:
    if len(a) != len(b):
        return f"{len(a)} results against {len(b)}"
    for i, (x, y) in enumerate(zip(a, b)):
        if x.shape != y.shape or x.dtype != y.dtype:
            return f"result {i}: {x.dtype}{x.shape} against {y.dtype}{y.shape}"
        if x.tobytes() == y.tobytes():
            continue
        same = (x == y) | ((x != x) & (y != y))
        if x.dtype.kind == "f":  # zeros have signs
            same &= (np.signbit(x) == np.signbit(y)) | (x != x)
        if not same.all():
            at = np.argwhere(~same)
            first = tuple(at[0])
            return f"result {i}: {len(at)} of {x.size} differ, {x[first]!r} against {y[first]!r}"
    return None


def is_far(a: list[np.ndarray], b: list[np.ndarray]) -> str | None:
    if len(a) != len(b):
        return f"{len(a)} results against {len(b)}"
    for i, (x, y) in enumerate(zip(a, b)):
        if x.shape != y.shape or x.dtype != y.dtype:
            return f"result {i}: {x.dtype}{x.shape} against {y.dtype}{y.shape}"
        if not np.allclose(x, y, rtol=1e-6, atol=1e-7, equal_nan=True):
            worst = np.nanmax(np.abs(x - y)) if x.dtype.kind == "f" else "?"
            return f"result {i}: off by {worst}: {x.ravel()[:8]} against {y.ravel()[:8]}"
    return None


def refusal(error: Exception, program: Program) -> str | None:
    """What the judge doesn't define and Tenon does."""
    text = str(error)
    for known in (
        "modified by an inplace operation",  # the recorded value's gradient
        "refer to a single memory location",  # the value is read before the target is written
        "a view of a leaf Variable that requires grad",
    ):
        if known in text:
            return known
    if program.transform in FUNCTIONAL and isinstance(error, (RuntimeError, NotImplementedError)):
        return text.strip().splitlines()[0][:80]
    return None


def draw_choices(program: Program) -> str:
    """What the autotuner might choose, as jit/tune/choices.cpp reads it; often nothing."""
    r = random.Random(program.seed ^ 0x7A9)
    if r.random() < 0.4:
        return ""
    kernels = [
        f"{r.choice([0, 1, 2, 4])}/{r.choice([0, 256])}/{r.choice([-2, 0, 2, 30])}"
        for _ in range(r.randint(1, 4))
    ]
    size = r.choice([25, 50, 100, 200, 400])
    return f"off= size={size} hot=0 kernels={len(kernels)} " + " ".join(kernels)


def draw_switches(program: Program, tally: Tally | None) -> list[str]:
    """Up to four optimizations to switch off. Kernels stay shared, or there would be too many."""
    r = random.Random(program.seed ^ 0x5EED)
    names = [n for n in tn.jit.optimizations() if n not in ("share_kernels", "plan_cache")]
    off = sorted(r.sample(names, r.randint(1, 4)))
    if tally is not None:
        for name in off:
            tally.switches[name] = tally.switches.get(name, 0) + 1
    return off


def set_mode(mode: str) -> None:
    recomputes = mode == "recompute"
    tn.jit.set_mode("fused" if recomputes else mode)
    _C._jit.set_recompute(_C._jit.Recompute.all if recomputes else _C._jit.Recompute.cheap)
    _C._jit.set_recompute_threshold(0 if recomputes else 4 << 20)


def check(program: Program, judge: Any | None, tally: Tally | None = None) -> str | None:
    """What is wrong, or None."""
    reference: list[np.ndarray] | None = None
    drawn = ("fused", 2, True, draw_switches(program, tally), draw_choices(program))
    for mode, threads, cuts, off, choices in [*[(*m, "") for m in MODES], drawn]:
        set_mode(mode)
        tn.set_num_threads(threads)
        counted = tally if reference is None else None
        how = f"{mode}, {threads} threads, cuts {cuts}, without {', '.join(off) or 'nothing'}"
        how += f", {choices}" if choices else ""
        tn._C._jit.force_choices(choices)
        try:
            with tn.jit.disable(*off):
                results = run(tn, program, getattr(tn, program.dtype), cuts, counted)
        except Exception as error:  # a crash of a valid program is a failure as well
            return f"{how}: {type(error).__name__}: {error}"
        finally:
            set_mode("fused")
            tn._C._jit.force_choices("")
        if reference is None:
            reference = results
        elif wrong := differs(reference, results):
            return f"{how}: {wrong}"
    for turn in range(EARLY_TURNS):
        try:
            results = run(tn, program, getattr(tn, program.dtype), True)
        except Exception as error:
            return f"turn {turn}, running early: {type(error).__name__}: {error}"
        if reference is not None and (wrong := differs(reference, results)):
            return f"turn {turn}, running early: {wrong}"
    if judge is None or not program.judged:
        return None
    try:
        exact = run(judge, program, judge.float64, False)
    except Exception as error:
        why = refusal(error, program)
        if why is None:
            return f"{judge.__name__} raises {type(error).__name__}: {error}"
        if tally is not None:
            tally.refused[why] = tally.refused.get(why, 0) + 1
        return None
    if tally is not None:
        tally.judged += 1
    ours = run(tn, program, tn.float64, True)
    if wrong := is_far(ours, exact):
        return f"against {judge.__name__}: {wrong}"
    return None


def primitives() -> list[str]:
    spec = Path(__file__).resolve().parents[2] / "spec" / "primitives.toml"
    return re.findall(r"^\[(\w+)\]$", spec.read_text(), re.MULTILINE)


def report(tally: Tally) -> None:
    rows = sorted((tally.primitives.get(op, 0), op) for op in primitives())
    print("recorded, in the first run of each program:")
    for start in range(0, len(rows), 4):
        print("".join(f"{op:>16} {n:<8}" for n, op in rows[start : start + 4]))
    print("transforms:", dict(sorted(tally.transforms.items())))
    print("switched off:", dict(sorted(tally.switches.items())))
    rare = sorted((n, name) for name, n in tally.instructions.items())[:8]
    print(f"{len(tally.instructions)} instructions; rarest:", [f"{name} {n}" for n, name in rare])
    drawn = {name for name, n in tally.instructions.items() if name.startswith("spec.")}
    never = sorted(key for key in operations.cases() if f"spec.{key}" not in drawn)
    print(f"{len(drawn)} operations of the spec drawn by sample; never: {', '.join(never) or '-'}")
    reasons = Counter(operations.left_out().values())
    print("not drawn so:", ", ".join(f"{n} whose case {why}" for why, n in reasons.items()))
    print(f"judged {tally.judged} programs; the judge refused {sum(tally.refused.values())}:")
    for why, n in sorted(tally.refused.items(), key=lambda item: -item[1])[:12]:
        print(f"{n:>8}  {why}")


def fuzz(options: argparse.Namespace, seed: int, tally: Tally) -> tuple[int, int]:
    """Programs run, and those that failed."""
    judge = find_judge(options.judge)
    if judge is None:
        print("no judge: modes are compared with each other only", flush=True)
    tn._C._jit.set_chunk_work(CHUNK)
    tn._C._jit.set_early_work(0)
    end = time.monotonic() + options.seconds
    done = failed = 0
    while time.monotonic() < end and done < options.count:
        program = Drawer(seed + done, tally.instructions, options.operations).program()
        if options.verbose:  # known even if the program takes the process down
            print(f"program {program.seed}", flush=True)
        name = program.transform
        tally.transforms[name] = tally.transforms.get(name, 0) + 1
        done += 1
        if wrong := check(program, judge, tally):
            print(
                f"{program}\nfails: {wrong}\nagain with: --seed {program.seed} --count 1"
                + " --operations" * options.operations,
                flush=True,
            )
            failed += 1
            if not options.keep_going:
                break
    return done, failed


def fuzz_in_processes(options: argparse.Namespace, seed: int, tally: Tally) -> tuple[int, int]:
    """The same in one process after the other: kernels are never unloaded, and a process can map
    only so many (some 30,000)."""
    end = time.monotonic() + options.seconds
    done = failed = 0
    while done < options.count and (left := end - time.monotonic()) > 0:
        with tempfile.NamedTemporaryFile() as file:
            command = [sys.executable, "-m", "tests.fuzz.run", *sys.argv[1:]]
            command += [f"--seed={seed + done}", f"--seconds={left}", f"--worker={file.name}"]
            command += [f"--count={min(options.count - done, A_PROCESS)}"]
            status = subprocess.run(command).returncode
            if status < 0:
                print(f"fails: killed by signal {-status}, after seed {seed + done} (--verbose)")
                return done + 1, failed + 1
            counts = json.loads(Path(file.name).read_text())
        done += counts["done"]
        failed += counts["failed"]
        tally.add(counts["tally"])
        if failed and not options.keep_going:
            break
    return done, failed


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--judge", choices=["torch", "none"], default="torch")
    parser.add_argument("--count", type=int, default=10**9)
    parser.add_argument("--counts", action="store_true", help="print what was covered")
    parser.add_argument("--operations", action="store_true", help="mostly operations by sample")
    parser.add_argument("--keep-going", action="store_true", help="print every failure")
    parser.add_argument("--verbose", action="store_true", help="print each program's seed")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(2**31)
    tally = Tally()
    if options.worker:
        done, failed = fuzz(options, seed, tally)
        counts = {"done": done, "failed": failed, "tally": vars(tally)}
        Path(options.worker).write_text(json.dumps(counts))
        return 1 if failed else 0
    print(f"seed {seed}", flush=True)
    run_them = fuzz_in_processes if options.count > A_PROCESS else fuzz
    done, failed = run_them(options, seed, tally)
    if options.counts:
        report(tally)
    print(f"{done} programs, {failed} failed" if failed else f"{done} programs agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

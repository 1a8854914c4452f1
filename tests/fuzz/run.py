"""Cut-anywhere fuzzing: `python -m tests.fuzz.run --seconds 60 [--seed N] [--judge torch]`.

Each random program runs fused, unfused and interpreted, with flushes at random places and without,
on one thread and on two: all must agree bit for bit. Where torch is installed it is the judge of
the values and gradients, in float64. Prints its seed, and the program of the first failure.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from typing import Any

import numpy as np

import tenon as tn
from tests.fuzz.programs import Drawer, Program, apply


def inputs_of(program: Program) -> list[np.ndarray]:
    rng = np.random.default_rng(program.seed)
    return [rng.standard_normal(shape) for shape in program.shapes]


def as_numpy(x: Any) -> np.ndarray:
    return np.array(x.detach().numpy())


def body(m: Any, program: Program, tensors: list[Any], cuts: bool) -> list[Any]:
    values = list(tensors)
    for instruction in program.body:
        values.append(apply(m, instruction, [values[i] for i in instruction.operands]))
        if cuts and instruction.flush:
            m.eval(values[-1])
    return values


def scalar_of(values: list[Any]) -> Any:
    total = None
    for value in values[-6:]:
        term = (value * 0.5).sin().sum()
        total = term if total is None else total + term
    return total


def run(m: Any, program: Program, dtype: Any, cuts: bool) -> list[np.ndarray]:
    """Every value of the program, then its gradients."""
    leaves = [m.tensor(x.tolist(), dtype=dtype).reshape(x.shape) for x in inputs_of(program)]
    if program.transform in ("none", "backward"):
        for leaf, requires in zip(leaves, program.leaves):
            leaf.requires_grad_(requires)
        values = body(m, program, leaves, cuts)
        loss = scalar_of(values)
        if loss.requires_grad:
            loss.backward()
        results = [as_numpy(v) for v in values]
        for leaf, requires in zip(leaves, program.leaves):
            if requires:  # a leaf that nothing depends on has no gradient, or zeros
                results.append(as_numpy(leaf.detach() * 0 if leaf.grad is None else leaf.grad))
        return results

    def f(*xs: Any) -> Any:
        return scalar_of(body(m, program, list(xs), False))

    if program.transform == "grad":
        grads = m.func.grad(f, argnums=tuple(range(len(leaves))))(*leaves)
        return [as_numpy(g) for g in grads]
    if program.transform == "jvp":
        tangents = tuple(x * 0 + 0.7 for x in leaves)
        value, tangent = m.func.jvp(f, tuple(leaves), tangents)
        return [as_numpy(value), as_numpy(tangent)]
    assert program.transform == "vmap"
    batched = tuple(m.stack([x, x * 0.5 + 0.1, -x]) for x in leaves)
    return [as_numpy(m.vmap(f)(*batched))]


def differs(a: list[np.ndarray], b: list[np.ndarray]) -> str | None:
    if len(a) != len(b):
        return f"{len(a)} results against {len(b)}"
    for i, (x, y) in enumerate(zip(a, b)):
        if x.shape != y.shape or x.dtype != y.dtype:
            return f"result {i}: {x.dtype}{x.shape} against {y.dtype}{y.shape}"
        if x.tobytes() != y.tobytes() and not np.array_equal(x, y, equal_nan=True):
            return f"result {i}: {x.ravel()[:8]} against {y.ravel()[:8]}"
    return None


def is_far(a: list[np.ndarray], b: list[np.ndarray]) -> str | None:
    if len(a) != len(b):
        return f"{len(a)} results against {len(b)}"
    for i, (x, y) in enumerate(zip(a, b)):
        if x.shape != y.shape:
            return f"result {i}: shape {x.shape} against {y.shape}"
        if not np.allclose(x, y, rtol=1e-6, atol=1e-7, equal_nan=True):
            worst = np.nanmax(np.abs(x - y)) if x.size else 0
            return f"result {i}: off by {worst}: {x.ravel()[:8]} against {y.ravel()[:8]}"
    return None


def check(program: Program, judge: Any | None) -> str | None:
    """What is wrong, or None."""
    reference: list[np.ndarray] | None = None
    for mode, threads, cuts in [
        ("fused", 2, False),
        ("fused", 1, False),
        ("fused", 2, True),
        ("unfused", 2, True),
        ("interpret", 1, False),
    ]:
        tn.jit.set_mode(mode)
        tn.set_num_threads(threads)
        try:
            results = run(tn, program, tn.float32, cuts)
        finally:
            tn.jit.set_mode("fused")
        if reference is None:
            reference = results
        elif wrong := differs(reference, results):
            return f"{mode}, {threads} threads, cuts {cuts}: {wrong}"
    if judge is not None:
        try:
            exact = run(judge, program, judge.float64, False)
        except RuntimeError as error:
            if "modified by an inplace operation" in str(error):
                return None  # the judge refuses what Tenon defines: the recorded value's gradient
            raise
        ours = run(tn, program, tn.float64, True)
        if wrong := is_far(ours, exact):
            return f"against {judge.__name__}: {wrong}"
    return None


def find_judge(name: str) -> Any | None:
    if name == "none":
        return None
    try:
        import torch

        torch.set_num_threads(1)
        torch.eval = lambda *tensors: None  # type: ignore[attr-defined]
        return torch
    except ImportError:
        return None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--judge", choices=["torch", "none"], default="torch")
    parser.add_argument("--count", type=int, default=10**9)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(2**31)
    judge = find_judge(options.judge)
    print(f"seed {seed}, judge {judge.__name__ if judge else 'none'}", flush=True)
    counts: dict[str, int] = {}
    end = time.monotonic() + options.seconds
    done = 0
    while time.monotonic() < end and done < options.count:
        program = Drawer(seed + done, counts).program()
        try:
            wrong = check(program, judge)
        except Exception as error:  # a crash of a valid program is a failure as well
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            print(f"{program}\n{wrong}\nagain with: --seed {program.seed} --count 1")
            return 1
        done += 1
    rare = sorted(counts.items(), key=lambda item: item[1])[:5]
    print(f"{done} programs agree; rarest instructions: {rare}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

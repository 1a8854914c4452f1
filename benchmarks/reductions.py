"""Reductions and scans of 4096x4096 floats over each axis.

python benchmarks/reductions.py [--case "var 0"] [--peers tenon torch jax.jit]
"""

from __future__ import annotations

import numpy as np
from harness import Options, main
from twins import peers

SIDE = 4096
NAMES = ["sum", "var", "argmax", "logsumexp"]
CASES = [f"{name} {axis}" for name in NAMES for axis in ("0", "1", "all")]
CASES += ["cumsum 0", "cumsum 1"]


def arrays(case: str):
    return [np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)]


def split(case: str):
    name, axis = case.split()
    return name, None if axis == "all" else int(axis)


def program(t, case: str):
    name, axis = split(case)
    axes = (0, 1) if axis is None else axis
    return {
        "sum": lambda x: x.sum(axes),
        "var": lambda x: x.var(axes),
        "argmax": lambda x: x.argmax(axis),
        "logsumexp": lambda x: x.logsumexp(axes),
        "cumsum": lambda x: x.cumsum(axis),
    }[name]


def jax_program(case: str):
    import jax
    import jax.numpy as jnp

    name, axis = split(case)
    return {
        "sum": lambda x: x.sum(axis),
        "var": lambda x: x.var(axis, ddof=1),
        "argmax": lambda x: x.argmax(axis),
        "logsumexp": lambda x: jax.nn.logsumexp(x, axis),
        "cumsum": lambda x: jnp.cumsum(x, axis),
    }[name]


def drjit_program(case: str):
    """Of scans alone: what Dr.Jit is used for otherwise is no reduction of one axis."""
    import drjit as dr

    _, axis = split(case)
    return lambda x: dr.cumsum(x, axis)


PEERS = peers(arrays, program, jax_program, drjit_program=drjit_program)


def takes(peer: str, case: str) -> bool:
    """Dr.Jit 1.5.0 takes a second for the prefix sums of 512 columns, and minutes for these."""
    return peer != "drjit" or case == "cumsum 1"


if __name__ == "__main__":
    # Sums of 4096 and 16 million numbers round differently.
    main(__doc__, PEERS, CASES, Options(tolerance=2e-5, rounds=5, unit="ms", takes=takes))

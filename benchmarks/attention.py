"""Causal scaled dot-product attention, forward and with gradients.

python benchmarks/attention.py [--case "4x8x512x64 forward"] [--peers tenon torch jax.jit]
"""

from __future__ import annotations

import numpy as np
from harness import Options, main
from twins import peers

SHAPES = {"4x8x512x64": (4, 8, 512, 64), "1x8x2048x64": (1, 8, 2048, 64)}
CASES = [f"{shape} {part}" for shape in SHAPES for part in ("forward", "backward")]


def arrays(case: str):
    shape = SHAPES[case.split()[0]]
    return list(np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32))


def program(t, case: str):
    attention = t.nn.functional.scaled_dot_product_attention
    return lambda q, k, v: attention(q, k, v, is_causal=True)


def jax_program(case: str):
    import jax

    def attention(q, k, v):
        # jax.nn takes (batch, length, heads, width).
        q, k, v = (x.transpose(0, 2, 1, 3) for x in (q, k, v))
        return jax.nn.dot_product_attention(q, k, v, is_causal=True).transpose(0, 2, 1, 3)

    return attention


PEERS = peers(arrays, program, jax_program, lambda case: case.endswith("backward"))

if __name__ == "__main__":
    main(__doc__, PEERS, CASES, Options(tolerance=1e-5, rounds=5, unit="ms"))

"""Row kernels of 8192 rows of 1024 floats, forward and with gradients.

python benchmarks/rows.py [--case "softmax backward"] [--peers tenon torch jax.jit]
"""

from __future__ import annotations

import numpy as np
from harness import Options, main
from twins import peers

ROWS, COLUMNS = 8192, 1024
NAMES = ["softmax", "log_softmax", "layer_norm", "rms_norm", "gelu", "cross_entropy"]
CASES = [f"{name} {part}" for name in NAMES for part in ("forward", "backward")]


def arrays(case: str):
    name = case.split()[0]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    weight, bias = rng.normal(size=(2, COLUMNS)).astype(np.float32)
    others = {
        "layer_norm": [weight, bias],
        "rms_norm": [weight],
        "cross_entropy": [rng.integers(0, COLUMNS, ROWS)],
    }
    return [x, *others.get(name, [])]


def program(t, case: str):
    F = t.nn.functional
    return {
        "softmax": lambda x: F.softmax(x, -1),
        "log_softmax": lambda x: F.log_softmax(x, -1),
        "layer_norm": lambda x, w, b: F.layer_norm(x, (COLUMNS,), w, b),
        "rms_norm": lambda x, w: F.rms_norm(x, (COLUMNS,), w, 1e-5),
        "gelu": lambda x: F.gelu(x),
        "cross_entropy": lambda x, target: F.cross_entropy(x, target),
    }[case.split()[0]]


def jax_program(case: str):
    import jax
    import jax.numpy as jnp

    def layer_norm(x, w, b):
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * w + b

    def rms_norm(x, w):
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * w

    def cross_entropy(x, target):
        chosen = jnp.take_along_axis(x, target[:, None], 1)[:, 0]
        return (jax.nn.logsumexp(x, -1) - chosen).mean()

    return {
        "softmax": lambda x: jax.nn.softmax(x, -1),
        "log_softmax": lambda x: jax.nn.log_softmax(x, -1),
        "layer_norm": layer_norm,
        "rms_norm": rms_norm,
        "gelu": lambda x: jax.nn.gelu(x, approximate=False),
        "cross_entropy": cross_entropy,
    }[case.split()[0]]


PEERS = peers(arrays, program, jax_program, lambda case: case.endswith("backward"))

if __name__ == "__main__":
    main(__doc__, PEERS, CASES, Options(tolerance=1e-5, rounds=5, unit="ms"))

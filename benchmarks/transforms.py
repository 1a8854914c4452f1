"""Function transforms: per-sample gradients, the gradient of an N-body energy, a Hessian.

    python benchmarks/transforms.py [--case hessian] [--peers tenon torch jax.jit]

PyTorch runs them by torch.func, eagerly and under torch.compile.
"""

from __future__ import annotations

import numpy as np
from harness import Options, main
from twins import peers

SAMPLES, FEATURES, HIDDEN, CLASSES = 256, 64, 32, 10
BODIES = 2048
VARIABLES = 20
CASES = ["per_sample", "nbody", "hessian"]


def arrays(case: str):
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    if case == "per_sample":
        w1, w2 = 0.1 * normal(HIDDEN, FEATURES), 0.1 * normal(CLASSES, HIDDEN)
        return [w1, w2, normal(SAMPLES, FEATURES), normal(SAMPLES, CLASSES)]
    if case == "nbody":
        return [normal(BODIES, 3), rng.uniform(0.5, 1, BODIES).astype(np.float32)]
    return [normal(VARIABLES), normal(VARIABLES, VARIABLES)]


def functions(tanh, rsqrt):
    def loss(w1, w2, x, y):
        error = tanh(x @ w1.T) @ w2.T - y
        return (error * error).sum()

    def energy(position, mass):
        apart = position[:, None] - position[None]
        near = (apart * apart).sum(-1) + 0.01
        return (mass[:, None] * mass[None] * rsqrt(near)).sum()

    def scalar(x, a):
        return (tanh(a @ x) ** 2).sum() + (x**4).sum()

    return loss, energy, scalar


def program(t, case: str):
    loss, energy, scalar = functions(t.tanh, t.rsqrt)
    f = t.func
    return {
        "per_sample": f.vmap(f.grad(loss, argnums=(0, 1)), in_dims=(None, None, 0, 0)),
        "nbody": f.grad(energy),
        "hessian": f.hessian(scalar),
    }[case]


def jax_program(case: str):
    import jax

    loss, energy, scalar = functions(jax.numpy.tanh, jax.lax.rsqrt)
    return {
        "per_sample": jax.vmap(jax.grad(loss, argnums=(0, 1)), in_axes=(None, None, 0, 0)),
        "nbody": jax.grad(energy),
        "hessian": jax.hessian(scalar),
    }[case]


def drjit_program(case: str):
    """The N-body gradient: Dr.Jit maps and differentiates no functions."""
    import drjit as dr

    def gradient(position, mass):
        position = type(position)(position)
        dr.enable_grad(position)
        apart = position[:, None] - position[None]
        near = dr.sum(apart * apart, axis=2) + 0.01
        dr.backward(dr.sum(mass[:, None] * mass[None] * dr.rsqrt(near), axis=None))
        return dr.grad(position)

    return gradient


PEERS = peers(arrays, program, jax_program, drjit_program=drjit_program)


def takes(peer: str, case: str) -> bool:
    return peer != "drjit" or case == "nbody"


if __name__ == "__main__":
    main(
        __doc__,
        PEERS,
        CASES,
        Options(tolerance=2e-4, rounds=5, unit="us", takes=takes),
    )

"""A step of AdamW over 100 tensors, written as anybody writes it, beside PyTorch's fused one.

python benchmarks/adamw.py [--case 128 256 512] [--peers tenon torch "torch foreach"]

A case is the side of the square tensors. Each step reads parameter, gradient and both moments and
writes all but the gradient: 28 bytes an element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Options, Peer, Runner, main

COUNT = 100


def arrays(case: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    side = int(case)
    return [rng.normal(size=(side, side)).astype(np.float32) for _ in range(2 * COUNT)]


def runner(
    t: Any,
    case: str,
    finish: Callable[..., Any] = lambda *_: None,
    compiles: Callable[[Any], Any] = lambda f: f,
    **options: Any,
) -> Runner:
    values = [t.from_numpy(a) for a in arrays(case)]
    parameters = [x.clone().requires_grad_() for x in values[:COUNT]]
    for p, g in zip(parameters, values[COUNT:], strict=True):
        p.grad = g.clone()
    optimizer = t.optim.AdamW(parameters, lr=1e-3, **options)
    step = compiles(optimizer.step)
    steps = 0

    def run() -> None:
        nonlocal steps
        step()
        finish(*parameters)
        steps += 1

    def result() -> np.ndarray:
        assert steps == 3  # of the harness' warm-up
        return np.concatenate([p.detach().numpy().ravel() for p in parameters])

    return Runner(run, result)


def tenon(case: str) -> Runner:
    import tenon

    return runner(tenon, case, tenon.eval)


def torch(case: str) -> Runner:
    import torch

    return runner(torch, case, fused=True)


def torch_foreach(case: str) -> Runner:
    import torch

    return runner(torch, case, foreach=True)


def torch_compile(case: str) -> Runner:
    import torch

    return runner(torch, case, compiles=torch.compile)


def jax_jit(case: str) -> Runner:
    """Written out: JAX itself has no optimizers."""
    import jax
    import jax.numpy as jnp

    given = [jnp.asarray(a) for a in arrays(case)]
    gradients = given[COUNT:]
    zeros = [jnp.zeros_like(g) for g in gradients]
    rate, beta1, beta2, eps, decay = 1e-3, 0.9, 0.999, 1e-8, 1e-2

    def step(parameters, firsts, seconds, gradients, count):
        kept: tuple[list, list, list] = ([], [], [])
        for p, m, v, g in zip(parameters, firsts, seconds, gradients, strict=True):
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
            deviation = jnp.sqrt(v / (1 - beta2**count)) + eps
            p = p * (1 - rate * decay) - rate / (1 - beta1**count) * m / deviation
            for values, value in zip(kept, (p, m, v), strict=True):
                values.append(value)
        return kept

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    state = (given[:COUNT], zeros, [jnp.zeros_like(g) for g in gradients])
    steps = 0

    def run() -> None:
        nonlocal state, steps
        steps += 1
        state = jax.block_until_ready(compiled(*state, gradients, float(steps)))

    def result() -> np.ndarray:
        assert steps == 3
        return np.concatenate([np.asarray(p).ravel() for p in state[0]])

    return Runner(run, result)


PEERS: dict[str, Peer] = {
    "tenon": tenon,
    "torch": torch,
    "torch foreach": torch_foreach,
    "torch.compile": torch_compile,
    "jax.jit": jax_jit,
}

if __name__ == "__main__":
    main(__doc__, PEERS, ["128", "256", "512"], Options(unit="ms"))

"""The elementwise chain tanh(x*y + sin(x)) * exp(-y*y) + x, float32, at three sizes.

python benchmarks/chain.py [--case 64K] [--peers tenon torch jax.jit]
"""

from __future__ import annotations

import numpy as np
from harness import Options, Peer, Runner, main

SIZES = {"1K": 1 << 10, "64K": 1 << 16, "16M": 1 << 24}


def arrays(case: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    n = SIZES[case]
    return rng.normal(size=n).astype(np.float32), rng.normal(size=n).astype(np.float32)


def tenon(case: str, *, compiles: bool = False) -> Runner:
    import tenon as tn

    x, y = (tn.from_numpy(a).clone() for a in arrays(case))
    tn.eval(x, y)

    def chain(x, y):
        return (x * y + x.sin()).tanh() * (-y * y).exp() + x

    if compiles:
        chain = tn.compile(chain)

    def run():
        z = chain(x, y)
        tn.eval(z)
        return z

    return Runner(run, lambda: run().numpy())


def tenon_compile(case: str) -> Runner:
    return tenon(case, compiles=True)


def torch(case: str) -> Runner:
    import torch

    x, y = (torch.from_numpy(a) for a in arrays(case))

    def run():
        return (x * y + x.sin()).tanh() * (-y * y).exp() + x

    return Runner(run, lambda: run().numpy())


def torch_compile(case: str) -> Runner:
    import torch

    x, y = (torch.from_numpy(a) for a in arrays(case))

    @torch.compile(dynamic=False)
    def chain(x, y):
        return (x * y + x.sin()).tanh() * (-y * y).exp() + x

    @torch.no_grad()
    def run():
        return chain(x, y)

    return Runner(run, lambda: run().numpy())


def jax_jit(case: str) -> Runner:
    import jax
    import jax.numpy as jnp

    x, y = (jnp.asarray(a) for a in arrays(case))
    chain = jax.jit(lambda x, y: jnp.tanh(x * y + jnp.sin(x)) * jnp.exp(-y * y) + x)

    def run():
        return chain(x, y).block_until_ready()

    return Runner(run, lambda: np.asarray(run()))


def drjit(case: str) -> Runner:
    import drjit as dr
    from drjit.llvm import Float

    x, y = (Float(a) for a in arrays(case))
    dr.eval(x, y)

    @dr.freeze
    def chain(x, y):
        return dr.tanh(x * y + dr.sin(x)) * dr.exp(-y * y) + x

    def run():
        z = chain(x, y)
        dr.eval(z)
        dr.sync_thread()
        return z

    return Runner(run, lambda: run().numpy())


PEERS: dict[str, Peer] = {
    "tenon": tenon,
    "tenon.compile": tenon_compile,
    "torch": torch,
    "torch.compile": torch_compile,
    "jax.jit": jax_jit,
    "drjit": drjit,
}

if __name__ == "__main__":
    main(__doc__, PEERS, list(SIZES), Options(tolerance=1e-5))

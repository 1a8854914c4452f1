"""A call of a compiled function with ten small arguments: a sum of all, what a call costs.

python benchmarks/call.py [--case call] [--peers tenon torch.compile jax.jit]

`call` gives ten arrays of 16 floats, so that the kernel is next to nothing; `tuple` gives them in
one tuple.
"""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
from harness import Options, Peer, Runner, main

COUNT = 10


def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=16).astype(np.float32) for _ in range(COUNT)]


def total(a, b, c, d, e, f, g, h, i, j):
    return a + b + c + d + e + f + g + h + i + j


def total_of_tuple(values):
    a, b, c, d, e, f, g, h, i, j = values
    return a + b + c + d + e + f + g + h + i + j


def arguments_of(case: str, values: list) -> tuple:
    return tuple(values) if case == "call" else (tuple(values),)


def tenon(case: str) -> Runner:
    import tenon as tn

    values = [tn.from_numpy(a).clone() for a in arrays()]
    tn.eval(*values)
    function = tn.compile(total if case == "call" else total_of_tuple)
    args = arguments_of(case, values)

    def run():
        out = function(*args)
        tn.eval(out)
        return out

    return Runner(run, lambda: run().numpy())


def torch(case: str) -> Runner:
    import torch

    args = arguments_of(case, [torch.from_numpy(a) for a in arrays()])
    function = total if case == "call" else total_of_tuple

    def run():
        return function(*args)

    return Runner(run, lambda: run().numpy())


def torch_compile(case: str) -> Runner:
    import torch

    args = arguments_of(case, [torch.from_numpy(a) for a in arrays()])
    function = torch.compile(total if case == "call" else total_of_tuple)

    def run():
        with torch.no_grad():
            return function(*args)

    return Runner(run, lambda: run().numpy())


def jax_jit(case: str) -> Runner:
    import jax
    import jax.numpy as jnp

    args = arguments_of(case, [jnp.asarray(a) for a in arrays()])
    function = jax.jit(total if case == "call" else total_of_tuple)

    def run():
        return function(*args).block_until_ready()

    return Runner(run, lambda: np.asarray(run()))


def numpy(case: str) -> Runner:
    values = arrays()
    return Runner(lambda: reduce(add, values), lambda: reduce(add, values))


PEERS: dict[str, Peer] = {
    "tenon": tenon,
    "torch": torch,
    "torch.compile": torch_compile,
    "jax.jit": jax_jit,
    "numpy": numpy,
}

if __name__ == "__main__":
    main(__doc__, PEERS, ["call", "tuple"], Options(tolerance=1e-5))

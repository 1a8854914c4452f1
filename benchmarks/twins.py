"""Benchmarks whose program is the same source in Tenon and PyTorch, and a second one in JAX.

A program is a function `f(t, case)` that gets the framework's module (`tenon` or `torch`) and
returns a function of tensors; `g(case)` does the same for JAX. `peers` makes the table that
`harness.main` takes. With `gradients`, a run is the function, and the gradients of its result in
the floating inputs against a cotangent of random numbers, so that nothing simplifies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from harness import Peer, Runner

Arrays = Callable[[str], Sequence[np.ndarray]]
Program = Callable[[Any, str], Callable[..., Any]]


def is_floating(array: np.ndarray) -> bool:
    return array.dtype.kind == "f"


def flat(results: Any, numpy: Callable[[Any], np.ndarray]) -> np.ndarray:
    """Everything a run gave, in one array."""
    parts = results if isinstance(results, (tuple, list)) else [results]
    return np.concatenate([np.asarray(numpy(p), dtype=np.float64).ravel() for p in parts])


def cotangent(shape: Sequence[int]) -> np.ndarray:
    return np.random.default_rng(7).normal(size=tuple(shape)).astype(np.float32)


def step(t: Any, f: Callable[..., Any], tensors: Sequence[Any], gradients: bool) -> Callable:
    """One run in a framework with PyTorch's interface."""
    if not gradients:
        return lambda: f(*tensors)
    leaves = [x for x in tensors if x.is_floating_point()]
    for x in leaves:
        x.requires_grad_(True)
    seed = t.from_numpy(cotangent(f(*tensors).shape))

    def run():
        for x in leaves:
            x.grad = None
        y = f(*tensors)
        y.backward(seed)
        return [y.detach(), *(x.grad for x in leaves)]

    return run


def peers(
    arrays: Arrays,
    program: Program,
    jax_program: Callable[[str], Callable[..., Any]],
    gradients: Callable[[str], bool] = lambda case: False,
    compared: Callable[[str, np.ndarray], np.ndarray] = lambda case, values: values,
    drjit_program: Callable[[str], Callable[..., Any]] | None = None,
) -> dict[str, Peer]:
    """Tenon, tn.compile, torch, torch.compile, jax.jit and, where it has a program, Dr.Jit running
    these programs.

    `compared` makes of a result what has to agree, where single numbers can't. Dr.Jit's program is
    a function of tensors of `drjit.llvm.ad`.
    """

    def tenon(case: str, *, compiles: bool = False) -> Runner:
        import tenon as tn

        tensors = [tn.from_numpy(a).clone() for a in arrays(case)]
        tn.eval(*tensors)
        f = program(tn, case)
        once = step(tn, tn.compile(f) if compiles else f, tensors, gradients(case))

        def run():
            results = once()
            tn.eval(*(results if isinstance(results, (list, tuple)) else [results]))
            return results

        return Runner(run, lambda: compared(case, flat(run(), lambda x: x.numpy())))

    def tenon_compile(case: str) -> Runner:
        return tenon(case, compiles=True)

    def torch(case: str) -> Runner:
        import torch

        tensors = [torch.from_numpy(a) for a in arrays(case)]
        run = step(torch, program(torch, case), tensors, gradients(case))
        return Runner(run, lambda: compared(case, flat(run(), lambda x: x.numpy())))

    def torch_compile(case: str) -> Runner:
        import torch

        tensors = [torch.from_numpy(a) for a in arrays(case)]
        compiled = torch.compile(program(torch, case), dynamic=False)
        once = step(torch, compiled, tensors, gradients(case))

        def run():
            with torch.set_grad_enabled(gradients(case)):
                return once()

        return Runner(run, lambda: compared(case, flat(run(), lambda x: x.numpy())))

    def jax_jit(case: str) -> Runner:
        import jax
        import jax.numpy as jnp

        tensors = [jnp.asarray(a) for a in arrays(case)]
        f = jax_program(case)
        if gradients(case):
            floating = [i for i, a in enumerate(arrays(case)) if is_floating(a)]
            seed = jnp.asarray(cotangent(jax.eval_shape(f, *tensors).shape))

            def with_gradients(*inputs):
                def of_floating(*leaves):
                    given = list(inputs)
                    for i, leaf in zip(floating, leaves, strict=True):
                        given[i] = leaf
                    return f(*given)

                y, pull = jax.vjp(of_floating, *(inputs[i] for i in floating))
                return [y, *pull(seed)]

            compiled = jax.jit(with_gradients)
        else:
            compiled = jax.jit(f)

        def run():
            return jax.block_until_ready(compiled(*tensors))

        return Runner(run, lambda: compared(case, flat(run(), np.asarray)))

    def drjit(case: str) -> Runner:
        import drjit as dr
        from drjit.llvm.ad import TensorXf

        assert drjit_program is not None
        tensors = [TensorXf(a) for a in arrays(case)]
        dr.eval(tensors)
        frozen = dr.freeze(drjit_program(case))

        def run():
            results = frozen(*tensors)
            dr.eval(results)
            dr.sync_thread()
            return results

        return Runner(run, lambda: compared(case, flat(run(), lambda x: x.numpy())))

    table: dict[str, Peer] = {
        "tenon": tenon,
        "tenon.compile": tenon_compile,
        "torch": torch,
        "torch.compile": torch_compile,
        "jax.jit": jax_jit,
    }
    return table | ({"drjit": drjit} if drjit_program else {})

"""Random functions under random nests of grad, vjp, jvp, jacrev and vmap, against torch.func.

A function of a vector is a list of steps, drawn from a seed. A step may apply a transform to
another such function, so nests get up to four deep; inner functions use the values of outer ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")

N = 4
Step = tuple[str, int, float, "Function | None"]


class Function:
    """A drawn function of a vector of N numbers; m is tenon or torch, F its func."""

    def __init__(self, rng: random.Random, depth: int) -> None:
        self.steps: list[Step] = []
        for _ in range(rng.randint(1, 4)):
            name = rng.choice(sorted(STEPS) + sorted(TRANSFORMS) * (depth > 0))
            inner = Function(rng, depth - 1) if name in TRANSFORMS else None
            self.steps.append((name, rng.randint(1, N - 1), rng.uniform(-1, 1), inner))

    def __call__(self, m: Any, F: Any, x: Any, outer: list[Any]) -> Any:
        for name, i, a, inner in self.steps:
            if inner is None:
                x = STEPS[name](m, x, outer, i, a)
            else:
                names = [x, *outer]
                x = TRANSFORMS[name](m, F, lambda z, g=inner, o=names: g(m, F, z, o), x, outer)
                x = x / (1 + x * x).sqrt()  # derivatives of derivatives grow
        return x

    def __repr__(self) -> str:
        return f"{self.steps}"


def in_place(m: Any, x: Any, outer: list[Any], i: int, a: float) -> Any:
    y = x.clone()
    y[i] = x[i - 1] * a
    y[:2].mul_(1.5)
    y.view(2, 2).t().add_(x.view(2, 2))
    return y


def without_gradient(m: Any, x: Any, outer: list[Any], i: int, a: float) -> Any:
    with m.no_grad():
        factor = x.sin()
    return x * factor


def numbers(m: Any, values: list[int]) -> Any:
    return m.tensor(values)


STEPS: dict[str, Callable[..., Any]] = {
    "sin": lambda m, x, o, i, a: x.sin() * (a + 1.5),
    "times outer": lambda m, x, o, i, a: x * (o[i % len(o)] if o else x),
    "tanh": lambda m, x, o, i, a: (x * a).tanh() + x,
    "cumsum": lambda m, x, o, i, a: m.cumsum(x, 0) * 0.3,
    "polynomial": lambda m, x, o, i, a: x * x * a + 0.1,
    "roll": lambda m, x, o, i, a: m.cat([x[i:], x[:i]]),
    "flip": lambda m, x, o, i, a: m.flip(x, [0]) - x * a,
    "pad": lambda m, x, o, i, a: m.nn.functional.pad(x, (i, 0))[:N] + x,
    "in place": in_place,
    "no_grad": without_gradient,
    "detach": lambda m, x, o, i, a: x * x.detach() + x,
    "matmul": lambda m, x, o, i, a: (x.unsqueeze(1) * x.unsqueeze(0)).matmul(x) * 0.2,
    "outer product": lambda m, x, o, i, a: m.outer(x, x).sum(0) * 0.3,
    "sort": lambda m, x, o, i, a: m.sort(x)[0],
    "where": lambda m, x, o, i, a: m.where(x > a, x * 2, x.exp() * 0.3),
    "softmax": lambda m, x, o, i, a: m.softmax(x, 0) * N,
    "index": lambda m, x, o, i, a: x[numbers(m, [(i + 2 * j) % N for j in range(N)])] + x,
    "gather": lambda m, x, o, i, a: m.gather(x, 0, numbers(m, [i, 0, i, 3])) * a,
    "scatter": lambda m, x, o, i, a: m.scatter_add(x, 0, numbers(m, [i, i, 0]), x[:3] * a),
    "max": lambda m, x, o, i, a: x - m.max(x),
    "prod": lambda m, x, o, i, a: x + m.prod(x) * a,
    "constant": lambda m, x, o, i, a: x + m.tensor([0.5, -1, 2, a], dtype=m.float64) * a,
}


def of_jvp(m: Any, F: Any, g: Callable[[Any], Any], x: Any, outer: list[Any]) -> Any:
    value, tangent = F.jvp(g, (x,), (outer[0] if outer else x * 0.5,))
    return tangent + value * 0.1


def of_vjp(m: Any, F: Any, g: Callable[[Any], Any], x: Any, outer: list[Any]) -> Any:
    value, pull = F.vjp(g, x)
    result = pull(value * 0.5 + 1)
    return result[0] if isinstance(result, tuple) else result


TRANSFORMS: dict[str, Callable[..., Any]] = {
    "grad": lambda m, F, g, x, o: F.grad(lambda z: (g(z) * z.cos()).sum())(x),
    "jvp": of_jvp,
    "vjp": of_vjp,
    "jacrev": lambda m, F, g, x, o: F.jacrev(g)(x).sum(0),
    "vmap": lambda m, F, g, x, o: F.vmap(g)(m.stack([x, x * 0.5, x.sin()])).sum(0),
    "vmap over columns": lambda m, F, g, x, o: F.vmap(g, in_dims=1, out_dims=1)(
        m.stack([x, x + 0.3], 1)
    ).sum(1),
}


def evaluate(m: Any, F: Any, function: Function, kind: str, point: list[float]) -> Any:
    x = m.tensor(point, dtype=m.float64)
    if kind == "backward":
        leaf = m.tensor(point, dtype=m.float64, requires_grad=True)
        y = function(m, F, leaf, [x])
        (y * y + leaf * 0).sum().backward()
        return np.array(leaf.grad.numpy())
    if kind == "plain":
        y = function(m, F, x, [])
    else:
        y = TRANSFORMS[kind](m, F, lambda z: function(m, F, z, [x]), x, [x])
    return np.array(y.detach().numpy())


@pytest.mark.parametrize("block", range(8))
def test_random_nests_agree_with_torch(block: int) -> None:
    compared = 0
    for seed in range(40 * block, 40 * block + 40):
        rng = random.Random(seed)
        function = Function(rng, 3)
        kind = rng.choice(["plain", "backward", *sorted(TRANSFORMS)])
        point = [rng.uniform(-1, 1) for _ in range(N)]
        try:
            expected = evaluate(torch, torch.func, function, kind, point)
        except (RuntimeError, NotImplementedError):
            continue  # what PyTorch has no rule for
        actual = evaluate(tn, tn.func, function, kind, point)
        np.testing.assert_allclose(
            actual, expected, rtol=1e-7, atol=1e-9, err_msg=f"seed {seed}: {kind} of {function}"
        )
        compared += 1
    assert compared > 30

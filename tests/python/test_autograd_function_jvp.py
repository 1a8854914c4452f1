"""autograd.Function in forward mode, and where it is refused. PyTorch is the judge."""

from __future__ import annotations

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")


def with_jvp(m):
    class Scaled(m.autograd.Function):
        @staticmethod
        def forward(x, y):
            return x * y, y.exp(), (x > 0)

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, y = inputs
            ctx.save_for_backward(x, y, output[1])
            ctx.save_for_forward(x, y, output[1])
            ctx.mark_non_differentiable(output[2])

        @staticmethod
        def backward(ctx, of_product, of_exp, unused):
            x, y, e = ctx.saved_tensors
            return 2 * of_product * y, 2 * of_product * x + 2 * of_exp * e

        @staticmethod
        def jvp(ctx, dx, dy):
            x, y, e = ctx.saved_tensors
            return 3 * (dx * y + x * dy), 3 * dy * e, None

    return Scaled


def test_jvp_as_pytorch():
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=4) for _ in range(4)]

    def compute(m):
        f = with_jvp(m).apply
        x, y, dx, dy = (m.from_numpy(a.copy()) for a in arrays)
        jvp, grad = m.func.jvp, m.func.grad
        both = lambda x, y: f(x, y)[:2]  # noqa: E731
        first, tangents = jvp(both, (x, y), (dx, dy))
        _, of_y_alone = jvp(lambda y: both(x, y), (y,), (dy,))
        loss = lambda x: sum(z.sin().sum() for z in both(x, y))  # noqa: E731
        return (
            *(*first, *tangents, *of_y_alone, grad(loss)(x)),
            jvp(lambda x: both(x * x, y)[0].sin(), (x,), (dx,))[1],
        )

    for found, expected in zip(compute(tn), compute(torch), strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)


def test_without_a_jvp_forward_mode_says_so():
    class Plain(tn.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    with pytest.raises(NotImplementedError, match="without a jvp"):
        tn.func.jvp(Plain.apply, (tn.ones(2),), (tn.ones(2),))


def test_in_a_loop_or_branch_it_is_refused():
    f = with_jvp(tn).apply
    for call in (
        lambda x: tn.scan(lambda c, r: (c + f(r, r)[0], c), tn.tensor(0.0), x)[0],
        lambda x: tn.cond(x.sum() > 0, lambda x: f(x, x)[0], lambda x: x, (x,)),
    ):
        with pytest.raises(NotImplementedError, match="Scaled: an autograd"):
            tn.func.grad(lambda x, call=call: call(x).sum())(tn.ones(3))

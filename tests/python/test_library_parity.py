"""Operations that users declare: the same text for PyTorch and Tenon."""

import numpy as np
import pytest

import tenon as tn

F64 = {"dtype": tn.float64}

NUMPY_OP = """
def declare(fw):
    Tensor = fw.Tensor

    def to_numpy(x):
        return x.detach().numpy()

    @fw.library.custom_op("numpy_{fw}::take_sorted", mutates_args=())
    def take_sorted(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        order = np.argsort(to_numpy(x), axis=dim, kind="stable")
        return fw.from_numpy(np.take_along_axis(to_numpy(x), order, dim)), fw.from_numpy(order)

    @take_sorted.register_fake
    def _(x, dim):
        return fw.empty_like(x), fw.empty_like(x, dtype=fw.int64)

    def setup_context(ctx, inputs, output):
        x, dim = inputs
        ctx.save_for_backward(output[1])
        ctx.dim, ctx.shape = dim, x.shape

    def backward(ctx, gradient, unused):
        (order,) = ctx.saved_tensors
        zeros = gradient.new_zeros(ctx.shape)
        return zeros.scatter(ctx.dim, order, gradient), None

    take_sorted.register_autograd(backward, setup_context=setup_context)

    @take_sorted.register_vmap
    def _(info, in_dims, x, dim):
        x = x.movedim(in_dims[0], 0)
        return take_sorted(x, dim % (x.ndim - 1) + 1), (0, 0)

    @fw.library.custom_op("numpy_{fw}::many", mutates_args=())
    def many(xs: Sequence[Tensor], weight: Optional[Tensor] = None, *, power: int = 2) -> Tensor:
        total = sum(to_numpy(x) ** power for x in xs)
        return fw.from_numpy(total if weight is None else total * to_numpy(weight))

    def many_setup(ctx, inputs, keyword_only_inputs, output):
        xs, weight = inputs
        ctx.save_for_backward(*xs, *([] if weight is None else [weight]))
        ctx.count, ctx.power = len(xs), keyword_only_inputs["power"]

    def many_backward(ctx, g):
        xs, rest = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        scaled = g * rest[0] if rest else g
        of_xs = [scaled * ctx.power * x ** (ctx.power - 1) for x in xs]
        return of_xs, (sum(x**ctx.power for x in xs) * g if rest else None)

    many.register_autograd(many_backward, setup_context=many_setup)
    return take_sorted, many
"""


@pytest.fixture(scope="module")
def declared():
    torch = pytest.importorskip("torch")
    from collections.abc import Sequence
    from typing import Optional

    found = {}
    for fw, name in ((torch, "torch"), (tn, "tenon")):
        scope = {"np": np, "Sequence": Sequence, "Optional": Optional}
        exec(NUMPY_OP.replace("{fw}", name), scope)
        found[name] = scope["declare"](fw)
    return torch, found["torch"], found["tenon"]


def both(declared, compute):
    torch, theirs, ours = declared
    rng = np.random.default_rng(7)
    arrays = [rng.normal(size=(3, 4)) for _ in range(3)]

    def run(fw, ops):
        return compute(fw, *ops, *(fw.from_numpy(a.copy()) for a in arrays))

    for expected, found in zip(run(torch, theirs), run(tn, ours), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-12)


def test_as_pytorch_values_and_gradients(declared):
    def compute(fw, take_sorted, many, x, y, z):
        x.requires_grad_()
        w = y.clone().requires_grad_()
        values, order = take_sorted(x, 1)
        (values * z).sum().backward()
        total = many([x, w, z], w, power=3)
        total.cos().sum().backward()
        return values, order, total, x.grad, w.grad, many([y, z])

    both(declared, compute)


def test_as_pytorch_second_derivatives(declared):
    def compute(fw, take_sorted, many, x, y, z):
        x.requires_grad_()
        total = many([x, y], z, power=3)
        (g,) = fw.autograd.grad(total.sum(), x, create_graph=True)
        (gg,) = fw.autograd.grad((g * y).sum(), x)
        return g, gg

    both(declared, compute)


def test_as_pytorch_batches(declared):
    def compute(fw, take_sorted, many, x, y, z):
        vmap = fw.func.vmap
        return (
            vmap(lambda x: take_sorted(x, 0)[0])(x),
            vmap(lambda x: take_sorted(x, -1)[1], in_dims=1)(x),
            vmap(vmap(lambda x: take_sorted(x.reshape(2, 2), 0)[0]))(x.reshape(3, 1, 4)),
        )

    both(declared, compute)


def test_what_pytorch_has_no_word_for(declared):
    _, _, (take_sorted, _) = declared
    x, t = tn.randn(3, 4, **F64), tn.randn(3, 4, **F64)
    values, tangent = tn.func.jvp(lambda x: take_sorted(x, 1)[0], (x,), (t,))
    order = np.argsort(x.numpy(), 1)
    np.testing.assert_allclose(values.numpy(), np.sort(x.numpy(), 1))
    np.testing.assert_allclose(tangent.numpy(), np.take_along_axis(t.numpy(), order, 1))
    back = np.argsort(order, 1)
    loss = lambda x, w: (take_sorted(x, 0)[0] * w).sum()  # noqa: E731
    w = tn.randn(3, 4, **F64)
    expected = np.take_along_axis(w.numpy(), back, 1)
    np.testing.assert_allclose(tn.vmap(tn.func.grad(loss))(x, w).numpy(), expected)
    whole = tn.func.grad(lambda x: (tn.vmap(lambda x: take_sorted(x, 0)[0])(x) * w).sum())(x)
    np.testing.assert_allclose(whole.numpy(), expected)
    tn.library.opcheck(take_sorted, (x.requires_grad_(), 1))

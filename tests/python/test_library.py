"""Operations that users declare: PyTorch judges what it can, NumPy and mathematics the rest."""

import subprocess
import sys

import numpy as np
import pytest

import tenon as tn

F64 = {"dtype": tn.float64}


def exponential(name, **rules):
    """A composition with a derivative of its own: of exp, three times too large, so it shows."""

    @tn.library.custom_op(f"test::{name}", mutates_args=())
    def op(x: tn.Tensor) -> tn.Tensor:
        return x.exp()

    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return 3 * gradient * y

    op.register_autograd(backward, setup_context=setup_context)
    return op


# ---- a body of operations ------------------------------------------------------------------------


def test_a_composition_has_all_rules_from_its_operations():
    @tn.library.custom_op("test::soft", mutates_args=())
    def soft(x: tn.Tensor, y: tn.Tensor, factor: float = 2.0) -> tuple[tn.Tensor, tn.Tensor]:
        return (x * factor).tanh(), x * y

    x, y = tn.randn(4, 3, **F64), tn.randn(3, **F64)
    a, b = soft(x, y)
    np.testing.assert_allclose(a.numpy(), np.tanh(2 * x.numpy()))
    np.testing.assert_allclose(b.numpy(), x.numpy() * y.numpy())
    tn.library.opcheck(soft, (x, y), {"factor": 0.5})


def test_rules_of_a_composition_go_through_every_transform():
    op = exponential("triple")
    x = tn.tensor([0.5, -1.0, 2.0], **F64)
    e = np.exp(x.numpy())
    leaf = x.clone().requires_grad_()
    op(leaf).sum().backward()
    np.testing.assert_allclose(leaf.grad.numpy(), 3 * e)
    one = lambda x: op(x).sum()  # noqa: E731
    np.testing.assert_allclose(tn.func.grad(one)(x).numpy(), 3 * e)
    np.testing.assert_allclose(tn.func.grad(lambda x: tn.func.grad(one)(x).sum())(x).numpy(), 9 * e)
    t = tn.tensor([1.0, 2.0, -3.0], **F64)
    primal, tangent = tn.func.jvp(op, (x,), (t,))
    np.testing.assert_allclose(primal.numpy(), e)
    np.testing.assert_allclose(tangent.numpy(), 3 * e * t.numpy())
    _, second = tn.func.jvp(lambda x: tn.func.jvp(op, (x,), (t,))[1], (x,), (t,))
    np.testing.assert_allclose(second.numpy(), 9 * e * t.numpy() ** 2)
    np.testing.assert_allclose(
        tn.func.jvp(tn.func.grad(one), (x,), (t,))[1].numpy(), 9 * e * t.numpy()
    )
    np.testing.assert_allclose(tn.vmap(op)(x).numpy(), e)
    scalar = tn.func.grad(op)
    np.testing.assert_allclose(tn.vmap(scalar)(x).numpy(), 3 * e)
    np.testing.assert_allclose(tn.func.grad(lambda x: tn.vmap(op)(x).sum())(x).numpy(), 3 * e)
    np.testing.assert_allclose(tn.vmap(tn.func.grad(scalar))(x).numpy(), 9 * e)
    np.testing.assert_allclose(tn.func.grad(lambda x: tn.vmap(scalar)(x).sum())(x).numpy(), 9 * e)
    np.testing.assert_allclose(
        tn.func.jvp(lambda x: tn.vmap(op)(x), (x,), (t,))[1].numpy(), 3 * e * t.numpy()
    )
    np.testing.assert_allclose(tn.func.jacrev(op)(x).numpy(), np.diag(3 * e))
    np.testing.assert_allclose(tn.func.jacfwd(op)(x).numpy(), np.diag(3 * e))
    twice = tn.vmap(tn.vmap(op))(x.reshape(3, 1))
    np.testing.assert_allclose(twice.numpy(), e.reshape(3, 1))
    leaf = x.clone().requires_grad_()
    tn.vmap(tn.vmap(op))(leaf.reshape(3, 1)).sum().backward()
    np.testing.assert_allclose(leaf.grad.numpy(), 3 * e)


def test_shared_arguments_of_a_batch_get_gradients_of_all_examples():
    @tn.library.custom_op("test::weighed", mutates_args=())
    def weighed(x: tn.Tensor, w: tn.Tensor) -> tn.Tensor:
        return x * w

    def setup(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return 2 * g * w, 5 * g * x

    weighed.register_autograd(backward, setup_context=setup)
    x, w = tn.randn(4, 3, **F64), tn.randn(3, **F64)
    both = lambda x, w: tn.vmap(weighed, in_dims=(0, None))(x, w).sum()  # noqa: E731
    of_x, of_w = tn.func.grad(both, argnums=(0, 1))(x, w)
    np.testing.assert_allclose(of_x.numpy(), np.broadcast_to(2 * w.numpy(), (4, 3)))
    np.testing.assert_allclose(of_w.numpy(), 5 * x.numpy().sum(0))


def test_rules_of_a_composition_hold_in_regions():
    op = exponential("in_regions")
    x, t = tn.randn(4, 3, **F64), tn.randn(4, 3, **F64)

    def scanned(x):
        step = lambda c, row: (c + op(row * c.cos()).mean(), c)  # noqa: E731
        return tn.scan(step, x.sum() * 0 + 1, x)[0]

    def looped(x):
        c = x.sum() * 0 + 1
        for row in x:
            c = c + op(row * c.cos()).mean()
        return c

    def chosen(x):
        return tn.cond(x.sum() > -1e9, lambda x: op(x).sum(), lambda x: x.sum(), (x,))

    for f, plain in ((scanned, looped), (chosen, lambda x: op(x).sum())):
        grad, expected = tn.func.grad(f), tn.func.grad(plain)
        compared = [
            (f(x), plain(x)),
            (grad(x), expected(x)),
            (tn.func.jvp(f, (x,), (t,))[1], tn.func.jvp(plain, (x,), (t,))[1]),
            (tn.func.jvp(grad, (x,), (t,))[1], tn.func.jvp(expected, (x,), (t,))[1]),
            (
                tn.func.grad(lambda x, grad=grad: (grad(x) * t).sum())(x),
                tn.func.jvp(expected, (x,), (t,))[1],
            ),
        ]
        xs = tn.stack([x, x * 0.5])
        compared += [
            (tn.vmap(f)(xs), tn.stack([plain(x), plain(x * 0.5)])),
            (tn.vmap(grad)(xs), tn.stack([expected(x), expected(x * 0.5)])),
            (
                tn.func.grad(lambda xs, f=f: tn.vmap(f)(xs).sum())(xs),
                tn.stack([expected(x), expected(x * 0.5)]),
            ),
        ]
        for found, wanted in compared:
            np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-9)
    within = lambda x: tn.scan(lambda c, row: (c + tn.vmap(op)(row).sum(), c), x.sum() * 0, x)[0]  # noqa: E731
    np.testing.assert_allclose(tn.func.grad(within)(x).numpy(), 3 * np.exp(x.numpy()))
    scale = tn.tensor(2.0, requires_grad=True)
    tn.scan(lambda c, row: (c + op(row * scale).sum(), c), tn.tensor(0.0, **F64), x)[0].backward()
    np.testing.assert_allclose(
        scale.grad.item(), (3 * np.exp(2 * x.numpy()) * x.numpy()).sum(), 1e-6
    )
    ended = tn.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, op(y) / 4), (tn.tensor(0), x))[1]
    value = x.numpy()
    for _ in range(3):
        value = np.exp(value) / 4
    np.testing.assert_allclose(ended.numpy(), value)


def test_a_jvp_gives_both_modes():
    @tn.library.custom_op("test::pushed", mutates_args=())
    def pushed(x: tn.Tensor, y: tn.Tensor) -> tn.Tensor:
        return x * y.sin()

    @pushed.register_jvp
    def _(primals, tangents, output):
        (x, y), (dx, dy) = primals, tangents
        total = tn.zeros_like(output)
        if dx is not None:
            total = total + dx * y.sin()
        if dy is not None:
            total = total + x * y.cos() * dy
        return total

    x, y = tn.randn(3, **F64, requires_grad=True), tn.randn(3, **F64, requires_grad=True)
    tn.library.opcheck(pushed, (x, y))
    pushed(x, y).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.sin(y.detach().numpy()))
    hessian = tn.func.hessian(lambda y: pushed(x.detach(), y).sum())(y.detach())
    np.testing.assert_allclose(
        hessian.numpy(), np.diag(-x.detach().numpy() * np.sin(y.detach().numpy()))
    )


def test_a_transpose_gives_both_modes_of_every_order():
    @tn.library.custom_op("test::mix", mutates_args=())
    def mix(a: tn.Tensor, x: tn.Tensor, scale: float) -> tn.Tensor:
        return tn.from_numpy(scale * (a.detach().numpy() @ x.detach().numpy()))

    mix.register_fake(lambda a, x, scale: x.new_empty((a.shape[0],)))
    tn.library.register_transpose(
        mix, lambda g, a, x, scale: mix(a.T.contiguous(), g, scale), linear=["x"]
    )

    @mix.register_vmap
    def _(info, in_dims, a, x, scale):
        assert in_dims == (None, 0, None) and info.batch_size == 5
        return scale * x @ a.T, 0

    a, x = tn.randn(2, 3, **F64), tn.randn(3, **F64)
    loss = lambda x: mix(a, x, 2.0).square().sum()  # noqa: E731
    m = 2 * a.numpy()
    np.testing.assert_allclose(tn.func.grad(loss)(x).numpy(), 2 * m.T @ m @ x.numpy())
    t = tn.randn(3, **F64)
    np.testing.assert_allclose(
        tn.func.jvp(lambda x: mix(a, x, 2.0), (x,), (t,))[1].numpy(), m @ t.numpy()
    )
    np.testing.assert_allclose(
        tn.func.jvp(tn.func.grad(loss), (x,), (t,))[1].numpy(), 2 * m.T @ m @ t.numpy()
    )
    xs = tn.randn(5, 3, **F64)
    np.testing.assert_allclose(tn.vmap(lambda x: mix(a, x, 2.0))(xs).numpy(), xs.numpy() @ m.T)
    learned = a.clone().requires_grad_()  # differentiated, but not in this mode
    pushed = tn.func.jvp(lambda x: mix(learned, x, 2.0), (x,), (t,))[1]
    np.testing.assert_allclose(pushed.detach().numpy(), m @ t.numpy())
    with pytest.raises(RuntimeError, match=r"test::mix has no derivative by 'a'"):
        tn.func.jvp(lambda a: mix(a, x, 2.0), (a,), (a,))
    np.testing.assert_allclose(  # what the error interrupted is as it was
        tn.func.jvp(tn.func.grad(loss), (x,), (t,))[1].numpy(), 2 * m.T @ m @ t.numpy()
    )
    with pytest.raises(ValueError, match="test::mix: 'scale' is none of its tensors"):
        tn.library.register_transpose(mix, lambda g: g, linear=("scale",))


# ---- the same text for PyTorch and Tenon ---------------------------------------------------------

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


# ---- a kernel in C++ -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def median():
    sys.path.insert(0, "examples")
    try:
        import rolling_median
    finally:
        sys.path.pop(0)
    try:
        return rolling_median.load()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def medians(x, window):
    windows = np.lib.stride_tricks.sliding_window_view(x, window, axis=-1)
    return np.median(windows, axis=-1)


def places_of(x, window):
    windows = np.lib.stride_tricks.sliding_window_view(x, window, axis=-1)
    inside = np.argsort(windows, axis=-1)[..., window // 2]
    return inside + np.arange(inside.shape[-1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernel_values(median, dtype):
    x = np.random.default_rng(0).normal(size=(4, 2, 9)).astype(dtype)
    values, places = median(tn.from_numpy(x), 5)
    np.testing.assert_array_equal(values.numpy(), medians(x, 5).astype(dtype))
    np.testing.assert_array_equal(places.numpy(), places_of(x, 5))
    across = tn.from_numpy(x).transpose(0, 2)[::2]  # neither contiguous nor dense
    np.testing.assert_array_equal(median(across, window=3)[0].numpy(), medians(across.numpy(), 3))
    assert median(tn.ones(3))[0].tolist() == [1]  # the window's default
    assert median(tn.zeros(0, 5), 3)[0].shape == (0, 3)
    (only,) = (median(tn.from_numpy(x), 5)[1],)  # a result alone
    np.testing.assert_array_equal(only.numpy(), places_of(x, 5))


def test_kernel_fuses_around_and_compiles_nothing_new(median):
    def step(x, window):
        return (median(x * 2, window)[0] + 1).sum()

    for length, window in ((8, 3), (9, 5), (17, 7)):
        x = tn.randn(2, length)
        x.numpy()
        np.testing.assert_allclose(
            step(x, window).item(), (medians(2 * x.numpy(), window) + 1).sum(), rtol=1e-5
        )
    x = tn.randn(2, 33)
    x.numpy()
    made = tn.jit.counters()["plans"]
    step(x, 9).item()
    assert tn.jit.counters()["plans"] == made


def test_kernel_derivatives(median):
    x, t = tn.randn(3, 8, **F64), tn.randn(3, 8, **F64)
    tn.library.opcheck(median, (x.clone().requires_grad_(), 3))
    loss = lambda x: median(x, 3)[0].pow(3).sum()  # noqa: E731
    places = places_of(x.numpy(), 3)
    expected = np.zeros((3, 8))
    np.add.at(expected, (np.arange(3)[:, None], places), 3 * medians(x.numpy(), 3) ** 2)
    np.testing.assert_allclose(tn.func.grad(loss)(x).numpy(), expected)
    second = np.zeros((3, 8))
    weights = 6 * medians(x.numpy(), 3) * np.take_along_axis(t.numpy(), places, 1)
    np.add.at(second, (np.arange(3)[:, None], places), weights)
    for mode in (
        lambda: tn.func.jvp(tn.func.grad(loss), (x,), (t,))[1],
        lambda: tn.func.grad(lambda x: tn.func.jvp(loss, (x,), (t,))[1])(x),
        lambda: tn.func.grad(lambda x: (tn.func.grad(loss)(x) * t).sum())(x),
    ):
        np.testing.assert_allclose(mode().numpy(), second)
    leaf = x.clone().requires_grad_()
    y = loss(leaf)
    y.item()  # what the derivative needs outlives the run
    y.backward()
    np.testing.assert_allclose(leaf.grad.numpy(), expected)


def test_kernel_batches(median):
    x = tn.randn(4, 3, 7, **F64)
    one = lambda x: median(x, 3)[0]  # noqa: E731
    expected = medians(x.numpy(), 3)
    np.testing.assert_array_equal(tn.vmap(one)(x).numpy(), expected)
    np.testing.assert_array_equal(tn.vmap(tn.vmap(one))(x).numpy(), expected)
    np.testing.assert_array_equal(tn.vmap(one, in_dims=1, out_dims=1)(x).numpy(), expected)
    grads = tn.vmap(tn.func.grad(lambda x: one(x).square().sum()))(x)
    whole = tn.func.grad(lambda x: tn.vmap(one)(x).square().sum())(x)
    np.testing.assert_allclose(grads.numpy(), whole.numpy())
    jacobian = tn.func.jacfwd(one)(x[0, 0])
    np.testing.assert_array_equal(jacobian.numpy(), tn.func.jacrev(one)(x[0, 0]).numpy())
    assert jacobian.sum(1).tolist() == [1] * 5


def test_kernel_in_regions_and_compiled_functions(median):
    x = tn.randn(5, 6, **F64)

    def f(x):
        return tn.scan(lambda c, row: (c + median(row * c, 3)[0].sum(), c), x.sum() * 0 + 1, x)[0]

    def loop(x):
        c = x.sum() * 0 + 1
        for i in range(5):
            c = c + median(x[i] * c, 3)[0].sum()
        return c

    np.testing.assert_allclose(f(x).item(), loop(x).item())
    np.testing.assert_allclose(tn.func.grad(f)(x).numpy(), tn.func.grad(loop)(x).numpy())
    t = tn.randn(5, 6, **F64)
    np.testing.assert_allclose(
        tn.func.jvp(f, (x,), (t,))[1].item(), tn.func.jvp(loop, (x,), (t,))[1].item()
    )
    xs = tn.randn(2, 5, 6, **F64)
    np.testing.assert_allclose(tn.vmap(f)(xs).numpy(), [loop(xs[0]).item(), loop(xs[1]).item()])
    chosen = tn.cond(x.sum() > -1e9, lambda x: median(x, 3)[0], lambda x: x[:, :4] * 1, (x,))
    np.testing.assert_array_equal(chosen.numpy(), medians(x.numpy(), 3))
    compiled = tn.compile(lambda x: median(x + 1, 3)[0].exp())
    for _ in range(3):
        y = tn.randn(2, 7)
        np.testing.assert_allclose(
            compiled(y).numpy(), np.exp(medians(y.numpy() + 1, 3)), rtol=1e-6
        )


@pytest.mark.parametrize("mode", ["unfused", "interpret"])
def test_kernel_in_other_modes(median, mode):
    text = """
import sys; sys.path.insert(0, "examples")
import rolling_median, tenon as tn
median = rolling_median.load()
x = tn.arange(10.0, requires_grad=True)
y = (median(x * x, 3)[0] * 2).sum()
y.backward()
print(y.item(), x.grad.tolist())
"""
    import os

    run = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "TENON_JIT": mode, "TENON_CHECK": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    grads = [0.0] + [4.0 * k for k in range(1, 9)] + [0.0]
    assert run.stdout.strip() == f"{2.0 * sum(k * k for k in range(1, 9))} {grads}"


def test_kernel_refuses_in_words(median):
    for call, error, words in (
        (lambda: median(tn.ones(4, dtype=tn.int64)), RuntimeError, "expected float32 or float64"),
        (lambda: median(tn.ones(4), 2), RuntimeError, "window must be odd and at most 4, got 2"),
        (lambda: median(tn.ones(4), 1.5), TypeError, "type 'int' for argument 'window'"),
        (lambda: median([1.0]), TypeError, "type 'Tensor' for argument 'x'"),
        (lambda: median(), TypeError, "missing value for argument 'x'"),
        (lambda: median(tn.ones(4), 3, 4), TypeError, "at most 2 positional"),
        (lambda: median(tn.ones(4), size=3), TypeError, "unexpected keyword argument 'size'"),
        (lambda: median(tn.ones(4), x=tn.ones(4)), TypeError, "multiple values for argument 'x'"),
    ):
        with pytest.raises(error, match=r"filters::rolling_median") as caught:
            call()
        assert words in str(caught.value)
    assert median(tn.ones(4))[0].tolist() == [1, 1]


def test_the_example_runs(median):
    run = subprocess.run(
        [sys.executable, "examples/rolling_median.py"], capture_output=True, text=True, check=True
    )
    plain, filtered, pieces = run.stdout.splitlines()
    amplitude = float(filtered.split("amplitude ")[1].split()[0])
    offset = float(filtered.split("offset ")[1].split()[0])
    assert abs(amplitude - 0.7) < 0.1 and abs(offset - 0.3) < 0.1
    assert float(plain.split("offset ")[1].split()[0]) > 1
    assert pieces.endswith("(4, 48)")


def test_the_example_in_the_header_is_c(tmp_path):
    import shutil

    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tn.library.include_path()
    with open(f"{folder}/tenon_operation.h") as header:
        comment = header.read().split("*/")[0]
    lines = [line[7:] for line in comment.splitlines() if line.startswith(" " * 7)]
    (tmp_path / "mine.c").write_text("\n".join(lines))
    library = tmp_path / "libmine.so"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{folder}"]
    subprocess.run([compiler, *flags, tmp_path / "mine.c", "-o", library], check=True)
    (square,) = tn.library.load_library(library)
    assert tn.ops.mine.square is square and square.__doc__ == "x times x."
    assert square(tn.tensor([1.0, -3.0])).tolist() == [1, 9]
    with pytest.raises(OSError, match="does not export tenon_operations"):
        (tmp_path / "empty.c").write_text("int nothing;")
        empty = tmp_path / "empty.so"
        subprocess.run([compiler, "-shared", tmp_path / "empty.c", "-o", empty], check=True)
        tn.library.load_library(empty)


def test_a_kernel_by_address():
    import ctypes

    class Type(ctypes.Structure):
        _fields_ = [
            ("dtype", ctypes.c_int32),
            ("rank", ctypes.c_int32),
            ("dims", ctypes.c_int64 * 64),
        ]

    class Buffer(ctypes.Structure):
        _fields_ = [("type", Type), ("strides", ctypes.c_int64 * 64), ("data", ctypes.c_void_p)]

    class Attribute(ctypes.Structure):
        _fields_ = [
            ("kind", ctypes.c_int32),
            ("integer", ctypes.c_int64),
            ("number", ctypes.c_double),
            ("count", ctypes.c_int64),
            ("text", ctypes.c_char_p),
            ("integers", ctypes.POINTER(ctypes.c_int64)),
            ("numbers", ctypes.POINTER(ctypes.c_double)),
        ]

    class Arguments(ctypes.Structure):
        _fields_ = [
            ("input_count", ctypes.c_size_t),
            ("inputs", ctypes.POINTER(Buffer)),
            ("attribute_count", ctypes.c_size_t),
            ("attributes", ctypes.POINTER(Attribute)),
        ]

    seen = []
    signature = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(Arguments), ctypes.POINTER(Buffer))

    @signature
    def kernel(arguments, results):
        a = arguments.contents
        kinds = [a.attributes[k].kind for k in range(a.attribute_count)]
        seen.append(
            (kinds, a.attributes[1].text, a.attributes[2].integers[:3], a.inputs[1].type.dtype)
        )
        count = a.inputs[0].type.dims[0]
        x = (ctypes.c_float * count).from_address(a.inputs[0].data)
        y = (ctypes.c_float * count).from_address(results[0].data)
        for k in range(count):
            y[k] = x[k] * a.attributes[0].number + len(a.attributes[1].text)
        return None

    op = tn.library.define(
        "test::by_address",
        "(Tensor x, Tensor? other, float factor, str text, int[] list, bool flag=True) -> Tensor",
    )
    with pytest.raises(NotImplementedError, match="test::by_address has no implementation"):
        op(tn.ones(1), None, 1.0, "", [])
    op.register_kernel(kernel)
    with pytest.raises(RuntimeError, match="test::by_address: nothing says which types"):
        op(tn.ones(1), None, 1.0, "", [])
    op.register_fake(lambda x, *rest: tn.empty_like(x))
    result = op(tn.tensor([1.0, 2.0]), None, 2, "a text of some length", (3, 4, 5))
    assert result.tolist() == [23, 25]
    assert seen == [([2, 4, 5, 3], b"a text of some length", [3, 4, 5], -1)]
    with pytest.raises(NotImplementedError, match="vmap: test::by_address has no batching rule"):
        tn.vmap(lambda x: op(x, None, 1.0, "", []))(tn.ones(2, 3))
    with pytest.raises(RuntimeError, match="differentiate test::by_address but no derivative"):
        op(tn.ones(2, requires_grad=True), None, 1.0, "", []).sum().backward()
    with pytest.raises(RuntimeError, match="differentiate test::by_address but no derivative"):
        tn.func.jvp(lambda x: op(x, None, 1.0, "", []), (tn.ones(2),), (tn.ones(2),))


# ---- what is refused -----------------------------------------------------------------------------


def declare(function, name="test::refused", **options):
    return tn.library.custom_op(name, function, **{"mutates_args": (), **options})


def test_declarations_are_refused_in_words():
    def plain(x: tn.Tensor) -> tn.Tensor: ...
    def bare(x) -> tn.Tensor: ...
    def silent(x: tn.Tensor): ...
    def strange(x: dict) -> tn.Tensor: ...
    def gives(x: tn.Tensor) -> int: ...
    def rest(*xs: tn.Tensor) -> tn.Tensor: ...

    for call, words in (
        (lambda: declare(plain, "plain"), "must be of the form 'space::name'"),
        (lambda: declare(plain, "a::b::c"), "must be of the form 'space::name'"),
        (lambda: declare(plain, mutates_args=["x"]), "write to their arguments"),
        (lambda: declare(plain, mutates_args="unknown"), "write to their arguments"),
        (lambda: declare(bare), "parameter x must have a type annotation"),
        (lambda: declare(silent), "no return type annotation"),
        (lambda: declare(strange), "parameter x has unsupported type"),
        (lambda: declare(gives), "not ('int',)"),
        (lambda: declare(rest), "a fixed number of arguments"),
        (lambda: declare(plain, schema="(Tensor(a!) x) -> ()"), "test::refused"),
        (lambda: declare(plain, schema="(Tensor x, dtype t) -> Tensor"), "'dtype' is no type"),
        (lambda: declare(plain, schema="(Tensor x, int n=a) -> Tensor"), "'a' is no default"),
        (lambda: declare(plain, schema="Tensor x"), "expected 'space::name"),
        (lambda: tn.library.register_fake("test::nowhere", plain), "no operation 'test::nowhere'"),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert words in str(caught.value)
    with pytest.raises(AttributeError, match="no operation 'nowhere"):
        tn.ops.nowhere  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'nowhere'"):
        exponential("somewhere")
        tn.ops.test.nowhere  # noqa: B018


def test_bodies_are_refused_in_words():
    x = tn.ones(2, requires_grad=True)

    def same(x: tn.Tensor) -> tn.Tensor:
        return x

    def writes(x: tn.Tensor) -> tn.Tensor:
        x.detach().add_(1)
        return x * 2

    def several(x: tn.Tensor) -> tn.Tensor:
        return x, x

    for function, words in (
        (same, "returned one of its inputs"),
        (writes, "wrote to one of its inputs"),
        (several, "the body gave (Tensor, Tensor)"),
    ):
        with pytest.raises(RuntimeError, match="test::refused") as caught:
            declare(function)(x.detach())
        assert words in str(caught.value)

    op = exponential("wrong")
    for backward, error, words in (
        (lambda ctx, g: (g, g), RuntimeError, "incorrect number of gradients"),
        (lambda ctx, g: 3, TypeError, "returned a int"),
        (lambda ctx, g: g.sum(0).expand(5), RuntimeError, "invalid gradient at index"),
    ):
        op.register_autograd(backward)
        with pytest.raises(error) as caught:
            op(x).sum().backward()
        assert words in str(caught.value)


def test_reading_bodies_say_what_vmap_wants():
    @tn.library.custom_op("test::reads", mutates_args=())
    def reads(x: tn.Tensor) -> tn.Tensor:
        return tn.tensor(x.detach().numpy() * 2)

    reads.register_autograd(lambda ctx, g: 2 * g)
    with pytest.raises(RuntimeError, match="test::reads: its body can't be recorded"):
        tn.vmap(reads)(tn.ones(3))
    reads.register_fake(lambda x: tn.empty_like(x))
    reads.register_vmap(lambda info, in_dims, x: (reads(x), in_dims[0]))
    assert tn.vmap(reads)(tn.ones(3)).tolist() == [2, 2, 2]
    for rule, words in (
        (lambda info, in_dims, x: reads(x), "must return (output, out_dims)"),
        (lambda info, in_dims, x: (reads(x), 3), "puts the batch of result 0 at dimension 3"),
        (lambda info, in_dims, x: (reads(x)[:2], 0), "a batch of 3 of float32[]"),
    ):
        reads.register_vmap(rule)
        with pytest.raises(RuntimeError, match="test::reads") as caught:
            tn.vmap(reads)(tn.ones(3))
        assert words in str(caught.value)


# ---- opcheck, the registry, stubs ----------------------------------------------------------------


def test_opcheck_finds_faults():
    x = tn.randn(3, **F64, requires_grad=True)

    def failing(op):
        said = tn.library.opcheck(op, (x,), raise_exception=False)
        return {name for name, text in said.items() if text != "SUCCESS"}

    assert failing(exponential("right_modes")) == {"test_derivatives"}  # three times too large

    @tn.library.custom_op("test::fault", mutates_args=())
    def fault(x: tn.Tensor) -> tn.Tensor:
        return x * 2

    assert failing(fault) == set()
    fault.register_fake(lambda x: x.new_empty(x.shape, dtype=tn.float32))
    assert failing(fault) == {"test_faketensor"}
    fault.register_fake(lambda x: tn.empty_like(x))
    fault.register_vmap(lambda info, in_dims, x: (x * 3, in_dims[0]))
    assert failing(fault) == {"test_vmap"}
    fault._vmap = None

    @tn.library.custom_op("test::numpy", mutates_args=())
    def with_numpy(x: tn.Tensor) -> tn.Tensor:
        return tn.tensor(x.detach().numpy() * 2)

    assert "test_autograd_registration" in failing(with_numpy)
    with pytest.raises(AssertionError, match="no derivative is registered"):
        tn.library.opcheck(with_numpy, (x,))
    with pytest.raises(ValueError, match="there is no 'test_nothing'"):
        tn.library.opcheck(fault, (x,), test_utils="test_nothing")


def test_registry():
    exponential("registered").__doc__ = "Three times too steep."
    names = tn.library.list()
    assert "test::registered" in names and "tenon::conv2d" in names
    assert tn.library.get("test::registered") is tn.ops.test.registered
    assert tn.library.get("tenon::tanh") is tn.tanh
    assert tn.library.schema("test::registered") == "test::registered(Tensor x) -> Tensor"
    assert tn.library.docs("test::registered").endswith("Three times too steep.")
    assert all(tn.library.schema(name) and tn.library.docs(name) for name in names)
    assert "registered" in dir(tn.ops.test) and "test" in dir(tn.ops)


def test_stubs_for_type_checkers(tmp_path):
    (tmp_path / "declares.py").write_text(
        "import tenon as tn\n"
        "@tn.library.custom_op('shop::price', mutates_args=())\n"
        "def price(xs: list[tn.Tensor], tax: float | None = None, *, n: int = 1)"
        " -> tuple[tn.Tensor, tn.Tensor]:\n"
        "    'What it costs.'\n"
        "    return xs[0] * n, xs[0]\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "tenon.library", str(tmp_path / "ops.pyi"), "declares"],
        env={**__import__("os").environ, "PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    text = (tmp_path / "ops.pyi").read_text()
    assert "class shop:" in text and '"""What it costs."""' in text
    assert (
        "def price(xs: Sequence[Tensor], tax: float | None = ..., *, n: int = ...)"
        " -> tuple[Tensor, Tensor]:" in text
    )
    compile(text, "ops.pyi", "exec")

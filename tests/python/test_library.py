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

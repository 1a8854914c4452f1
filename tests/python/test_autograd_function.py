"""autograd.Function. PyTorch, running the same program, is the judge."""

from __future__ import annotations

import doctest
import gc
import importlib
import weakref

import pytest

import tenon as tn

torch = pytest.importorskip("torch")


def plain(value):
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if isinstance(value, (tn.Tensor, torch.Tensor)):
        return [round(v, 3) for v in value.detach().double().reshape(-1).tolist()]
    return value


def leaf(m, *values):
    return m.tensor(values, requires_grad=True)


def make_exp(m):
    class Exp(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, gradient):
            (y,) = ctx.saved_tensors
            return gradient * y

    return Exp.apply


def make_product(m, log=None):
    """Scaled product and sum, with a number among the arguments."""

    class Product(m.autograd.Function):
        @staticmethod
        def forward(ctx, a, b, scale):
            ctx.save_for_backward(a, b)
            ctx.scale = scale
            return a * b * scale, a + b

        @staticmethod
        def backward(ctx, of_product, of_sum):
            a, b = ctx.saved_tensors
            if log is not None:
                log.append((ctx.needs_input_grad, plain([of_product, of_sum])))
            return of_product * b * ctx.scale + of_sum, of_product * a * ctx.scale + of_sum, None

    return Product.apply


def saved_output(m):
    exp = make_exp(m)
    x = leaf(m, 0.0, 1.0, -0.5)
    y = exp(x * 2)
    y.sum().backward()
    return y.requires_grad, y.is_leaf, y, x.grad


def higher_orders(m):
    exp = make_exp(m)
    x = leaf(m, 0.5, 1.0)
    results = []
    y = (exp(x * x) * x).sum()
    for _ in range(3):
        (g,) = m.autograd.grad(y, x, create_graph=True)
        results.append(g)
        y = (g * g).sum()
    return results


def higher_orders_across_reads(m):
    exp = make_exp(m)
    x = leaf(m, 0.5, 1.0)
    y = exp(x * x)
    y.sum().item()
    results = []
    y = (y * x).sum()
    y.item()
    for _ in range(3):
        (g,) = m.autograd.grad(y, x, create_graph=True)
        results.append(plain(g))
        y = (g * g).sum()
        y.item()
    return results


def several_arguments_and_results(m):
    log = []
    product = make_product(m, log)
    a, b = leaf(m, 1.0, 2.0), leaf(m, 3.0, 4.0)
    p, s = product(a, b, 10.0)
    (p * s).sum().backward()
    p, s = product(a, b.detach(), 2.0)
    p.sum().backward()  # no gradient arrives at the other result
    return log, a.grad, b.grad


def only_one_result_is_used_twice(m):
    product = make_product(m)
    a, b = leaf(m, 1.0, 2.0), leaf(m, 3.0, 4.0)
    p, _ = product(a, a * b, 1.0)
    (p * p + p).sum().backward()
    return a.grad, b.grad


def chained_and_nested(m):
    exp, product = make_exp(m), make_product(m)

    class Outer(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return exp(x) + 1

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return product(gradient, exp(x), 1.0)[0]

    x = leaf(m, 0.5, 1.0)
    y = Outer.apply(exp(x)).sum()
    (g,) = m.autograd.grad(y, x, create_graph=True)
    (h,) = m.autograd.grad(g.sum(), x)
    return y, g, h


def setup_context(m):
    class Square(m.autograd.Function):
        @staticmethod
        def forward(x, power):
            return x**power

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, power = inputs
            ctx.save_for_backward(x, None)
            ctx.power = power

        @staticmethod
        def backward(ctx, gradient):
            x, nothing = ctx.saved_tensors
            assert nothing is None
            return gradient * ctx.power * x ** (ctx.power - 1), None

    x = leaf(m, 2.0, 3.0)
    Square.apply(x, 3).sum().backward()
    return x.grad


def without_zeros(m):
    class Two(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            assert b is None
            return a * 2

    x = leaf(m, 1.0, 2.0)
    Two.apply(x)[0].sum().backward()
    return x.grad


def without_derivative(m):
    class Sort(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            top, place = x.max(), x.argmax()
            floor = x.floor()
            ctx.mark_non_differentiable(floor)
            ctx.save_for_backward(place)
            ctx.size = x.shape[0]
            return top * 1, place, floor

        @staticmethod
        def backward(ctx, of_top, of_place, of_floor):
            (place,) = ctx.saved_tensors
            return of_top * (m.arange(ctx.size) == place)

    x = leaf(m, 1.5, 4.5, 2.5)
    top, place, floor = Sort.apply(x)
    (top * 7).backward()
    return top.requires_grad, place.requires_grad, floor.requires_grad, place.item(), floor, x.grad


def the_input_itself(m):
    class Clip(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, gradient):
            return gradient.clamp(-1, 1)

    x = leaf(m, 1.0, 2.0)
    y = Clip.apply(x)
    (y * m.tensor([0.5, 30.0])).sum().backward()
    return y.is_leaf, x.is_leaf, x.grad


def straight_through(m):
    class Round(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    x = leaf(m, 0.3, 1.7)
    (Round.apply(x) * x).sum().backward()
    return x.grad


def broadcast_gradients(m):
    class Scale(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx, gradient):
            x, w = ctx.saved_tensors
            return gradient * w, gradient * x  # of the broadcast size: summed

    x, w = m.ones(3, 2, requires_grad=True), leaf(m, 5.0, 7.0)
    Scale.apply(x, w).sum().backward()
    return x.grad, w.grad


def no_gradient_wanted(m):
    exp = make_exp(m)
    x = leaf(m, 1.0)
    with m.no_grad():
        a = exp(x)
    b = exp(x.detach())
    return a.requires_grad, b.requires_grad, exp(m.ones(2))


def retain(m):
    exp = make_exp(m)
    x = leaf(m, 0.5)
    y = exp(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    try:
        y.backward()
    except RuntimeError as error:
        return x.grad, "second time" in str(error)
    return x.grad, None


def saved_then_read(m):
    """A cut between the call and the derivative, and between the outputs."""
    product = make_product(m)
    a, b = leaf(m, 1.0, 2.0), leaf(m, 3.0, 4.0)
    h = a * 2
    p, s = product(h, b, 2.0)
    p.sum().item()
    q = (p * s).sum()
    q.item()
    q.backward()
    return a.grad, b.grad


def with_hooks(m):
    exp = make_exp(m)
    seen = []
    x = leaf(m, 0.0, 1.0)
    y = exp(x)
    y.register_hook(lambda g: seen.append(plain(g)) or g * 2)
    y.sum().backward()
    return seen, x.grad


def on_demand(m):
    """Calls that lead to no input asked for are not run backward."""
    calls = []

    class Noted(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, name):
            ctx.name = name
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            calls.append(ctx.name)
            return gradient, None

    a, b = leaf(m, 1.0), leaf(m, 2.0)
    y = Noted.apply(Noted.apply(a, "a") * Noted.apply(b, "b"), "product")
    g = m.autograd.grad(y, a, retain_graph=True)
    y.backward(inputs=[b])
    return calls, g, b.grad


def once(m):
    class Square(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @m.autograd.function.once_differentiable
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return 2 * x * gradient

    x = leaf(m, 3.0)
    (g,) = m.autograd.grad(Square.apply(x), x)
    (constant,) = m.autograd.grad(Square.apply(x), x, create_graph=True)
    w = leaf(m, 2.0)
    (again,) = m.autograd.grad(Square.apply(x) * w, x, create_graph=True)
    try:
        again.backward()
    except RuntimeError as error:
        return g, constant.requires_grad, again, "once_differentiable" in str(error)
    return None


PROGRAMS = [
    saved_output, higher_orders, higher_orders_across_reads, several_arguments_and_results,
    only_one_result_is_used_twice, chained_and_nested, setup_context, without_zeros,
    without_derivative, the_input_itself, straight_through, broadcast_gradients,
    no_gradient_wanted, retain, saved_then_read, with_hooks, on_demand, once,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_as_pytorch(program):
    assert plain(program(tn)) == plain(program(torch))


def test_transforms():
    exp = make_exp(tn)

    def f(x):
        return (exp(x) * x).sum()

    def plainly(x):
        return (x.exp() * x).sum()

    x = tn.tensor([[0.5, 1.0], [-1.0, 2.0]])
    grad, vmap = tn.func.grad, tn.vmap
    assert plain(grad(f)(x)) == plain(grad(plainly)(x))
    second = lambda f: grad(lambda x: (grad(f)(x) ** 2).sum())  # noqa: E731
    assert plain(second(f)(x)) == plain(second(plainly)(x))
    assert plain(vmap(f)(x)) == plain(vmap(plainly)(x))
    assert plain(vmap(grad(f))(x)) == plain(vmap(grad(plainly))(x))
    assert plain(vmap(second(f))(x)) == plain(vmap(second(plainly))(x))
    pull = tn.func.vjp(exp, x)[1]
    tn.flush()
    assert plain(pull(tn.ones(2, 2))) == plain(x.exp())
    # The parts that want a rule in forward mode, or for a batch, say so.
    with pytest.raises(NotImplementedError, match="reverse mode alone"):
        tn.func.jvp(exp, (x,), (x,))
    with pytest.raises(NotImplementedError, match=r"vmap\(grad\(f\)\)"):
        grad(lambda x: vmap(exp)(x).sum())(x)


def test_a_saved_value_that_is_overwritten_keeps_its_derivative():
    product = make_product(tn)
    a, b = leaf(tn, 1.0, 2.0), tn.tensor([3.0, 4.0])
    p, _ = product(a, b, 1.0)
    b.zero_()
    p.sum().backward()
    assert a.grad.tolist() == [3, 4]


def test_forward_and_backward_are_one_program():
    exp = make_exp(tn)
    x = tn.linspace(-1, 1, 100).requires_grad_()
    tn.flush()
    tn.jit.reset()
    (exp(x * 2) * x).sum().backward()
    x.grad.sum().item()
    assert tn.jit.counters()["programs"] == 1


def test_what_is_saved_goes_with_the_graph():
    class Big:
        pass

    alive = []

    class Keep(tn.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.big = Big()
            alive.append(weakref.ref(ctx.big))
            y = x * 2
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2

    x = leaf(tn, 1.0)
    y = Keep.apply(x)
    y.sum().item()
    z = Keep.apply(x).sum()
    z.backward()
    w = Keep.apply(x).sum()
    w.item()
    w.backward()
    del y, z
    tn.flush()
    gc.collect()
    tn.ones(1)
    assert [big() for big in alive] == [None] * 3
    assert w.item() == 2


def test_mistakes():
    def function(forward, backward=None):
        return type("Wrong", (tn.autograd.Function,), {
            "forward": staticmethod(forward),
            **({"backward": staticmethod(backward)} if backward else {}),
        }).apply  # fmt: skip

    x = leaf(tn, 1.0, 2.0)
    y = x * 2
    forward = lambda ctx, x: x * 3  # noqa: E731
    for backward, error, words in [
        (None, NotImplementedError, "must implement either the backward or vjp"),
        (lambda ctx, g: (g, g), RuntimeError, r"incorrect number of gradients \(expected 1, got 2"),
        (lambda ctx, g: g[:1].expand(7), RuntimeError, "invalid gradient at index 0"),
        (lambda ctx, g: 5, TypeError, "int"),
        (lambda ctx, g: 1 / 0, ZeroDivisionError, "division"),
    ]:
        with pytest.raises(error, match=words):
            function(forward, backward)(y).sum().backward()
    with pytest.raises(NotImplementedError, match="forward"):
        tn.autograd.Function.apply(x)
    with pytest.raises(NotImplementedError, match="mark_dirty"):
        function(lambda ctx, x: ctx.mark_dirty(x))(y)
    with pytest.raises(TypeError, match="save_for_backward"):
        function(lambda ctx, x: ctx.save_for_backward(3) or x * 1)(y)
    (x * 5).sum().backward()
    assert x.grad.tolist() == [5, 5]


def test_examples():
    module = importlib.import_module("tenon.autograd.function")
    assert doctest.testmod(module, extraglobs={"tn": tn}).failed == 0

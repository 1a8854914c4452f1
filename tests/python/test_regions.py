# ruff: noqa: B023, E731 - functions of one line, called where they are made
"""scan, while_loop and cond: against Python loops and branches, in every nest of transforms."""

from __future__ import annotations

import numpy as np
import pytest

import tenon as tn
from tenon.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from tests.python.counting import made

LENGTHS = [0, 1, 2, 7, 13]


def array(*shape, seed=0, dtype=np.float64):
    return tn.tensor(np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype))


def close(a, b, tolerance=1e-9):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def loop(f, init, xs=None, length=None, reverse=False):
    """scan, in Python, of tensors or tuples of tensors."""
    first = xs[0] if isinstance(xs, tuple) else xs
    count = length if first is None else first.shape[0]
    ys = [None] * count
    carry = init
    for t in reversed(range(count)) if reverse else range(count):
        x = tuple(s[t] for s in xs) if isinstance(xs, tuple) else None if xs is None else xs[t]
        carry, ys[t] = f(carry, x)
    if not ys or ys[0] is None:
        return carry, None
    return carry, tn.stack(ys)


W = array(3, 3, seed=1)
B = array(3, seed=2)


def rnn(c, x):
    h = (W @ c + x + B).tanh()
    return h, h * x


def gated(state, x):
    h, c = state
    gates = tn.cat([W @ h + x, h * B])
    c = gates[:3].sigmoid() * c + gates[3:].tanh() * x.sum()
    h = c.tanh() * gates[:3].exp()
    return (h, c), h.square().sum()


def accumulate(c, x):
    return c + x, c


def swap(state, x):
    a, b = state
    return (b, a * x), a


def skips(c, x):  # the carry is handed on as it is, and begun anew
    return c, c * x


def forgets(c, x):
    return x * 2, c


def in_place(c, x):
    y = c.clone()
    y[0] = x[1]
    y.mul_(x)
    c = c * 1
    c.add_(y)
    return c, y.cumsum(0)


def detached(c, x):
    with tn.no_grad():
        scale = (c * x).sum()
    return (c * scale + x.detach()).tanh(), c


def sorts(c, x):
    return (c + x).sort()[0], (c * x).max()


PAIR = {gated, swap}
BODIES = [rnn, gated, accumulate, swap, skips, forgets, in_place, detached, sorts]


def start(body):
    return (array(3, seed=3), array(3, seed=4)) if body in PAIR else array(3, seed=3)


def total(function, body, init, xs, reverse=False):
    carry, ys = function(body, init, xs, reverse=reverse)
    result = (carry[0] * 2 + carry[1]).sum() if isinstance(carry, tuple) else (carry * B).sum()
    return result + (0 if ys is None else ys.cos().sum())


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("length", LENGTHS)
def test_values(body, length):
    for reverse in (False, True):
        xs = array(length, 3, seed=5)
        carry, ys = tn.scan(body, start(body), xs, reverse=reverse)
        expected, ys_expected = loop(body, start(body), xs, reverse=reverse)
        if body in PAIR:
            close(carry[0], expected[0])
            close(carry[1], expected[1])
        else:
            close(carry, expected)
        if length:
            close(ys, ys_expected)
        else:
            assert ys.shape[0] == 0


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("length", LENGTHS)
def test_gradients(body, length):
    xs = array(length, 3, seed=5)
    for reverse in (False, True):

        def of(function, reverse=reverse):
            return grad(lambda c, x: total(function, body, c, x, reverse), argnums=(0, 1))

        got, expected = of(tn.scan)(start(body), xs), of(loop)(start(body), xs)
        flat = lambda t: list(t[0] if isinstance(t[0], tuple) else t[:1]) + [t[1]]
        for a, b in zip(flat(got), flat(expected), strict=True):
            close(a, b)


@pytest.mark.parametrize("body", BODIES)
def test_forward_mode(body):
    xs, dx = array(7, 3, seed=5), array(7, 3, seed=6)
    of = lambda function: jvp(lambda x: total(function, body, start(body), x), (xs,), (dx,))
    for a, b in zip(of(tn.scan), of(loop), strict=True):
        close(a, b)


@pytest.mark.parametrize("body", BODIES)
def test_batches(body):
    xs, one = array(4, 7, 3, seed=5), array(7, 3, seed=6)
    inits = array(4, 3, seed=7)
    make = lambda c: (c, c * 2) if body in PAIR else c
    for in_dims, args in (((0, 0), (inits, xs)), ((0, None), (inits, one)), ((None, 0), (B, xs))):
        of = lambda function: vmap(
            lambda c, x: total(function, body, make(c), x),
            in_dims=in_dims,
        )(*args)
        close(of(tn.scan), of(loop))


@pytest.mark.parametrize("body", [rnn, gated, accumulate, in_place, detached])
def test_second_derivatives(body):
    xs = array(3, 3, seed=5)
    of = lambda function, nest: nest(lambda x: total(function, body, start(body), x))(xs)
    close(of(tn.scan, hessian), of(loop, hessian))
    reverse_twice = lambda f: jacrev(grad(f))
    close(of(tn.scan, reverse_twice), of(loop, reverse_twice))
    forward_twice = lambda f: jacfwd(jacfwd(f))
    close(of(tn.scan, forward_twice), of(loop, forward_twice))
    reverse_of_forward = lambda f: jacrev(jacfwd(f))
    close(of(tn.scan, reverse_of_forward), of(loop, reverse_of_forward))


def test_third_derivative():
    f = lambda function: grad(
        grad(
            grad(
                lambda w: function(
                    lambda c, x: ((w * c + x).sin(), None),
                    tn.tensor(0.3).double(),
                    array(4, seed=1),
                )[0]
            )
        )
    )(tn.tensor(0.7).double())
    close(f(tn.scan), f(loop))


@pytest.mark.parametrize("body", [rnn, gated])
def test_scan_inside_grad_inside_vmap(body):
    xs = array(4, 5, 3, seed=5)
    of = lambda function: vmap(grad(lambda x: total(function, body, start(body), x)))(xs)
    close(of(tn.scan), of(loop))
    of = lambda function: grad(
        lambda x: vmap(lambda x: total(function, body, start(body), x))(x).square().sum()
    )(xs)
    close(of(tn.scan), of(loop))


def test_constants_get_gradients():
    def loss(function, w, b):
        step = lambda c, x: ((w @ c + b * x).tanh(), (c * b).sum())
        carry, ys = function(step, array(3, seed=3), array(6, 3, seed=4))
        return carry.sum() + ys.square().sum()

    results = []
    for function in (tn.scan, loop):
        w = W.clone().requires_grad_()
        b = B.clone().requires_grad_()
        loss(function, w, b).backward()
        results.append((w.grad, b.grad))
    for got, expected in zip(*results, strict=True):
        close(got, expected)
    got = vjp(lambda w, b: loss(tn.scan, w, b), W, B)[1](tn.tensor(1.0).double())
    for a, b in zip(got, results[0], strict=True):
        close(a, b)


def test_backward_after_the_value_was_read():
    results = []
    for function in (tn.scan, loop):
        w = W.clone().requires_grad_()
        _, ys = function(lambda c, x: ((w @ c + x).tanh(), c), B, array(6, 3))
        value = ys.square().sum()
        first = value.item()
        value.backward(retain_graph=True)
        value.backward()
        results.append((first, w.grad))
    close(results[0][0], results[1][0])
    close(results[0][1], results[1][1])


def test_double_backward():
    results = []
    for function in (tn.scan, loop):
        w = W.clone().requires_grad_()
        carry, ys = function(lambda c, x: ((w @ c + x).tanh(), c * c), B, array(6, 3))
        (g,) = tn.autograd.grad(ys.sum() + carry.sum(), w, create_graph=True)
        g.square().sum().backward()
        results.append((g.detach(), w.grad))
    for got, expected in zip(*results, strict=True):
        close(got, expected)


def test_nested_scans():
    def nested(function):
        def inner(c, x):
            return (c * x + W[0, 0]).sin(), c

        def outer(c, x):
            c, ys = function(inner, c, x)
            return c * ys.sum(), ys

        return lambda c, xs: function(outer, c, xs)

    c, xs = tn.tensor(0.5).double(), array(4, 3, seed=8)
    for got, expected in zip(nested(tn.scan)(c, xs), nested(loop)(c, xs), strict=True):
        close(got, expected)
    value = lambda function: (
        lambda x: nested(function)(c, x)[0] + nested(function)(c, x)[1].square().sum()
    )
    close(grad(value(tn.scan))(xs), grad(value(loop))(xs))
    close(hessian(value(tn.scan))(xs), hessian(value(loop))(xs))


def test_transforms_inside_a_body():
    def body(function):
        del function
        inner = lambda c, x: (c * x).sin().sum()
        return lambda c, x: (grad(inner)(c, x), vmap(lambda a: a * x.sum())(c))

    for take in (lambda f: f, grad):
        of = lambda function: take(lambda x: total(function, body(function), B, x))(array(5, 3))
        close(of(tn.scan), of(loop))


def test_structures():
    carry, ys = tn.scan(
        lambda c, x: ({"n": c["n"] + 1, "s": c["s"] + x["a"] * x["b"][0]}, [c["s"], None]),
        {"n": tn.tensor(0), "s": tn.zeros(2)},
        {"a": tn.ones(3, 2), "b": (tn.arange(3),)},
    )
    assert carry["n"].item() == 3 and carry["s"].tolist() == [3, 3]
    assert ys[1] is None and ys[0].tolist() == [[0, 0], [0, 0], [1, 1]]


def test_random_numbers_differ_between_steps():
    tn.manual_seed(1)
    _, ys = tn.scan(lambda c, _: (c, tn.rand(4)), tn.tensor(0), length=5)
    assert len({float(v) for v in ys.flatten().tolist()}) == 20
    tn.manual_seed(1)
    _, again = tn.scan(lambda c, _: (c, tn.rand(4)), tn.tensor(0), length=5)
    assert ys.tolist() == again.tolist()
    with pytest.raises(RuntimeError, match="inside while_loop"):
        tn.while_loop(lambda x: x < 3, lambda x: x + tn.rand(()), tn.tensor(0.0))
    different = vmap(
        lambda x: tn.scan(lambda c, _: (c, x + tn.rand(2)), x, length=3)[1], randomness="different"
    )(tn.zeros(4))
    assert len(set(different.flatten().tolist())) == 24


def test_nothing_compiles_twice():
    def run(n, rate):
        w = tn.ones(3, 3).requires_grad_()
        carry, ys = tn.scan(lambda c, x: ((w @ c * rate + x).tanh(), c), tn.ones(3), tn.ones(n, 3))
        (carry.sum() + ys.sum()).backward()
        return w.grad.sum().item()

    run(5, 0.5)
    run(6, 0.5)
    counts = made(lambda: [run(n, 0.1 * n) for n in (4, 9, 17, 33, 101)])
    assert counts["plans"] == 0 and counts["compiled"] == 0, counts


# ---- errors


def test_errors():
    x = tn.ones(3)
    with pytest.raises(
        TypeError, match=r"the carry changes its type from float32\[3\] to float64\[3\]"
    ):
        tn.scan(lambda c, _: (c.double(), None), x, length=2)
    with pytest.raises(
        TypeError, match=r"the carry, leaf 1 changes .* float32\[3\] to float32\[1\]"
    ):
        tn.scan(lambda c, _: ((c[0], c[1][:1]), None), (x, x), length=2)
    with pytest.raises(TypeError, match="structure"):
        tn.scan(lambda c, _: ((c, c), None), x, length=2)
    with pytest.raises(TypeError, match="must return"):
        tn.scan(lambda c, _: c, x, length=2)
    with pytest.raises(ValueError, match="steps along"):
        tn.scan(lambda c, x: (c, x), x, (tn.ones(2), tn.ones(3)))
    with pytest.raises(ValueError, match="length must say"):
        tn.scan(lambda c, x: (c, x), x)
    with pytest.raises(RuntimeError, match="can't be read"):
        tn.scan(lambda c, x: (c if c.sum() > 0 else x, None), x, tn.ones(2, 3))
    with pytest.raises(RuntimeError, match="made outside can't be written in place"):
        tn.scan(lambda c, x: (x.add_(1), c.sum()), x, tn.ones(2, 3)) and tn.scan(
            lambda c, _: (c, x.add_(1)), x, length=2
        )
    kept = []
    tn.scan(lambda c, _: (kept.append(c * 2) or c, None), x, length=2)
    with pytest.raises(RuntimeError, match="has ended"):
        kept[0] + 1
    with pytest.raises(ZeroDivisionError):
        tn.scan(lambda c, _: (1 / 0, None), x, length=2)
    close(tn.scan(lambda c, _: (c * 2, None), x, length=2)[0], [4, 4, 4])  # nothing stayed open


def test_failures_of_data():
    def run(index):
        _, ys = tn.scan(lambda c, i: (c, W[i]), tn.tensor(0), index)
        return ys

    bad = run(tn.tensor([0, 2, 5]))
    with pytest.raises(IndexError, match="out of bounds"):
        bad.sum().item()
    close(run(tn.tensor([0, 2])), W[[0, 2]])


# ---- while_loop


def collatz(n, steps):
    return tn.where(n % 2 == 0, n // 2, 3 * n + 1), steps + 1


def test_while_loop():
    n, steps = tn.while_loop(lambda n, _: n > 1, collatz, (tn.tensor(27), tn.tensor(0)))
    assert n.item() == 1 and steps.item() == 111
    many = vmap(lambda n: tn.while_loop(lambda n, _: n > 1, collatz, (n, tn.tensor(0)))[1])
    assert many(tn.tensor([27, 1, 6, 7])).tolist() == [111, 0, 8, 16]
    assert tn.while_loop(lambda x: x < 0, lambda x: x * 2, tn.tensor(3)).item() == 3
    root = lambda a: tn.while_loop(
        lambda x: (x * x - a).abs() > 1e-12, lambda x: (x + a / x) / 2, tn.tensor(1.0).double()
    )
    value, tangent = jvp(root, (tn.tensor(2.0).double(),), (tn.tensor(1.0).double(),))
    close(value, 2**0.5)
    close(tangent, 0.5 / 2**0.5, 1e-6)
    with pytest.raises(RuntimeError, match="use scan"):
        grad(root)(tn.tensor(2.0).double())
    with pytest.raises(TypeError, match="changes its type"):
        tn.while_loop(lambda x: x < 3, lambda x: x * 1.0, tn.tensor(1))
    with pytest.raises(TypeError, match="bool of one element"):
        tn.while_loop(lambda x: x, lambda x: x * 2, tn.tensor(1))


def test_counters_of_while_loop():
    run = lambda n: (
        tn.while_loop(
            lambda i, x: i < n, lambda i, x: (i + 1, x * 1.5), (tn.tensor(0), tn.ones(4))
        )[1]
        .sum()
        .item()
    )
    run(3)
    counts = made(lambda: [run(n) for n in (0, 1, 10, 1000)])
    assert counts["plans"] == 0 and counts["compiled"] == 0


# ---- cond


def branch(p, x):
    return tn.cond(p, lambda x: (x * B).sin(), lambda x: x.square() + 1, (x,))


def test_cond():
    x = array(3)
    for flag in (True, False):
        p = tn.tensor(flag)
        plain = lambda x, flag=flag: (x * B).sin() if flag else x.square() + 1
        f = lambda x, p=p: branch(p, x)
        close(f(x), plain(x))
        close(branch(flag, x), plain(x))
        close(jacrev(f)(x), jacrev(plain)(x))
        close(jacfwd(f)(x), jacfwd(plain)(x))
        close(jacrev(jacrev(f))(x), jacrev(jacrev(plain))(x))
        close(jacfwd(jacrev(f))(x), jacfwd(jacrev(plain))(x))
        close(vmap(f)(array(4, 3)), vmap(plain)(array(4, 3)))


def test_cond_of_each_example():
    xs = array(6, 3)
    f = lambda x: branch(x.sum() > 0, x)
    expected = tn.stack([(x * B).sin() if x.sum() > 0 else x.square() + 1 for x in xs])
    close(vmap(f)(xs), expected)
    each = lambda x: grad(lambda x: f(x).sum())(x)
    close(vmap(each)(xs), tn.stack([each(x) for x in xs]))
    close(grad(lambda xs: vmap(f)(xs).sum())(xs), vmap(each)(xs))


def test_cond_closures_and_laziness():
    w = W.clone().requires_grad_()
    index = tn.tensor([7])
    for flag in (True, False):
        w.grad = None
        # What is not taken does not run: the index would be out of bounds.
        y = tn.cond(tn.tensor(flag), lambda: (w @ B).sum(), lambda: W[index * int(flag)].sum())
        if flag:
            y.backward()
            close(w.grad, tn.ones(3, 1).double() * B)
        else:
            close(y.detach(), W[0].sum())


def test_cond_inside_scan():
    f = lambda c, x: (tn.cond(x.sum() > 0, lambda c: c.sin() + x, lambda c: c * x, (c,)), c)
    g = lambda c, x: (tn.where(x.sum() > 0, c.sin() + x, c * x), c)
    xs = array(9, 3)
    for take in (lambda h: h, grad, hessian):
        of = lambda function, body: take(lambda x: total(function, body, B, x))(xs)
        close(of(tn.scan, f), of(loop, g))


def test_errors_of_cond():
    x, p = tn.ones(3), tn.tensor(True)
    with pytest.raises(
        TypeError, match=r"float32\[3\] from true_fn and float32\[1\] from false_fn"
    ):
        tn.cond(p, lambda x: x, lambda x: x[:1], (x,))
    with pytest.raises(TypeError, match="one element"):
        tn.cond(x > 0, lambda x: x, lambda x: x, (x,))
    with pytest.raises(RuntimeError, match="made outside can't be written in place"):
        tn.cond(p, lambda: x.add_(1), lambda: x)
    assert x.tolist() == [1, 1, 1]
    close(tn.cond(p, lambda: x * 2, lambda: x), [2, 2, 2])

"""Transforms of functions, nested in any order.

Judges: finite differences in float64 of the next inner function (which has a judge of its own, so
that a nest of any depth is judged by induction), loops over examples for vmap, and arithmetic done
by hand. Where PyTorch is installed, torch.func runs the same nests.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tenon as tn
from tenon.func import (
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
    vmap,
)
from tests.python.derivative_judges import (
    COTANGENT,
    DIRECTION,
    MATRIX,
    POINT,
    SCALES,
    N,
    close,
    directional,
    double,
    jacobian,
    on_arrays,
    smooth,
)

try:
    import torch
except ImportError:
    torch = None

# ---- functions from N numbers to N numbers, in every style ------------------------------------


def matrix(m, x):
    return m.tanh(double(MATRIX, m) @ x) * x.sum()


def in_place(m, x):
    y = x.clone()
    y[0] = y[1] * y[2]
    y.mul_(m.cos(x))
    y[1:3] += y[2:4].clone() * x[0]
    return y


def written_through_views(m, x):
    y = (x * 1.5).reshape(2, 2)
    column, row = y[:, 1], y.t()[0]
    column.mul_(x[:2])
    row.add_(column * x[3])
    y.view(-1)[2:].sin_()
    return y.reshape(N)


def normalized(m, x):
    e = m.exp(x - x.detach().amax())
    return (e / e.sum()) * m.sqrt((x * x).mean() + 0.1)


def gathered(m, x):
    y = x[m.tensor([2, 0, 0, 3])] * x.flip(0)
    return m.cumsum(y, 0) + m.cat([y[2:], x[:2]])


def branching(m, x):
    y = m.where(x > 0, x * x * x, m.sin(x) * x)
    return m.stack([y[0] * y[3], y[1], y[2] / (1 + y[0] * y[0]), y.prod()])


FUNCTIONS = [smooth, matrix, in_place, written_through_views, normalized, gathered, branching]
by_name = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)

# ---- transforms of such functions, to such functions again ------------------------------------
# Each is (what a framework's transforms compute, the same by the judge).


def apply_grad(m, f, x):
    return m.func.grad(lambda x: (f(x) * double(COTANGENT, m)).sum())(x)


def apply_vjp(m, f, x):
    value, pull = m.func.vjp(f, x)
    return pull(double(COTANGENT, m) + 0 * value)[0] if m is not tn else pull(
        double(COTANGENT, m) + 0 * value
    )  # fmt: skip


def apply_jvp(m, f, x):
    return m.func.jvp(f, (x,), (double(DIRECTION, m),))[1]


def apply_jacrev(m, f, x):
    return m.func.jacrev(f)(x) @ double(DIRECTION, m)


def apply_jacfwd(m, f, x):
    return double(COTANGENT, m) @ m.func.jacfwd(f)(x)


def apply_vmap(m, f, x):
    return m.func.vmap(lambda a: f(x * a))(double(SCALES, m)).sum(0)


def apply_vmap_last(m, f, x):
    return m.func.vmap(f, in_dims=1, out_dims=1)(m.stack([x, 0.5 * x, x * x], 1)).mean(1)


def transposed(f, x):
    return COTANGENT @ jacobian(f, x)


def forward(f, x):
    return directional(f, x, DIRECTION)


TRANSFORMS = {
    "grad": (apply_grad, transposed),
    "vjp": (apply_vjp, transposed),
    "jvp": (apply_jvp, forward),
    "jacrev": (apply_jacrev, forward),
    "jacfwd": (apply_jacfwd, transposed),
    "vmap": (apply_vmap, lambda f, x: sum(f(x * a) for a in SCALES)),
    "vmap_last": (apply_vmap_last, lambda f, x: (f(x) + f(0.5 * x) + f(x * x)) / 3),
}


def nest(names, function, m=tn):
    """The outermost transform is named first."""
    f = lambda x: function(m, x)  # noqa: E731
    for name in reversed(names):
        f = (lambda apply, inner: lambda x: apply(m, inner, x))(TRANSFORMS[name][0], f)
    return f


@by_name
@pytest.mark.parametrize("name", TRANSFORMS)
def test_one_transform(name, function):
    judge = TRANSFORMS[name][1](on_arrays(nest([], function)), POINT)
    close(nest([name], function)(double(POINT)), judge, 1e-8)


@by_name
@pytest.mark.parametrize("names", list(itertools.product(TRANSFORMS, repeat=2)), ids="-".join)
def test_two_transforms(names, function):
    judge = TRANSFORMS[names[0]][1](on_arrays(nest(names[1:], function)), POINT)
    close(nest(names, function)(double(POINT)), judge, 1e-7)


def random_nests(count, depth, seed=7):
    rng = np.random.default_rng(seed)
    for i in range(count):
        names = [str(name) for name in rng.choice(list(TRANSFORMS), depth)]
        yield pytest.param(names, FUNCTIONS[i % len(FUNCTIONS)], id="-".join(names))


@pytest.mark.parametrize(("names", "function"), list(random_nests(30, 3)))
def test_three_transforms(names, function):
    judge = TRANSFORMS[names[0]][1](on_arrays(nest(names[1:], function)), POINT)
    scale = max(1.0, np.abs(judge).max())
    close(nest(names, function)(double(POINT)) / scale, judge / scale, 1e-6)


@pytest.mark.skipif(torch is None, reason="torch is the judge")
@pytest.mark.parametrize(("names", "function"), [*random_nests(30, 3, 1), *random_nests(20, 4, 2)])
def test_deep_nests_as_pytorch(names, function):
    ours = nest(names, function)(double(POINT))
    try:
        theirs = nest(names, function, torch)(double(POINT, torch))
    except RuntimeError as error:  # torch.func has no rule for some in-place code under vmap
        pytest.skip(f"torch: {str(error)[:80]}")
    scale = max(1.0, float(theirs.abs().max()))
    close(ours / scale, theirs.detach() / scale, 1e-9)


# ---- shapes of results, and the four hessians --------------------------------------------------


@by_name
@pytest.mark.parametrize("outer", [jacrev, jacfwd])
@pytest.mark.parametrize("inner", [jacrev, jacfwd])
def test_hessians(outer, inner, function):
    f = lambda x: (function(tn, x) ** 2).sum()  # noqa: E731
    expected = jacobian(on_arrays(grad(f)), POINT)
    close(outer(inner(f))(double(POINT)), expected, 1e-7)
    close(hessian(f)(double(POINT)), expected, 1e-7)


def test_hessian_of_several_outputs_has_three_axes():
    f = lambda x: smooth(tn, x)[:3] * x.sum()  # noqa: E731
    expected = jacobian(on_arrays(jacrev(f)), POINT)
    for outer, inner in itertools.product([jacrev, jacfwd], repeat=2):
        close(outer(inner(f))(double(POINT)), expected, 1e-8)
    assert hessian(f)(double(POINT)).shape == (3, N, N)


@by_name
def test_jacobians_of_each_example(function):
    f = lambda x: function(tn, x)  # noqa: E731
    batch = np.stack([POINT, 0.5 * POINT, -POINT])
    expected = np.stack([jacobian(on_arrays(f), x) for x in batch])
    for jac in (jacrev, jacfwd):
        close(vmap(jac(f))(double(batch)), expected, 1e-8)
    h = lambda x: (function(tn, x) ** 2).sum()  # noqa: E731
    expected = np.stack([jacobian(on_arrays(grad(h)), x) for x in batch])
    close(vmap(hessian(h))(double(batch)), expected, 1e-7)


@by_name
def test_jacobian_of_a_batched_function(function):
    f = vmap(lambda x: function(tn, x))
    batch = np.stack([POINT, 0.5 * POINT])
    each = [jacobian(on_arrays(lambda x: function(tn, x)), x) for x in batch]
    expected = np.zeros((2, N, 2, N))
    for i in range(2):
        expected[i, :, i] = each[i]
    close(jacrev(f)(double(batch)), expected, 1e-8)
    close(jacfwd(f)(double(batch)), expected, 1e-8)


def test_gradients_of_each_example_and_of_their_sum_agree():
    f = lambda x: (smooth(tn, x) ** 2).sum()  # noqa: E731
    batch = double(np.stack([POINT, 2 * POINT, -POINT]))
    close(grad(lambda b: vmap(f)(b).sum())(batch), vmap(grad(f))(batch).numpy())


def test_per_example_gradients_of_a_module():
    tn.manual_seed(0)
    model = tn.nn.Linear(3, 2)
    x, y = tn.randn(5, 3), tn.randn(5, 2)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters, x, y):
        output = tn.func.functional_call(model, parameters, (x,))
        return ((output - y) ** 2).mean()

    each = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
    for i in range(5):
        model.zero_grad()
        ((model(x[i]) - y[i]) ** 2).mean().backward()
        close(each["weight"][i], model.weight.grad.numpy(), 1e-5)
        close(each["bias"][i], model.bias.grad.numpy(), 1e-5)


def test_vmap_over_tangents_and_over_cotangents():
    f = lambda x: smooth(tn, x) * x.sum()  # noqa: E731
    x, basis = double(POINT), tn.eye(N, dtype=tn.float64)
    expected = jacobian(on_arrays(f), POINT)
    close(vmap(lambda u: jvp(f, (x,), (u,))[1], out_dims=1)(basis), expected, 1e-8)
    close(vmap(vjp(f, x)[1])(basis), expected, 1e-8)
    close(vmap(linearize(f, x)[1], out_dims=1)(basis), expected, 1e-8)


def test_two_vmaps_with_a_gradient_between():
    a, b = np.arange(1.0, 4), np.arange(2.0, 6)
    f = lambda x, y: x * x * y  # noqa: E731
    pairs = vmap(vmap(grad(f), in_dims=(None, 0)), in_dims=(0, None))
    close(pairs(double(a), double(b)), 2 * np.outer(a, b))
    between = vmap(grad(lambda x: vmap(lambda y: f(x, y))(double(b)).sum()))
    close(between(double(a)), 2 * a * b.sum())


# ---- higher orders ------------------------------------------------------------------------------


def test_third_order():
    f = lambda x: tn.exp(2 * x) * tn.sin(x)  # noqa: E731
    x = double(0.3)
    wanted = np.exp(0.6) * (2 * np.sin(0.3) + 11 * np.cos(0.3))
    one = double(1.0)
    forwards = lambda g: lambda x: jvp(g, (x,), (one,))[1]  # noqa: E731
    for kinds in itertools.product([grad, forwards, jacrev, jacfwd], repeat=3):
        g = f
        for kind in kinds:
            g = kind(g)
        close(g(x), wanted)


def test_third_derivative_tensor():
    f = lambda x: (smooth(tn, x) * x.sum()).sum()  # noqa: E731
    expected = jacobian(on_arrays(hessian(f)), POINT)
    for kinds in itertools.product([jacrev, jacfwd], repeat=3):
        g = f
        for kind in kinds:
            g = kind(g)
        close(g(double(POINT)), expected, 1e-7)


def test_sixth_order():
    forwards = lambda g: lambda x: jvp(g, (x,), (double(1.0),))[1]  # noqa: E731
    g = tn.sin
    for _ in range(3):
        g = grad(forwards(g))
    close(g(double(0.8)), -np.sin(0.8))


def test_higher_orders_by_backward():
    x = double(0.3).requires_grad_()
    y = x**4
    for wanted in (4 * 0.3**3, 12 * 0.3**2, 24 * 0.3, 24.0):
        (y,) = tn.autograd.grad(y, x, create_graph=True)
        close(y.detach(), wanted)


# ---- perturbation confusion ---------------------------------------------------------------------


def test_perturbations_are_not_confused():
    one = tn.tensor(1.0)
    assert grad(lambda x: x * grad(lambda y: x + y)(one))(one).item() == 1.0
    forwards = lambda f: lambda x: jvp(f, (x,), (one,))[1]  # noqa: E731
    for outer, inner in itertools.product([grad, forwards], repeat=2):
        assert outer(lambda x, inner=inner: x * inner(lambda y: x + y)(one))(one).item() == 1.0
        # The same tensor is the variable of both.
        value = outer(lambda x, inner=inner: x * inner(lambda y: x * y * y)(x))(tn.tensor(2.0))
        assert value.item() == 24.0  # d/dx 2 x^3
    both = grad(lambda x: grad(lambda x: x**3)(x) * x)(tn.tensor(2.0))
    assert both.item() == 36.0  # d/dx 3 x^3


def test_vmap_levels_are_not_confused():
    x = tn.arange(3).float()
    close(vmap(lambda a: vmap(lambda b: a * 10 + b)(x))(x), np.add.outer([0, 10, 20], [0, 1, 2]))
    close(vmap(lambda a: vmap(lambda b: a)(x))(x), np.repeat([[0], [1], [2]], 3, 1))


# ---- closures -----------------------------------------------------------------------------------


def test_closure_over_outer_variables():
    x = double(POINT)

    def outer(x):
        return grad(lambda y: (x * y * y).sum())(tn.sin(x)).sum()

    close(grad(outer)(x), 2 * np.sin(POINT) + 2 * POINT * np.cos(POINT))


def test_gradient_reaches_a_leaf_outside():
    w = double(POINT).requires_grad_()
    gradient = grad(lambda x: (w * w * x * x).sum())(double(DIRECTION))
    assert gradient.requires_grad
    gradient.sum().backward()
    close(w.grad, 4 * POINT * DIRECTION)
    w.grad = None
    jvp(lambda x: w * x, (double(DIRECTION),), (double(COTANGENT),))[1].sum().backward()
    close(w.grad, COTANGENT)
    w.grad = None
    vmap(lambda a: (a * w).sum())(double(SCALES)).sum().backward()
    close(w.grad, np.full(N, SCALES.sum()))


def test_a_leaf_as_the_variable():
    w = double(POINT).requires_grad_()
    gradient = grad(lambda x: (x * x * x).sum())(w)
    gradient.sum().backward()
    close(w.grad, 6 * POINT)
    # A leaf used both as the variable and as a constant of the same function.
    w.grad = None
    gradient = grad(lambda x: (x * x * w).sum())(w)
    close(gradient.detach(), 2 * POINT**2)
    gradient.sum().backward()
    close(w.grad, 4 * POINT)

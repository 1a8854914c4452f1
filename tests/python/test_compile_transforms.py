"""Compiled functions whose derivatives and batches tn.func makes."""

import pytest
from compiled import check, same, settle, skips

import tenon as tn
import tenon.nn as nn
from tenon.func import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, value_and_grad, vjp, vmap

SCALE = 2.0


def scalar(x, y):
    return ((x * y).tanh() ** 2 * SCALE).sum()


def with_aux(x, y):
    z = (x * y).tanh()
    return z.sum(), {"z": z, "n": 3}


def of_dict(params, x):
    return ((x @ params["w"] + params["b"]).tanh() ** 2).sum()


def inside(x, y):
    g = grad(scalar, argnums=(0, 1))(x, y)
    rows = vmap(grad(lambda a, b: (a * b).sin().sum()), in_dims=(0, None))(x, y[0])
    return g, rows


def pulled(x, y):
    value, pull = vjp(lambda a: (a * y).exp(), x)
    return value, pull(y), pull(value)


def pushed(x, y):
    return jvp(lambda a: a.sin() * y, (x,), (y,))


TRANSFORMED = {
    "grad": grad(scalar),
    "both": grad(scalar, argnums=(0, 1)),
    "with value": value_and_grad(scalar, 1),
    "and value": grad_and_value(scalar),
    "aux": grad(with_aux, has_aux=True),
    "hessian": hessian(scalar),
    "jacobians": lambda x, y: (jacrev(tn.mul)(x, y), jacfwd(tn.mul, argnums=1)(x, y)),
    "twice": grad(lambda x, y: grad(scalar)(x, y).square().sum()),
    "examples": vmap(grad(scalar)),
    "one for all": vmap(grad(scalar, argnums=(0, 1)), in_dims=(0, None)),
    "columns": vmap(lambda a, b: (a * 2, b), in_dims=(1, 0), out_dims=(1, 0)),
    "in chunks": vmap(grad(scalar), chunk_size=2),
    "of a built-in": vmap(tn.dot),
    "compiled inside": vmap(tn.compile(scalar)),
    "inside": inside,
    "pulled": pulled,
    "pushed": pushed,
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_skips(name):
    x, y = tn.randn(4, 4), tn.randn(4, 4)
    check(TRANSFORMED[name], (x, y), (y, x), (tn.randn(4, 4) + 0, tn.randn(4, 4)))


@pytest.mark.parametrize("name", ["grad", "aux", "hessian", "examples", "pulled"])
def test_derivatives_of_what_was_skipped(name):
    plain = TRANSFORMED[name]
    f = tn.compile(plain)
    for _ in range(5):
        x = tn.randn(3, 3, requires_grad=True)
        y = tn.randn(3, 3)
        results = f(x, y), plain(x, y)
        same(*results)
        grads = []
        for result in results:
            leaves = [t for t in tn.utils._pytree.tree_leaves(result) if isinstance(t, tn.Tensor)]
            total = sum((t.square().sum() for t in leaves if t.requires_grad), tn.tensor(0.0))
            grads.append(tn.autograd.grad(total, [x])[0])
        same(*grads)
    assert skips(f) > 0, f.explain()


def test_dictionaries_of_parameters():
    params = {"w": tn.randn(3, 2), "b": tn.randn(2)}
    f = check(vmap(grad(of_dict), in_dims=(None, 0)), (params, tn.randn(5, 3)))
    before = skips(f)
    params["b"] = tn.randn(2)  # an argument's parts may be others
    x = tn.randn(5, 3)
    same(f(params, x), vmap(grad(of_dict), in_dims=(None, 0))(params, x))
    assert skips(f) == before + 1


def test_a_module_inside():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    plain = vmap(grad(lambda x: model(x).sum()))
    f = check(plain, (tn.randn(5, 3),))
    with tn.no_grad():
        model[0].weight.mul_(2)
    x = tn.randn(5, 3)
    same(f(x), plain(x))
    model[1] = nn.Sigmoid()
    same(f(x), plain(x))


# ---- what changes between calls ------------------------------------------------------------------


def test_globals_closures_and_options(monkeypatch):
    x, y = tn.randn(3, 3), tn.randn(3, 3)
    f = tn.compile(hessian(scalar))
    settle(f, x, y)
    assert skips(f) > 0
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    same(f(x, y), hessian(scalar)(x, y))

    factor = 2.0

    def scaled(x):
        return (x * x * factor).sum()

    g = tn.compile(grad(scaled))
    settle(g, x)
    assert skips(g) > 0
    factor = 5.0
    same(g(x), grad(scaled)(x))

    dims = [0]
    plain = vmap(lambda v: v.cumsum(0), in_dims=dims)
    h = tn.compile(plain)
    settle(h, x)
    assert skips(h) > 0
    dims[0] = 1
    same(h(x), plain(x))


def test_code_that_is_replaced():
    def inner(x):
        return (x * x).sum()

    def outer(x):
        return grad(inner)(x)

    x = tn.randn(3)
    for plain in (outer, grad(inner)):
        f = tn.compile(plain)
        settle(f, x)
        assert skips(f) > 0
        before = inner.__code__
        inner.__code__ = (lambda x: (x * x * x).sum()).__code__
        same(f(x), plain(x))
        assert (f(x) - 3 * x * x).abs().max().item() < 1e-5
        inner.__code__ = before


def test_a_transform_that_is_replaced(monkeypatch):
    def outer(x):
        return tn.func.grad(lambda v: (v * v).sum())(x)

    x = tn.randn(3)
    f = tn.compile(outer)
    settle(f, x)
    assert skips(f) > 0
    monkeypatch.setattr(tn.func, "grad", lambda function: lambda v: v * 0)
    assert f(x).tolist() == [0, 0, 0]


# ---- what Python must run for --------------------------------------------------------------------


def writes_to_its_primal(x):
    def inner(v):
        v.mul_(2)
        return (v * v).sum()

    return grad(inner)(x)


def writes_to_its_example(x):
    def inner(v):
        v.add_(1)
        return v * 2

    return vmap(inner)(x)


def writes_outside(x):
    total = x * 0
    other = x.detach().clone()

    def inner(v):
        return (v * v * total).sum()

    other.add_(grad(inner)(x))
    return other


def reads_a_value(x):
    return grad(lambda v: (v * v).sum() if v.sum() > 0 else v.sum())(x)


def draws(x):
    return vmap(lambda v: v * tn.rand(()), randomness="different")(x), tn.rand(2)


def draws_the_same(x):
    return vmap(lambda v: v * tn.rand(()), randomness="same")(x)


@pytest.mark.parametrize(
    "function",
    [writes_to_its_primal, writes_to_its_example, writes_outside, reads_a_value]
    + [draws, draws_the_same],
)
def test_effects_are_those_of_python(function):
    f = tn.compile(function)
    for seed in range(6):
        start = tn.randn(4) * (1 if seed % 2 else -1)
        results = []
        for g in (f, function):
            tn.manual_seed(seed)
            x = start.clone()
            results.append((g(x), x, x._version, tn.rand(3)))
        same(*results)


def test_effects_in_python():
    seen = []

    def inner(v):
        seen.append(v.shape)
        return (v * v).sum()

    f = tn.compile(grad(inner))
    for _ in range(5):
        f(tn.randn(3))
    assert len(seen) == 5 and skips(f) == 0

    counts = {"calls": 0}

    def counting(v):
        counts["calls"] += 1
        return v * 2

    g = tn.compile(vmap(counting))
    for _ in range(5):
        g(tn.randn(3))
    assert counts["calls"] == 5 and skips(g) == 0


def test_errors_are_the_transforms():
    f = tn.compile(grad(lambda x: x * 2))
    for _ in range(4):
        with pytest.raises(RuntimeError, match="scalar tensor"):
            f(tn.randn(3))
    g = tn.compile(vmap(lambda x: x.sum() if x.sum() > 0 else x.prod()))
    for _ in range(4):
        with pytest.raises(RuntimeError, match="vmap"):
            g(tn.randn(3, 3))


class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b


def test_classes_that_are_registered():
    from tenon.utils import _pytree

    calls = []

    def flatten(pair):
        calls.append(1)
        return [pair.a, pair.b], None

    _pytree.register_pytree_node(Pair, flatten, lambda parts, _: Pair(*parts))
    try:
        f = tn.compile(lambda x: grad(lambda p: (p.a * p.b).sum())(Pair(x, x)).a)
        x = tn.randn(3)
        for i in range(5):
            same(f(x), x + 0)
            assert len(calls) > i
    finally:
        del _pytree._registered[Pair]


def test_containers_that_a_function_is_given():
    def plain(x, state):
        def inner(v):
            state["last"] = 1  # the caller's
            return (v * v).sum()

        return grad(inner)(x)

    f = tn.compile(plain)
    for _ in range(4):
        state = {}
        f(tn.randn(2), state)
        assert state == {"last": 1}

    def passes_on(x, parts):
        return vmap(lambda v, p: [v * 2, p], in_dims=(0, None), out_dims=(0, None))(x, parts)

    g = tn.compile(passes_on)
    for _ in range(4):
        parts = tn.randn(2)
        x = tn.randn(3)
        same(g(x, parts), passes_on(x, parts))

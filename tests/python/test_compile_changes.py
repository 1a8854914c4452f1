"""What a compiled function reads changes between two calls, in every way: the next call sees it."""

import math

import numpy as np
import pytest
from compiled import check, same, settle, skips

import tenon as tn
import tenon.nn as nn
import tenon.nn.functional as F

SCALE = 2.0
SIZE = 2
TABLE = [1.0, 2.0]
WEIGHT = None


def elementwise(x, y):
    return (x * y + x.sin()).tanh() * SCALE


# ---- what changes between calls ------------------------------------------------------------------


def test_globals_and_builtins(monkeypatch):
    x, y = tn.randn(3), tn.randn(3)
    f = tn.compile(elementwise)
    settle(f, x, y)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    same(f(x, y), elementwise(x, y))
    monkeypatch.setitem(globals(), "SCALE", y)
    same(f(x, y), elementwise(x, y))

    def first(x):
        return x * TABLE[0] + len(TABLE)

    g = tn.compile(first)
    settle(g, x)
    TABLE[0] = 5.0
    same(g(x), first(x))
    TABLE.append(1.0)
    try:
        same(g(x), first(x))
    finally:
        TABLE.pop()
    settle(g, x)
    monkeypatch.setitem(globals(), "len", lambda v: 100)
    same(g(x), first(x))
    monkeypatch.delitem(globals(), "len")
    import builtins

    monkeypatch.setattr(builtins, "len", lambda v: 200)
    same(g(x), first(x))


def test_patched_functions_and_methods(monkeypatch):
    def uses(x):
        return F.relu(x) + tn.exp(x) + x.sigmoid()

    x = tn.randn(4)
    f = tn.compile(uses)
    settle(f, x)
    plain = f(x)
    assert skips(f) == 2
    monkeypatch.setattr(F, "relu", lambda v: v * 10)
    same(f(x), uses(x))
    monkeypatch.setattr(tn, "exp", lambda v: v * 20)
    same(f(x), uses(x))
    monkeypatch.setattr(tn.Tensor, "sigmoid", lambda v: v * 30)
    same(f(x), uses(x))
    monkeypatch.setattr(tn.Tensor, "__add__", lambda a, b: a - b)
    same(f(x), uses(x))
    monkeypatch.undo()
    same(f(x), plain)


def test_closures_defaults_and_code():
    factor = 2.0

    def scaled(x, extra=[1.0]):  # noqa: B006
        return x * factor + extra[0]

    x = tn.randn(3)
    f = tn.compile(scaled)
    settle(f, x)
    assert skips(f) == 1
    factor = 4.0
    same(f(x), scaled(x))
    scaled.__defaults__[0][0] = 7.0
    same(f(x), scaled(x))
    settle(f, x)
    scaled.__defaults__ = ([9.0],)
    same(f(x), scaled(x))
    settle(f, x)
    scaled.__code__ = (lambda x, extra: x - extra[0] + factor).__code__
    same(f(x), scaled(x))


class Scaled(nn.Module):
    gain = 1.5

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.dropout = nn.Dropout(0.5)
        self.factor = 2.0
        self.layers = [self.linear, nn.ReLU()]

    @property
    def doubled(self):
        return self.factor * 2

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        if self.training:
            x = x + 1
        return self.dropout(x) * self.factor * self.gain * self.doubled


CHANGES = {
    "float": lambda m: setattr(m, "factor", 3.0),
    "class attribute": lambda m: setattr(m, "gain", 5.0),
    "eval": lambda m: m.eval(),
    "child": lambda m: setattr(m, "dropout", nn.Identity()),
    "parameter": lambda m: setattr(m.linear, "weight", nn.Parameter(tn.ones(4, 4))),
    "parameter data": lambda m: setattr(m.linear.weight, "data", tn.zeros(4, 4)),
    "parameter in place": lambda m: m.linear.weight.data.fill_(0.25),
    "frozen": lambda m: m.linear.requires_grad_(False),
    "no bias": lambda m: setattr(m.linear, "bias", None),
    "list": lambda m: m.layers.pop(),
    "hook": lambda m: m.linear.register_forward_hook(lambda mod, args, out: out * 3),
    "pre-hook": lambda m: m.register_forward_pre_hook(lambda mod, args: (args[0] * 3,)),
    "forward": lambda m: setattr(m, "forward", lambda x: x * 7),
    "fields": lambda m: setattr(m, "__dict__", {**m.__dict__, "factor": 11.0}),
    "class": lambda m: setattr(m, "__class__", type("Other", (Scaled,), {"gain": 13.0})),
    "property": lambda m: setattr(
        m, "__class__", type("Third", (Scaled,), {"doubled": property(lambda s: 17.0)})
    ),
    "double": lambda m: setattr(m.linear, "out_features", 9),
}


@pytest.mark.parametrize("change", CHANGES)
def test_modules_that_change(change):
    tn.manual_seed(1)
    model = Scaled()
    model.dropout.p = 0.0
    f = tn.compile(model)
    x = tn.randn(3, 4)
    settle(f, x)
    assert skips(f) == 1, f.explain()
    CHANGES[change](model)
    for _ in range(4):
        same(f(x), model(x))


def test_class_attributes_and_methods(monkeypatch):
    model = Scaled().eval()
    f = tn.compile(model)
    x = tn.randn(3, 4)
    settle(f, x)
    monkeypatch.setattr(Scaled, "gain", 9.0)
    same(f(x), model(x))
    monkeypatch.setattr(Scaled, "forward", lambda self, x: x * self.gain)
    same(f(x), model(x))
    monkeypatch.setattr(nn.Module, "__call__", lambda self, x: x - 1)
    same(f(x), model(x))


def test_modes():
    def loss(x):
        return (x * x).sum()

    f = tn.compile(loss)
    x = tn.randn(3, requires_grad=True)
    settle(f, x)
    with tn.no_grad():
        assert not f(x).requires_grad
        settle(f, x)
        assert not f(x).requires_grad
    assert f(x).requires_grad
    assert not f(x.detach()).requires_grad

    def makes():
        return tn.zeros(2) + 1

    g = tn.compile(makes)
    settle(g)
    assert skips(g) == 1
    tn.set_default_dtype(tn.float64)
    try:
        assert g().dtype == tn.float64
    finally:
        tn.set_default_dtype(tn.float32)


def test_no_grad_inside():
    def partly(x):
        with tn.no_grad():
            y = x.exp()
        return x * y

    x = tn.randn(3, requires_grad=True)
    f = check(partly, (x,))
    f(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), x.detach().exp().numpy())
    assert tn.is_grad_enabled()


def test_values_of_numbers():
    def scaled(x, by):
        return x * by

    x = tn.randn(3)
    f = check(scaled, (x, 2), (x, 2.0), (x, True), (x, 0.0))
    assert math.copysign(1, f(tn.ones(1), -0.0).item()) == -1
    assert math.isnan(f(tn.ones(1), math.nan).item())
    for i in range(100):  # ever new values
        same(f(x, i * 0.5), x * (i * 0.5))


# ---- tensors that aren't what they were ----------------------------------------------------------


def test_aliases():
    def both(x, y):
        return x * 2 + y, x is y

    x, y = tn.randn(3), tn.randn(3)
    f = tn.compile(both)
    settle(f, x, y)
    same(f(x, x), both(x, x))
    settle(f, x, x)
    same(f(x, y), both(x, y))
    base = tn.randn(4, 4)
    settle(f, base[0], base[1])
    same(f(base[2], base[3]), both(base[2], base[3]))
    base.add_(1)
    same(f(base[0], base[1]), both(base[0], base[1]))
    same(f(base[0], base), both(base[0], base))


def test_a_global_tensor_given_as_argument(monkeypatch):
    def uses(x):
        return x * WEIGHT, x is WEIGHT

    weight = tn.randn(3)
    monkeypatch.setitem(globals(), "WEIGHT", weight)
    x = tn.randn(3)
    f = tn.compile(uses)
    settle(f, x)
    same(f(weight), uses(weight))
    settle(f, weight)
    same(f(x), uses(x))
    weight.add_(1)
    same(f(x), uses(x))
    monkeypatch.setitem(globals(), "WEIGHT", tn.randn(3))
    same(f(x), uses(x))


def test_writes_between_calls_and_to_results():
    f = tn.compile(lambda x: (x * 2, x.T))
    x = tn.randn(3, 3)
    settle(f, x)
    a, view = f(x)
    before = a.clone()
    x.add_(1)
    np.testing.assert_array_equal(a.numpy(), before.numpy())
    np.testing.assert_array_equal(view.numpy(), x.T.numpy())
    view.mul_(0)
    assert x.sum().item() == 0 and x._version == 2
    a.fill_(5)
    assert f(x)[0].sum().item() == 0


def test_memory_known_outside():
    f = tn.compile(lambda x: x * 2)
    x = tn.zeros(3)
    settle(f, x)
    array = x.numpy()
    array[:] = 4
    assert f(x).tolist() == [8, 8, 8]
    y = f(x)
    array[:] = 5
    assert y.tolist() == [8, 8, 8]
    out = f(tn.from_numpy(array))
    array[:] = 6
    assert out.tolist() == [10, 10, 10]


def test_pending_arguments():
    f = tn.compile(lambda x: (x * 2).sum())
    x = tn.randn(3)
    settle(f, x)
    assert f(x + 1).item() == ((x + 1) * 2).sum().item()
    y = x.exp()
    z = f(y)
    y.add_(1)
    assert z.item() == (x.exp() * 2).sum().item()


def test_subclasses_and_attributes():
    class Own(nn.Parameter):
        pass

    def uses(x):
        return x * 2, getattr(x, "tag", 0)

    f = tn.compile(uses)
    x = tn.randn(3)
    settle(f, x)
    x.tag = 5
    same(f(x), uses(x))
    g = tn.compile(lambda x: x.exp())
    y = tn.randn(3)
    settle(g, y)
    y.exp = lambda: "other"
    assert g(y) == "other"
    own = Own(tn.ones(3))
    for _ in range(4):
        same(g(own), own.exp())


def test_hooks_on_tensors():
    f = tn.compile(lambda x, w: x * w)
    x, w = tn.ones(3), tn.ones(3, requires_grad=True)
    settle(f, x, w)
    seen = []
    w.register_hook(lambda g: seen.append(g.tolist()))
    f(x, w).sum().backward()
    assert seen == [[1, 1, 1]]
    v = w * 2
    v.register_hook(lambda g: g * 10)
    w.grad = None
    f(x, v).sum().backward()
    assert w.grad.tolist() == [20, 20, 20]


def test_explain_names_what_changed(monkeypatch):
    def uses(x):
        return x[:SIZE] * TABLE[0]

    x = tn.randn(3)
    f = tn.compile(uses)
    settle(f, x)
    monkeypatch.setitem(globals(), "TABLE", [3.0])
    f(x)
    assert "a proof no longer held: 'TABLE' is another object" in f.explain()
    settle(f, x)
    monkeypatch.setitem(globals(), "SIZE", 1)
    f(x)
    assert "a proof no longer held: 'SIZE' is another number" in f.explain()


def test_a_module_that_writes_while_it_trains():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    f = tn.compile(model)
    x = tn.randn(3, 4)
    for _ in range(4):
        f(x)
    assert skips(f) == 0 and "writes to a tensor that it was given" in f.explain()
    assert model[1].num_batches_tracked.item() == 4
    f.eval()
    for _ in range(4):
        same(f(x), model(x))
    assert skips(f) > 0, f.explain()
    f.train()
    mean = model[1].running_mean.clone()
    f(x)
    assert model[1].num_batches_tracked.item() == 5
    assert (model[1].running_mean != mean).any().item()

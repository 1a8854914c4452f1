"""tenon.compile: what it means is what the function means, whether Python runs or not."""

import functools
import gc
import math
import pickle
import weakref

import numpy as np
import pytest
from compiled import check, same, settle, skips

import tenon as tn
import tenon.nn as nn
import tenon.nn.functional as F

SCALE = 2.0
TABLE = [1.0, 2.0]
WEIGHT = None


# ---- what can be skipped -------------------------------------------------------------------------


def elementwise(x, y):
    return (x * y + x.sin()).tanh() * SCALE


def branches(x, flag=True):
    if flag and x.shape[0] > 2:
        x = x * 2
    for i in range(3):
        x = x + i
    return x


def structures(x, y):
    a, *rest = [x + i for i in range(3)]
    return {"a": a, "rest": tuple(rest), "n": len(rest), "same": a, "given": x, "none": None}


def views(x, y):
    z = x @ y.T
    return z, z.T, x[1:], z.T[0], y.detach()


def inner(x, y):
    def scaled(v, by=3):
        return v * by * y.sum()

    return scaled(x) + scaled(x, by=2), [scaled(x) for _ in range(2)]


def in_place_inside(x, y):
    z = x * 1
    z += y
    z.mul_(2)
    z[0] = 1
    return z


def functional(x, y):
    return F.gelu(F.layer_norm(x, (4,))) + F.softmax(y, dim=-1) + math.sqrt(2.0) * max(1, 2)


def keywords(x, *args, y, **rest):
    return x + args[0] + y + rest["z"]


@pytest.mark.parametrize(
    "function", [elementwise, structures, views, inner, in_place_inside, functional]
)
def test_skips(function):
    x, y = tn.randn(3, 4), tn.randn(3, 4)
    check(function, (x, y), (y, x), (tn.randn(5, 4), tn.randn(5, 4)))


@pytest.mark.parametrize(
    "function", [elementwise, structures, views, inner, in_place_inside, functional]
)
def test_skips_with_gradients(function):
    x, y = tn.randn(3, 4, requires_grad=True), tn.randn(3, 4, requires_grad=True)
    f = check(function, (x, y))

    def gradients(call):
        x.grad = y.grad = None
        out = call(x, y)
        while not isinstance(out, tn.Tensor):
            out = out["a"] if isinstance(out, dict) else out[0]
        out.sin().sum().backward()
        return [None if t.grad is None else t.grad.numpy().copy() for t in (x, y)]

    before = skips(f)
    for got, expected in zip(gradients(f), gradients(function), strict=True):
        assert (got is None) == (expected is None)
        if got is not None:
            np.testing.assert_array_equal(got, expected)
    assert skips(f) == before + 1


def test_branches_and_keywords():
    x = tn.randn(3, 4)
    check(branches, (x,), (x, False), (tn.randn(2, 4),))
    f = tn.compile(keywords)
    for _ in range(4):
        same(f(x, x, y=x, z=x), keywords(x, x, y=x, z=x))
    assert skips(f) == 2
    same(f(x, 2, z=3, y=4), keywords(x, 2, z=3, y=4))


def test_modules():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 2))
    f = tn.compile(model)
    x = tn.randn(3, 4)
    for _ in range(4):
        same(f(x), model(x))
    assert skips(f) == 2, f.explain()
    assert list(f.parameters()) == list(model.parameters())
    with tn.no_grad():
        for _ in range(4):
            same(f(x), model(x))
    assert skips(f) == 4
    f(x).sum().backward()
    got = [p.grad.numpy().copy() for p in model.parameters()]
    model.zero_grad()
    model(x).sum().backward()
    for a, p in zip(got, model.parameters(), strict=True):
        np.testing.assert_array_equal(a, p.grad.numpy())


def test_training_step_follows_the_parameters():
    def train(compiled):
        tn.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        call = tn.compile(model) if compiled else model
        optimizer = tn.optim.SGD(model.parameters(), lr=0.1)
        losses = []
        for step in range(8):
            optimizer.zero_grad()
            loss = call(tn.ones(3, 4) * step).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, call

    expected, _ = train(False)
    got, call = train(True)
    assert got == expected
    assert skips(call) == 6


def test_random_numbers_go_on():
    def noisy(x):
        return x + tn.rand(3) + tn.randn(3)

    f = tn.compile(noisy)
    x = tn.ones(3)
    tn.manual_seed(3)
    got = [f(x).tolist() for _ in range(5)] + tn.rand(2).tolist()
    assert skips(f) == 3
    tn.manual_seed(3)
    assert got == [noisy(x).tolist() for _ in range(5)] + tn.rand(2).tolist()


# ---- the object ----------------------------------------------------------------------------------


def test_methods_partial_pickle_and_garbage():
    class Model:
        def __init__(self):
            self.scale = 2.0

        @tn.compile
        def run(self, x):
            return x * self.scale

    model = Model()
    x = tn.ones(2)
    for _ in range(4):
        assert model.run(x).tolist() == [2, 2]
    model.scale = 3.0
    assert model.run(x).tolist() == [3, 3]
    assert Model().run(x).tolist() == [2, 2]
    f = tn.compile(elementwise)
    assert f.__name__ == "elementwise" and f.__wrapped__ is elementwise
    again = pickle.loads(pickle.dumps(tn.compile(nn.Linear(2, 2)).forward._function.__self__))
    assert again.weight.shape == (2, 2)
    partial = tn.compile(functools.partial(elementwise, x))
    for _ in range(4):
        same(partial(x), elementwise(x, x))

    net = nn.Linear(2, 2)
    compiled = tn.compile(net)
    settle(compiled, tn.ones(1, 2))
    assert skips(compiled) == 1
    gone = weakref.ref(net)
    del net, compiled
    gc.collect()
    tn.ones(1).tolist()
    gc.collect()
    assert gone() is None


def test_options():
    with pytest.raises(RuntimeError, match="mode"):
        tn.compile(elementwise, mode="fast")
    with pytest.raises(RuntimeError, match="backend"):
        tn.compile(elementwise, backend="nvfuser")
    with pytest.raises(RuntimeError, match="option"):
        tn.compile(elementwise, options={"a": 1})
    with pytest.raises(TypeError):
        tn.compile(5)
    assert tn.compile(elementwise, disable=True) is elementwise
    full = tn.compile(lambda x: x * 2 if x.sum() > 0 else x, fullgraph=True)
    with pytest.raises(RuntimeError, match=r"test_compile.py:\d+ reads a value"):
        full(tn.ones(3))
    proven = tn.compile(elementwise, fullgraph=True)
    settle(proven, tn.ones(2), tn.ones(2))
    assert skips(proven) == 1
    decorated = tn.compile(dynamic=True, mode="reduce-overhead")(elementwise)
    same(decorated(tn.ones(2), tn.ones(2)), elementwise(tn.ones(2), tn.ones(2)))


def test_explain():
    f = tn.compile(elementwise)
    f(tn.ones(3, 4), tn.ones(3, 4))
    f(tn.ones(5, 6), tn.ones(5, 6))
    f(tn.ones(5, 6), tn.ones(6))
    report = f.explain()
    assert "the same plan as before, for other sizes" in report
    assert "another plan than before: input 1: float32[n]" in report
    assert "reads float32[3, 4] input 0" in report and "test_compile.py" in report


def test_a_unit_is_not_cut():
    def long(x):
        for i in range(3000):
            x = x * 1.0001 + i
        return x

    f = tn.compile(long)
    x = tn.zeros(2)
    expected = long(x).tolist()
    tn.flush()
    tn.jit.reset()
    assert f(x).tolist() == expected
    assert tn.jit.counters()["programs"] == 1


COMMON = {
    "einsum": lambda a, b: tn.einsum("ij,jk->ik", a, b),
    "fields": lambda a, b: a.max(0).values + b.sort(-1)[0],
    "unpacking": lambda a, b: [v + i for i, (v, _) in enumerate(zip(a, b))],
    "dtype": lambda a, b: a.to(tn.float64) * b.double(),
    "creation": lambda a, b: tn.zeros_like(a) + tn.arange(4) + tn.ones(4, dtype=tn.float64),
    "indexing": lambda a, b: (a[None, ..., 0], b[1:, ::2], a[tn.arange(2)]),
    "masks": lambda a, b: tn.where(a > b, a, 0.0).masked_fill(b > 0, 1.0),
    "text": lambda a, b: (a.view(a.size(0), -1), f"{a.shape[0]}:{len(b)}"),
    "dictionaries": lambda a, b: {**{"a": a}, "b": b, "c": {"x": a}["x"]},
}


@pytest.mark.parametrize("name", COMMON)
def test_common_code_is_proven(name):
    check(COMMON[name], (tn.randn(4, 4), tn.randn(4, 4)))


def test_lists_of_modules():
    class Stack(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])

        def forward(self, x, skips=None):
            for i, layer in enumerate(self.layers):
                x = layer(x) if skips is None or i not in skips else x
            return x / len(self.layers)

    model = Stack()
    f = tn.compile(model)
    x = tn.randn(2, 4)
    for _ in range(4):
        same(f(x), model(x))
    assert skips(f) == 2, f.explain()
    model.layers.append(nn.ReLU())
    same(f(x), model(x))
    model.layers[0] = nn.Identity()
    same(f(x), model(x))
    same(f(x, (1,)), model(x, (1,)))

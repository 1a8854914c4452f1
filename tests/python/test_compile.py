"""tenon.compile: what it means is what the function means, whether Python runs or not."""

import functools
import gc
import math
import pickle
import threading
import weakref

import numpy as np
import pytest

import tenon as tn
import tenon.nn as nn
import tenon.nn.functional as F


def skips(f):
    return f._skipped if isinstance(f, tn.CompiledFunction) else f.forward._skipped


def settle(f, *args, **kwargs):
    """Calls until Python is skipped."""
    for _ in range(3):
        result = f(*args, **kwargs)
    return result


def same(a, b):
    if isinstance(a, tn.Tensor):
        assert type(a) is type(b)
        assert a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride()
        assert a.requires_grad == b.requires_grad
        assert a._version == b._version
        assert (a._base is None) == (b._base is None)
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    else:
        assert type(a) is type(b) and (a == b or a != a)


def check(function, *calls, skipped=True):
    """Compiled and plain, over calls that repeat."""
    f = tn.compile(function)
    for args in calls:
        for _ in range(4):
            same(f(*args), function(*args))
    assert (skips(f) > 0) == skipped, f.explain()
    return f


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


# ---- what can't be skipped -----------------------------------------------------------------------

LOG = []


def prints(x):
    print("called", end="")
    return x * 2


def logs(x):
    LOG.append(1)
    return x * 2


def reads(x):
    return x * 2 if x.sum() > 0 else x * 3


def items(x):
    return x * x.sum().item()


def writes(x):
    x.add_(1)
    return x * 2


def sets_attribute(x):
    x.tag = 1
    return x * 2


def yields(x):
    return sum(v for v in (x, x))


def raises(x):
    try:
        raise ValueError("inside")
    except ValueError:
        return x * 2


def sets_global(x):
    global SCALE
    SCALE = SCALE + 0
    return x * SCALE


def trains(x):
    w = tn.ones(3, requires_grad=True)
    (w * x).sum().backward()
    return w.grad


def uses_numpy(x):
    return x + tn.tensor(np.random.rand())


def reads_grad(x):
    return x * 2 if x.grad is None else x.grad * 3


@pytest.mark.parametrize(
    "function",
    [prints, logs, reads, items, writes, sets_attribute, yields, raises, sets_global, trains]
    + [uses_numpy, reads_grad],
)
def test_runs_python(function):
    f = tn.compile(function)
    del LOG[:]
    for _ in range(6):
        f(tn.ones(3))
    assert skips(f) == 0
    report = f.explain()
    assert "Python is not skipped" in report and "test_compile.py:" in report, report
    if function is logs:
        assert len(LOG) == 6


def test_writes_happen_once():
    x = tn.zeros(2)
    f = tn.compile(writes)
    for call in range(6):
        f(x)
        assert x.tolist() == [call + 1, call + 1]
        assert x._version == call + 1


def test_errors_are_the_functions():
    f = tn.compile(lambda x, y: x + y)
    x, y = tn.ones(3), tn.ones(3)
    settle(f, x, y)
    with pytest.raises(RuntimeError, match="size"):
        f(x, tn.ones(4))
    with pytest.raises(TypeError):
        f(x)
    same(f(x, y), x + y)
    g = tn.compile(lambda x, i: x[i])
    i = tn.tensor([0, 1])
    settle(g, x, i)
    for _ in range(3):
        with pytest.raises(IndexError):
            g(x, tn.tensor([0, 9])).tolist()
    assert g(x, i).tolist() == [1, 1]


def test_recursion_and_nesting():
    @tn.compile
    def power(x, n):
        return x if n == 0 else x * power(x, n - 1)

    x = tn.full((2,), 2.0)
    for _ in range(4):
        assert power(x, 3).tolist() == [16, 16]
    assert skips(power) > 0
    outer = tn.compile(lambda x: power(x, 2) + 1)
    for _ in range(4):
        assert outer(x).tolist() == [9, 9]
    assert skips(outer) > 0


def test_transforms_around_and_inside():
    from tenon.func import grad, vmap

    f = tn.compile(lambda x: (x * x).sum())
    x = tn.randn(3, 4)
    settle(f, x)
    settle(f, x[0])
    np.testing.assert_allclose(grad(f)(x).numpy(), 2 * x.numpy(), rtol=1e-6)
    np.testing.assert_allclose(vmap(f)(x).numpy(), (x * x).sum(1).numpy(), rtol=1e-6)
    np.testing.assert_allclose(vmap(grad(f))(x).numpy(), 2 * x.numpy(), rtol=1e-6)
    inside = tn.compile(lambda x: vmap(grad(lambda v: (v**3).sum()))(x))
    for _ in range(4):
        np.testing.assert_allclose(inside(x).numpy(), 3 * x.numpy() ** 2, rtol=1e-5)
    mixed = vmap(lambda v: f(x) * v)
    np.testing.assert_allclose(mixed(tn.ones(2)).numpy(), [f(x).item()] * 2, rtol=1e-6)


def test_threads():
    f = tn.compile(elementwise)
    x, y = tn.randn(64), tn.randn(64)
    expected = elementwise(x, y).tolist()
    settle(f, x, y)
    wrong = []

    def work():
        for _ in range(200):
            if f(x, y).tolist() != expected:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong and skips(f) > 700


def test_debuggers_see_the_lines():
    import sys

    f = tn.compile(lambda x: x * 2)
    x = tn.ones(2)
    settle(f, x)
    lines = []

    def trace(frame, event, arg):
        lines.append(frame.f_code.co_name)
        return trace

    sys.settrace(trace)
    try:
        f(x)
    finally:
        sys.settrace(None)
    assert "<lambda>" in lines


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
    full = tn.compile(reads, fullgraph=True)
    with pytest.raises(RuntimeError, match=r"test_compile.py:\d+ reads a value"):
        full(tn.ones(3))
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


# ---- containers: what is given stays what it is --------------------------------------------------

LISTS = [[1.0], [2.0]]


def takes_from_iterator(x):
    inner = next(iter(LISTS))
    inner.append(1.0)
    return x * len(inner)


def takes_from_dict(x, d):
    d.get("a").append(1)
    return x * 2


def takes_from_sum(x):
    (LISTS + [[3.0]])[0].append(1.0)
    return x * 2


def returns_given(x, values):
    return values


def returns_global(x):
    return x * 2, LISTS


def same_lists(x, a, b):
    return x * 2, a is b


@pytest.mark.parametrize(
    "function, args",
    [
        (takes_from_iterator, ()),
        (takes_from_dict, ({"a": [1]},)),
        (takes_from_sum, ()),
        (returns_given, ([1, 2],)),
        (returns_global, ()),
        (same_lists, ([1], [1])),
    ],
)
def test_given_containers(function, args):
    f = tn.compile(function)
    x = tn.ones(2)
    for _ in range(5):
        f(x, *args)
    assert skips(f) == 0, f.explain()
    if function is returns_given:
        assert f(x, args[0]) is args[0]
    if function is takes_from_iterator:
        assert len(LISTS[0]) == 6
        LISTS[0][:] = [1.0]
    if function is takes_from_sum:
        assert len(LISTS[0]) == 6
        LISTS[0][:] = [1.0]


def test_containers_as_arguments():
    def mixes(values, table):
        return [v * table["by"] for v in values], {"n": len(values), "sum": sum(values)}

    x, y = tn.randn(3), tn.randn(3)
    f = check(mixes, ([x, y], {"by": 2.0}), ([y, x, x], {"by": 2.0}), ([x, y], {"by": 3.0}))
    same(f((x, y), {"by": 2.0}), mixes((x, y), {"by": 2.0}))
    held = [x]
    held.append(held)
    assert tn.compile(lambda v: v[0] * 2)(held).tolist() == (x * 2).tolist()
    twice = tn.compile(lambda x: ([x], [x]))
    a, b = settle(twice, x)
    assert a is not b and a[0] is x


def test_transforms_leave_proofs_alone():
    from tenon.func import vmap

    f = tn.compile(lambda v: v.sin())
    for _ in range(4):
        vmap(f)(tn.ones(2, 3))
    x = tn.ones(3)
    settle(f, x)
    assert skips(f) == 1
    with tn.sync_errors():
        f(x)
    assert skips(f) == 1


def test_results_stay_right_when_written_to():
    f = tn.compile(lambda x: (x.clone(), x + 0, x.reshape(4)))
    x = tn.arange(4.0)
    for _ in range(4):
        a, b, c = f(x)
        a.add_(1)
        b.numpy()[:] = 9
        assert x.tolist() == [0, 1, 2, 3] and c.tolist() == [0, 1, 2, 3]
    c.add_(1)
    assert x.tolist() == [1, 2, 3, 4]


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

"""Where compiled functions can't be proven, Python runs, with all that it does."""

import threading

import numpy as np
import pytest
from compiled import check, same, settle, skips

import tenon as tn

SCALE = 2.0


def elementwise(x, y):
    return (x * y + x.sin()).tanh() * SCALE


# ---- what can't be skipped -----------------------------------------------------------------------

LOG = []


def prints(x):
    print("called", end="")
    return x * 2


def logs(x):
    LOG.append(1)
    return x * 2


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
    [prints, logs, items, writes, sets_attribute, yields, raises, sets_global, trains]
    + [uses_numpy, reads_grad],
)
def test_runs_python(function):
    f = tn.compile(function)
    del LOG[:]
    for _ in range(6):
        f(tn.ones(3))
    assert skips(f) == 0
    report = f.explain()
    assert "Python is not skipped" in report and "test_compile_runs.py:" in report, report
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


def test_what_is_never_proven_is_left_alone():
    f = tn.compile(logs)
    x = tn.ones(2)
    del LOG[:]
    for call in range(100):
        assert f(x).tolist() == [2, 2] and len(LOG) == call + 1
    assert skips(f) == 0 and "no more proofs" in f.explain()


def test_an_if_that_depends_on_data():
    """Fault 19: each call takes its own branch, and explain shows both."""

    def branches(x):
        if x.sum() > 0:
            return x * 2
        return x - 1

    f = tn.compile(branches)
    for i in range(8):
        x = tn.full((3,), 1.0 if i % 3 else -1.0)
        assert f(x).tolist() == branches(x).tolist()
    assert "then read true" in f.explain() and "test_compile_runs.py:" in f.explain()

    def same_as_where(x):
        return tn.where(x.sum() > 0, x * 2, x - 1)

    g = tn.compile(same_as_where)
    for i in range(8):
        x = tn.full((3,), 1.0 if i % 3 else -1.0)
        assert g(x).tolist() == branches(x).tolist()
    assert skips(g) == 6

    strict = tn.compile(branches, fullgraph=True)
    with pytest.raises(RuntimeError, match=r"test_compile_runs.py:.*tenon.where"):
        strict(tn.ones(3))


def test_what_a_function_changes_besides_tensors():
    """Fault 42: globals, lists, attributes, closures and defaults are changed on every call."""

    class Counter:
        count = 0

    state, seen, counter, total = {"n": 0}, [], Counter(), 0

    def in_a_dict(x):
        state["n"] += 1
        return x * state["n"]

    def in_a_list(x):
        seen.append(x.shape[0])
        return x * len(seen)

    def in_an_attribute(x):
        counter.count += 1
        return x * counter.count

    def in_a_class(x):
        Counter.count += 1
        return x * Counter.count

    def in_a_closure(x):
        nonlocal total
        total += 1
        return x * total

    def in_a_default(x, calls=[]):  # noqa: B006
        calls.append(1)
        return x * len(calls)

    def in_a_global(x):
        global CALLS
        CALLS += 1
        return x * CALLS

    functions = [in_a_dict, in_a_list, in_an_attribute, in_a_closure, in_a_default, in_a_global]
    for function in [*functions, in_a_class]:
        f = tn.compile(function)
        assert [f(tn.ones(1)).item() for _ in range(6)] == [1, 2, 3, 4, 5, 6], function
        assert skips(f) == 0


CALLS = 0

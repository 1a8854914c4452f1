"""A boolean that a compiled function reads: what follows is of that answer, and is found again when
the answer comes again. An answer that no call gave yet makes Python run from the start."""

import random

import pytest
from compiled import same, skips

import tenon as tn
import tenon.nn as nn
import tenon.nn.functional as F

POSITIVE, NEGATIVE = tn.tensor([1.0, 2.0]), tn.tensor([-1.0, -2.0])
LIMIT = 0.0


def compare(function, calls, least=0):
    """Compiled and plain: the same values and errors. Python is skipped at least so often."""
    f = tn.compile(function)
    for turn, args in enumerate(calls):
        tn.manual_seed(turn)
        try:
            expected = function(*args)
        except Exception as error:
            tn.manual_seed(turn)
            with pytest.raises(type(error)):
                f(*args)
            continue
        after = tn.rand(1)
        tn.manual_seed(turn)
        same(f(*args), expected)
        same(tn.rand(1), after)
    assert skips(f) >= least, f.explain()
    return f


def branch(x):
    y = x.sin()
    if y.sum() > LIMIT:
        return y * 2
    return y - x


def nested(x):
    y = x * 3
    if (x > 0).all():
        if (x > 1.5).any():
            return y + 1, x
        return [y, y * 2]
    if not (x < 0).all():
        y = y / 2
    return {"y": y, "x": x.abs()}


def both(x):
    return x * 2 if ((x > 0).any() and (x < 0).any()) or bool((x > 3).any()) else x - 1


def newton(x, tolerance=1e-4):
    turns = 0
    while ((x * x - 2).abs() > tolerance).any():
        x = x - (x * x - 2) / (2 * x)
        turns += 1
    return x, turns


def noisy(x):
    y = x + 0.5 * tn.rand(2)
    if y.sum() > 0.3:
        y = y * tn.rand(2)
    return y + tn.rand(2)


MIXED = [POSITIVE, POSITIVE, NEGATIVE, tn.tensor([1.0, -1.0]), tn.tensor([1.0, 1.0]), POSITIVE * 2]


@pytest.mark.parametrize("function", [branch, nested, both, noisy], ids=lambda f: f.__name__)
def test_branches(function):
    draw = random.Random(1)
    compare(function, [(draw.choice(MIXED),) for _ in range(60)], least=40)


def test_pending_arguments():
    draw = random.Random(2)
    compare(branch, [(draw.choice(MIXED) * 2 + 0.25,) for _ in range(30)], least=20)
    compare(branch, [(draw.choice(MIXED).expand(3, 2)[1:].T,) for _ in range(30)], least=20)


def test_loops():
    compare(newton, [(tn.tensor([1.0 + 0.1 * (i % 3), 2.0]),) for i in range(30)], least=20)
    calls = [(tn.tensor([1.5, 2.0]), 10.0**-i) for i in (1, 1, 2, 3, 4, 3, 2, 1, 4, 3, 2, 1) * 3]
    compare(newton, calls, least=15)


def test_loops_that_write_and_keep():
    def halved(x, most):
        y, kept = x * 4, []
        above = y.abs().sum() > most
        while above:
            if above and y.sum() < 0:
                y = -y
            kept.append(y[:1] * 2)
            y = y * 0.5
            y[0] += 0.125
            above = y.abs().sum() > most
        return y, tn.cat([x[:1], *kept]), y + tn.rand(2)

    compare(halved, [(MIXED[i % 3], 1.0 + i % 2) for i in range(40)], least=25)

    def in_place(x):  # what was made before the read is written to after it: Python runs
        y = x * 4
        while y.sum() > 1:
            y *= 0.5
        return y

    compare(in_place, [(MIXED[i % 3],) for i in range(12)])

    def solve(a, b):  # conjugate gradients
        x, r = tn.zeros_like(b), b
        p, rs = r, (r * r).sum()
        while rs > 1e-9:
            ap = a @ p
            step = rs / (p * ap).sum()
            x, r = x + step * p, r - step * ap
            before, rs = rs, (r * r).sum()
            p = r + rs / before * p
        return x

    m = tn.randn(12, 12)
    a = m @ m.T + 12 * tn.eye(12)
    compare(solve, [(a, v) for v in (tn.ones(12), tn.ones(12), tn.ones(12), tn.arange(12.0))], 1)


def test_loops_of_ever_other_lengths_are_given_up():
    def halved(x, most):
        while x.sum() > most:
            x = x * 0.5
        return x

    f = tn.compile(halved)
    draw = random.Random(3)
    for _ in range(150):
        x = tn.tensor([2.0 ** draw.randint(0, 60)])
        same(f(x, 1.0), halved(x, 1.0))
    assert f._count() == 0, f.explain()  # else each call would run most of the loop in vain
    before = skips(f)
    for _ in range(20):
        same(f(POSITIVE, 1.0), halved(POSITIVE, 1.0))
    assert skips(f) == before


def test_what_else_is_read_stays_guarded(monkeypatch):
    f = tn.compile(branch)
    for i in range(20):
        monkeypatch.setitem(globals(), "LIMIT", [0.0, 0.0, 5.0, -5.0][i % 4])
        x = MIXED[i % 3]
        same(f(x), branch(x))
    assert skips(f) > 10, f.explain()

    def patched(x):
        return branch(x) * 3

    f = tn.compile(patched)
    for i in range(12):
        if i == 6:
            monkeypatch.setitem(globals(), "branch", lambda x: x if x.sum() > 0 else -x)
        x = MIXED[i % 2 + 1]
        same(f(x), patched(x))


def test_other_sizes_dtypes_and_modes():
    draw = random.Random(4)
    f = tn.compile(branch)
    for _ in range(60):
        x = draw.choice(MIXED).to(draw.choice([tn.float32, tn.float64]))[: draw.randint(1, 2)]
        with tn.set_grad_enabled(draw.random() < 0.8):
            same(f(x), branch(x))


def test_derivatives():
    draw = random.Random(5)
    f = tn.compile(lambda w, x: branch(w * x).square() + (w if (w > 0).all() else x))
    for _ in range(30):
        value, x = draw.choice(MIXED), draw.choice(MIXED)
        grads = []
        for function in (f, f._function):
            w = value.clone().requires_grad_()
            h = w * 1.5  # one with a history
            function(w, x).sum().backward()
            function(h, x).sum().backward()
            grads.append(w.grad)
        same(*grads)
    assert skips(f) > 30, f.explain()


def test_results_are_new_and_arguments_stay():
    def f(x):
        y = x + 1
        return (y, x) if (x > 0).all() else (x, y)

    g = tn.compile(f)
    for i in range(16):
        x = MIXED[i % 3].clone()
        a, b = g(x)
        expected = f(x)
        same((a, b), expected)
        assert (a is x) == (expected[0] is x) and (b is x) == (expected[1] is x)
        for t in (a, b):
            t.add_(1)
        assert x._version == 1


def test_errors():
    def gathered(x, index):
        y = x[index]
        return y * 2 if y.sum() > 0 else y

    inside, outside = tn.tensor([0, 1]), tn.tensor([0, 7])
    compare(gathered, [(POSITIVE, i) for i in (inside, inside, inside, outside, inside, outside)])
    compare(lambda x: x if x else -x, [(tn.tensor([v]),) for v in (1.0, 1.0, 0.0, 1.0)])
    compare(lambda x: x if x > 0 else -x, [(POSITIVE,)] * 4)
    compare(lambda x: x if x > 0 else -x, [(tn.zeros(0),)] * 4)


def test_reads_that_python_does():
    reads = [
        lambda x: x * x.sum().item(),
        lambda x: x * float(x.sum()),
        lambda x: x * 2 if float(x.sum()) > 0 else x,
        lambda x: x * int((x > 0).sum()),
        lambda x: x[x > 0],
    ]
    for function in reads:
        f = compare(function, [(x,) for x in MIXED * 2])
        assert skips(f) == 0, f.explain()

    def under_no_grad(x):
        with tn.no_grad():
            if (x > 0).all():
                return x * 2
        return x

    compare(under_no_grad, [(x,) for x in MIXED * 2])
    compare(lambda x: x * 2 if x[0] > 0 else x, [(x,) for x in MIXED * 3], least=10)
    compare(lambda x: x if tn.equal(x, x.abs()) else -x, [(x,) for x in MIXED * 3], least=10)
    strict = tn.compile(branch, fullgraph=True)
    for _ in range(4):
        with pytest.raises(RuntimeError, match="reads a value"):
            strict(POSITIVE)


def test_inside_transforms_and_other_units():
    compare(lambda x: tn.func.grad(lambda u: branch(u).sum())(x), [(x,) for x in MIXED * 2])
    inner = tn.compile(branch)
    compare(lambda x: inner(x) * 2, [(x,) for x in MIXED * 4])
    for x in MIXED * 2:
        same(tn.func.grad(lambda u: inner(u).sum())(x), tn.func.grad(lambda u: branch(u).sum())(x))
    with pytest.raises(RuntimeError):
        tn.func.vmap(inner)(tn.stack(MIXED))


def train(compiled, late):
    tn.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = tn.optim.Adam(model.parameters(), lr=0.05)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        if not late and not loss.isfinite():
            return loss * 0
        loss.backward()
        if late and loss > 5:
            return loss
        optimizer.step()
        return loss

    def guarded(x, y):
        loss = F.mse_loss(model(x), y)
        if not loss.isfinite():
            return loss * 0
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    chosen = step if late else guarded
    f = tn.compile(chosen) if compiled else chosen
    draw, losses = random.Random(0), []
    for _ in range(24):
        x, y = tn.randn(4, 3), tn.randn(4, 1)
        if draw.random() < 0.3:
            x = x * float("inf")
        losses.append(f(x, y).item())
    return losses, model.weight.tolist(), [p.grad.tolist() for p in model.parameters()], f


def test_training_steps():
    for late in (False, True):
        result, expected = train(True, late), train(False, late)
        assert str(result[:3]) == str(expected[:3])
        assert skips(result[3]) >= (16 if not late else 0), result[3].explain()
    assert skips(result[3]) == 0  # a step can't be taken back


def test_explain():
    f = tn.compile(branch)
    for x in MIXED * 2:
        f(x)
    text = f.explain()
    assert "then read true" in text and "then read false" in text

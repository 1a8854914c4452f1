"""Numbers that a compiled function is given, or reads, are arguments of what was captured: another
learning rate, temperature or step needs no Python. What a number decides is guarded."""

import math
import random
import types

import numpy as np
import pytest
from compiled import outcome, same, skips

import tenon as tn
import tenon.nn as nn
import tenon.nn.functional as F

RATE = 0.5
NAN, INF = math.nan, math.inf


def compare(function, calls, least=0):
    """Compiled and plain: the same values and errors. Python is skipped at least so often."""
    f = tn.compile(function)
    for args in calls:
        try:
            expected = function(*args)
        except Exception as error:
            with pytest.raises(type(error)):
                f(*args)
        else:
            same(f(*args), expected)
    assert skips(f) >= least, f.explain()
    return f


X = tn.tensor([0.5, -1.5, 2.0])
Y = tn.tensor([1.0, 3.0, -2.0])
FLOATS = [0.1 * i - 0.25 for i in range(10)]


def augmented(x, a):
    y = x.clone()
    y += a
    y *= a
    y **= 2
    a -= 1
    return y / a


ARITHMETIC = {
    "times": lambda x, a: x * a,
    "from the left": lambda x, a: a - x,
    "in place": lambda x, a: x.clone().mul_(a).add_(a),
    "augmented": augmented,
    "divided": lambda x, a: (x / a, a / x),
    "floor and remainder": lambda x, a: (x // a, x % a),
    "alpha": lambda x, a: x.add(Y, alpha=a) - x.sub(Y, alpha=a),
    "lerp": lambda x, a: tn.lerp(x, Y, a),
    "compared": lambda x, a: (x > a, a <= x, x == a, x.ne(a)),
    "where": lambda x, a: tn.where(x > 0, x, a),
    "clamp": lambda x, a: x.clamp(min=a) + x.clamp(max=a),
    "filled": lambda x, a: x.masked_fill(x > 0, a) + tn.full((3,), a) + tn.full_like(x, a),
    "addcmul": lambda x, a: tn.addcmul(x, x, Y, value=a) + tn.addcdiv(x, x, Y, value=a),
    "maximum": lambda x, a: tn.maximum(x, tn.full((), a)),
    "product": lambda x, a: tn.addmm(x, x[None].T @ x[None], Y[:, None] * x, beta=a, alpha=a),
    "atan2 of a scaled": lambda x, a: tn.atan2(x * a, Y).pow(2) * a,
    "computed": lambda x, a: x * (a * 0.5 + 1 - a**2) / (abs(a) + 1),
    "by mathematics": lambda x, a: x * math.sqrt(a * a) + math.exp(-a) - math.cos(a),
    "least": lambda x, a: x * min(a, 0.2) + max(0.1, a, -a),
    "negated": lambda x, a: x * -a + +a,
    "of a function": lambda x, a: (lambda u, v=2.0: u * v + a)(x, a * 3),
    "named": lambda x, a: (lambda u, *, scale: u * scale)(x, scale=a),
    "asked for its type": lambda x, a: x * a if isinstance(a, (int, float)) else x,
    "not None": lambda x, a: x * a if a is not None else x,
    "sum": lambda x, a: sum([x, Y], a),
}


@pytest.mark.parametrize("function", ARITHMETIC.values(), ids=ARITHMETIC)
def test_ever_new_floats(function):
    compare(function, [(X, a) for a in FLOATS], least=7)


@pytest.mark.parametrize("name", ["times", "alpha", "computed", "compared", "negated", "sum"])
def test_ever_new_ints(name):
    calls = [(x, i - 3) for i in range(12) for x in (X,)]
    # What `alpha` is compared with splits the calls: it is one once.
    compare(ARITHMETIC[name], calls, least=8)
    compare(ARITHMETIC[name], [(x.to(tn.int32), i) for x, i in calls], least=8)


def test_special_values():
    values = [1.0, 0.0, -0.0, NAN, INF, -INF, 1e300, 5e-324, -0.0, 0.0]
    compare(lambda x, a: (x * a, x + a, a / x), [(X, a) for a in values], least=8)
    compare(lambda x, a: x * (a + 0.0), [(X, a) for a in values], least=8)


def test_equal_numbers_of_two_arguments_stay_two():
    def f(x, a, b, c):
        return x * a + b, (x - c) * b

    compare(
        f, [(X, 0.5, 0.5, 0.5), (X, 0.5, 0.5, 0.5), (X, 1.5, 0.25, -2.0), (X, 0.5, 2.0, 0.5)], 2
    )
    compare(f, [(X, 1, 1, 1), (X, 1, 1, 1), (X, 3, 2, 1), (X, 1, 2, 3)], 2)


def test_literals_equal_to_a_number_stay():
    compare(lambda x, a: (x * 0.5 + a, x * a + 0.5), [(X, 0.5), (X, 0.5), (X, 2.0), (X, 3.0)], 2)


def test_another_type_of_number():
    f = lambda x, a: x * a + a  # noqa: E731
    whole = X.to(tn.int64)
    for x in (X, whole, whole > 0):
        types_of_one = [1.0, 1, True, np.float64(1.0), np.int64(1), tn.tensor(1.0), 1j]
        compare(f, [(x, a) for a in (*types_of_one, None, "a", *types_of_one) for _ in range(3)])


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int64", "bool", "float16", "bfloat16", "float64"]
)
def test_dtypes(dtype):
    x = X.abs().to(getattr(tn, dtype))
    compare(
        lambda x, a: ((x + a).double(), x * a > 2),
        [(x, a) for a in (1.5, 2.25, 3.0, 300.7, -1.0)],
        3,
    )
    compare(
        lambda x, a: ((x + a).double(), x * a > 2),
        [(x, a) for a in (1, 2, 3, 300, -7, 2**40, 2**70, 3)],
        3,
    )
    compare(lambda x, a: x.clone().fill_(a).double(), [(x, a) for a in (1, 2, 3, 100)])
    compare(
        lambda x, a: x.add(x, alpha=a).double(), [(x, a) for a in (2, 3, 4, 1, 5, 0.5, 1.5, 2.5)]
    )


def test_complex_tensors():
    z = tn.complex(X, Y)
    compare(lambda x, a: x * a + a, [(z, a) for a in FLOATS])


def test_no_number_fits_64_bits():
    compare(
        lambda x, n: x * n, [(X.to(tn.int64), n) for n in (1, 2, 3, 2**63 - 1, 2**63, -(2**63), 4)]
    )
    compare(lambda x, n: x * (n * n), [(X.to(tn.int64), n) for n in (1, 2, 3, 2**40, 4)], 2)


def test_what_python_raises():
    compare(lambda x, a: x * (1 / a), [(X, a) for a in (1.0, 2.0, 3.0, 0.0, 4.0)], 2)
    compare(lambda x, a: x * math.sqrt(a), [(X, a) for a in (1.0, 2.0, 3.0, -1.0, 4.0)], 2)
    compare(lambda x, a: x * math.exp(a), [(X, a) for a in (1.0, 2.0, 3.0, 1e4, 4.0)], 2)
    compare(lambda x, a: x * a**0.5, [(X, a) for a in (1.0, 2.0, 3.0, -1.0, 4.0)], 2)  # complex
    compare(lambda x, n: x * 2**n, [(X, n) for n in (1, 2, 3, -1, 4)], 2)  # a float

    def unused(x, a):
        1 / a
        return x + 1

    compare(unused, [(X, a) for a in (1.0, 2.0, 3.0, 0.0, 4.0)], 2)


# ---- what a number decides -----------------------------------------------------------------------


def test_exponents_select_the_operation():
    exponents = [2.5, 2.5, 2, 3.5, 1.0, 0.5, -1, -0.5, 3, 2.0, 1.7, -2.0, 0, 0.0, 7, 2.25, -3.0]
    compare(lambda x, p: x.abs() ** p, [(X, p) for p in exponents * 2])
    compare(
        lambda x, p: tn.pow(x, p), [(X.to(tn.int64), p) for p in [2, 3, 0, -1, 4, 1, 5, 2.5] * 2]
    )
    compare(lambda x, p: p**x, [(X, p) for p in (1.5, 2.5, 3.5, 1.0, 2.0)], 3)
    f = compare(lambda x, p: x.abs() ** p, [(X, 1.1 + 0.2 * i) for i in range(8)], 6)
    same(f(X, 2.0), X.abs() ** 2.0)


def test_branches():
    def sign(x, a):
        if a > 0.3:
            return x * a
        if not a:
            return x - 1
        return x / a if a != -0.05 else x

    compare(sign, [(X, a) for a in [*FLOATS, 0.0, -0.05] * 3], 20)

    def warm(x, step):
        rate = 0.1 * min(1.0, (step + 1) / 5) if step < 10 else 0.1 * 0.9 ** (step - 10)
        return x - x * rate if step % 4 else x * rate

    compare(warm, [(X, step) for step in range(40)], 28)

    def loops(x, n):
        while n > 2:
            x, n = x * n, n // 2
        return x + n

    compare(loops, [(X, n) for n in range(20)])
    compare(lambda x, a: x * a if 0 < a <= 0.5 else x + a, [(X, a) for a in FLOATS * 2], 10)
    compare(lambda x, a: x * bool(a) + (a or 3.0), [(X, a) for a in (1.0, 0.0, 2.0, 0.0, 5.0)])
    compare(lambda x, a: x if (a > 0.1) is True else x * a, [(X, a) for a in FLOATS * 2], 10)


SHAPES = {
    "view": lambda x, n: x.reshape(n, -1),
    "size": lambda x, n: tn.zeros(n, 2) + x.sum(),
    "sizes": lambda x, n: x.expand(*(n, 12)) * n,
    "dimension": lambda x, n: x.reshape(2, 3, 2).sum(n % 3),
    "index": lambda x, n: x[n] * n,
    "slice": lambda x, n: x[n : 2 * n],
    "narrow": lambda x, n: x.narrow(0, n, 2),
    "roll": lambda x, n: x.roll(n),
    "split": lambda x, n: x.split(n)[0] * 2,
    "range": lambda x, n: [x * i for i in range(n)][-1],
    "list": lambda x, n: [x, x * 2, x * 3, x * 4, x * 6, x * 7][n],
    "dictionary": lambda x, n: {1: x, 2: x * 2}.get(n, x * 3),
    "text": lambda x, n: x * len("a" * n) + (f"{n}" == "2"),
    "member": lambda x, n: x * (n in (1, 3)),
    "repeated list": lambda x, n: tn.cat([x] * n),
    "arange": lambda x, n: tn.arange(n),
    "one hot": lambda x, n: F.one_hot(tn.tensor(0), n),
    "rounded": lambda x, n: x[: int(n / 2 + 0.6)] + round(n / 3),
    "returned": lambda x, n: (x * n, n + 1),
    "rank": lambda x, n: x.size(n - n),
}


@pytest.mark.parametrize("function", SHAPES.values(), ids=SHAPES)
def test_what_sizes_indices_and_text_are_made_of(function):
    x = tn.arange(12.0)
    compare(function, [(x, n) for n in (1, 2, 3, 2, 4, 3, 1, 2, 5, 4) for _ in range(3)])


def test_a_size_beside_a_rate():
    calls = [(X, 1 + i % 2, 0.1 * i) for i in range(20)]
    compare(lambda x, n, a: x.expand(n, 3) * a, calls, least=14)


def test_options_that_are_read():
    compare(lambda x, p: F.dropout(x, p, False) * p, [(X, a) for a in (0.1, 0.2, 0.3, 2.0, 0.4)])
    compare(lambda x, a: F.leaky_relu(x, a) + F.elu(x, a), [(X, a) for a in FLOATS])
    compare(lambda x, a: F.layer_norm(x, (3,), eps=a), [(X, a) for a in FLOATS])
    compare(lambda x, a: F.softplus(x, a) + x.nan_to_num(a), [(X, a) for a in FLOATS])
    compare(lambda x, a: x.std(correction=a), [(X, a) for a in (0, 1, 2, 0, 1)])


# ---- where numbers are read ----------------------------------------------------------------------


def follow(function, change, values, least):
    """`change` sets what the function reads to each value."""
    f = tn.compile(function)
    for value in values:
        change(value)
        same(f(X), function(X))
    assert skips(f) >= least, f.explain()


CHANGING = [0.5, 0.5, 0.25, 1.5, 3, 4, 5, 7, True, Y, 0.75, 0.3, None, "a"]


def test_globals_closures_and_attributes(monkeypatch):
    class Config:
        rate = 0.5

        @property
        def half(self):
            return self.rate / 2

    config, module = Config(), types.ModuleType("settings")
    module.rate = 0.5
    layer = nn.Linear(3, 3)
    layer.rate = 0.5
    options = {"rate": 0.5, "name": "a", 3: None}
    rate = 0.5

    def set_cell(value):
        nonlocal rate
        rate = value

    readers = [
        (lambda x: x * RATE + 1, lambda v: monkeypatch.setitem(globals(), "RATE", v)),
        (lambda x: x * rate + 1, set_cell),
        (lambda x: x * config.rate + 1, lambda v: setattr(config, "rate", v)),
        (lambda x: x * Config.rate + 1, lambda v: setattr(Config, "rate", v)),
        (lambda x: x * config.half + 1, lambda v: setattr(config, "rate", v)),
        (lambda x: x * module.rate + 1, lambda v: setattr(module, "rate", v)),
        (lambda x: x * options["rate"] + 1, lambda v: options.__setitem__("rate", v)),
        (lambda x: x * options["rate"] + len(options), lambda v: options.__setitem__("rate", v)),
        (lambda x: layer(x) * layer.rate, lambda v: setattr(layer, "rate", v)),
        (lambda x: x * getattr(layer, "rate"), lambda v: setattr(layer, "rate", v)),  # noqa: B009
    ]
    for number, (function, change) in enumerate(readers):
        f = tn.compile(function)
        for value in CHANGING:
            change(value)
            same(outcome(f, X), outcome(function, X))
        if number in (3, 7):
            continue  # a class is guarded as a whole, and a dictionary whose length is asked for
        for value in FLOATS:
            change(value)
            same(f(X), function(X))
        assert skips(f) >= 6, (number, f.explain())
    del config.rate
    Config.rate = 0.7
    same(tn.compile(readers[2][0])(X), readers[2][0](X))


def test_an_attribute_goes_and_comes_back():
    class Config:
        rate = 3.0

    config = Config()
    function = lambda x: x * config.rate  # noqa: E731
    f = tn.compile(function)
    for rate in (0.5, 0.6, None, 0.7, None, None, 0.8, 2):
        if rate is None:
            config.__dict__.pop("rate", None)
        else:
            config.rate = rate
        same(f(X), function(X))


def test_a_scheduled_learning_rate():
    weight = tn.ones(3, requires_grad=True)
    optimizer = tn.optim.SGD([weight], lr=0.1)

    def scaled(x):
        return x * optimizer.param_groups[0]["lr"]

    f = tn.compile(scaled)
    for i in range(10):
        optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
        same(f(X), scaled(X))
    assert skips(f) == 8, f.explain()
    del optimizer.param_groups[0]["lr"]
    with pytest.raises(KeyError):
        f(X)


def test_containers_count_by_value():
    compare(lambda x, v: x * v[0] + v[1], [(X, (0.1 * i, 0.2)) for i in (1, 1, 2, 2, 1, 3, 3)])
    compare(lambda x, v: x * v["a"], [(X, {"a": 0.1 * i}) for i in (1, 1, 2, 2, 1, 3, 3)])
    compare(lambda x, *rest: x * rest[0] + len(rest), [(X, 0.1 * (i % 3)) for i in range(9)])
    compare(lambda x, **named: x, [(X,)] * 3, 1)


def test_keywords():
    def scaled(x, *, rate, shift=1.0):
        return x * rate + shift

    f = tn.compile(scaled)
    for i in range(10):
        same(f(X, rate=0.1 * i), scaled(X, rate=0.1 * i))
    assert skips(f) == 8
    for i in range(10):
        same(f(X, shift=i, rate=0.1 * i), scaled(X, shift=i, rate=0.1 * i))
    assert skips(f) == 16


def test_a_module_with_numbers():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)
            self.temperature = 1.0

        def forward(self, x, bias):
            return (self.linear(x) / self.temperature + bias).softmax(-1)

    module = Scaled()
    f = tn.compile(module)
    for i in range(10):
        module.temperature = 0.5 + 0.1 * i
        same(f(X, 0.2 * i), module(X, 0.2 * i))
    assert skips(f) >= 7, f.explain()


# ---- transforms, derivatives, steps --------------------------------------------------------------


def test_derivatives_of_what_was_skipped():
    function = lambda w, a: (w * a).sin() * a + w**2 * (a - 1)  # noqa: E731
    f = tn.compile(function)
    for a in FLOATS:
        w, v = X.clone().requires_grad_(), X.clone().requires_grad_()
        f(w, a).sum().backward()
        function(v, a).sum().backward()
        same(w.grad, v.grad)
    assert skips(f) >= 7


def test_transforms():
    def regularized(w, x, a):
        return ((w * x - a) ** 2).sum() + a * (w * w).sum()

    calls = [(X, Y, a) for a in FLOATS]
    compare(lambda w, x, a: tn.func.grad(lambda w: regularized(w, x, a))(w), calls, 7)
    compare(lambda w, x, a: w - a * tn.func.grad(regularized)(w, x, 0.5), calls, 7)
    compare(lambda w, x, a: tn.func.vmap(lambda u: u * a + a)(w), calls, 7)
    compare(lambda w, x, a: tn.func.hessian(lambda w: (w**3 * a).sum())(w), calls, 7)
    compare(lambda w, x, a: tn.func.jvp(lambda w: w * a, (w,), (x * a,)), calls, 7)


def test_regions():
    def scanned(x, a):
        return tn.scan(lambda carry, row: (carry * a + row, carry), tn.zeros(()), x)[0]

    def chosen(x, a):
        return tn.cond(x.sum() > a, lambda x: x * a, lambda x: x + a, (x,))

    compare(scanned, [(X, a) for a in FLOATS])
    compare(chosen, [(X, a) for a in FLOATS])


def test_random_numbers():
    function = lambda x, a: x + tn.rand(3) * a  # noqa: E731
    f = tn.compile(function)
    for i, a in enumerate(FLOATS):
        tn.manual_seed(i)
        got = f(X, a)
        tn.manual_seed(i)
        same(got, function(X, a))
    assert skips(f) >= 7


def test_training_steps():
    def train(compiled):
        tn.manual_seed(0)
        model = nn.Linear(3, 2)
        optimizer = tn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x, y, weight, number):
            optimizer.zero_grad()
            scale = 1 - 0.5**number
            loss = (F.mse_loss(model(x), y) + weight * model.weight.square().sum()) * scale
            loss.backward()
            optimizer.step()
            return loss * weight

        f = tn.compile(step) if compiled else step
        draw = random.Random(0)
        losses = []
        for i in range(12):
            x, y = tn.randn(4, 3), tn.randn(4, 2)
            losses.append(f(x, y, draw.random(), i + 1).item())
        return losses, model.weight.tolist(), f

    losses, weight, f = train(True)
    assert (losses, weight) == train(False)[:2]
    assert skips(f) >= 9, f.explain()


def test_explain_names_the_number():
    def f(x):
        return x[: int(RATE * 4)]

    g = tn.compile(f)
    for rate in (0.5, 0.5, 0.5, 0.25):
        globals()["RATE"] = rate
        g(X)
    globals()["RATE"] = 0.5
    assert "a proof no longer held: what numbers decide is another" in g.explain()

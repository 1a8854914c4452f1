"""Random functions, compiled and plain: the same results, gradients and random numbers, over calls
whose arguments alias, pend, require gradients or change their sizes."""

import linecache
import random

import pytest
from compiled import same

import tenon as tn

STATEMENTS = [
    "{r} = {a} + {b}",
    "{r} = {a} * {k}",
    "{r} = {a}.tanh()",
    "{r} = tn.maximum({a}, {b})",
    "{r} = {a}.softmax(-1)",
    "{r} = {a}.T.reshape({a}.shape)",
    "{r} = {a} @ {b}.T @ {a}",
    "{r} = tn.cat([{a}, {b}])[: {a}.shape[0]]",
    "{r} = {a} - {a}.mean(0, keepdim=True)",
    "{r} = {a} * 1; {r} += {b}",
    "{r} = {a}.clone(); {r}[0] = {k}; {r}.mul_({b})",
    "{r} = {a}.clone(); {r}[1:].add_({r}[:-1])",
    "{r} = {a} + tn.rand({a}.shape[0], {a}.shape[1])",
    "{r} = sum([{a}, {b}, {k}])",
    "{r} = [v * {k} for v in ({a}, {b})][1]",
    "{r} = {a}\nfor i in range(3):\n    {r} = {r} * SCALE + i",
    "{r} = {b} if {a}.shape[0] > 3 else {a}",
    "{r} = (lambda u, w={k}: u.sin() * w)({a})",
    "{r} = {a}.detach() * {b}",
    "with tn.no_grad():\n    {r} = {a}.exp()",
    "{r} = helper({a}, {b})",
    "{r} = model({a})",
    "{r} = {a} * WEIGHT",
    "{r} = {a}.expand(2, *{a}.shape)[0]",
    "if ({a} > {k}).any():\n    {r} = {a} * {k}\nelse:\n    {r} = {b} - {a}",
    "{r} = {a} + 0.1 * tn.rand({a}.shape[0], {a}.shape[1])\nif {r}.sum() > 0:\n    {r} += {b}",
    "{r} = {a}\nwhile {r}.abs().max() > {k} * 2:\n    {r} = {r} * 0.4",
]
RESULTS = ["{a}", "({a}, {b})", "[{a}, {a}.T]", "{{'p': {a}, 'q': ({b}, {k})}}", "{a}[0]"]


def make(seed):
    draw = random.Random(seed)
    names = ["x", "y"]
    lines = []
    for number in range(draw.randint(2, 7)):
        values = {"a": draw.choice(names), "b": draw.choice(names), "k": draw.choice((2, 0.5))}
        text = draw.choice(STATEMENTS).format(r=f"v{number}", **values)
        lines += text.split("\n")
        names.append(f"v{number}")
    a, b = names[-1], draw.choice(names)
    lines.append("return " + draw.choice(RESULTS).format(a=a, b=b, k=2))
    source = "def function(x, y):\n" + "".join(f"    {line}\n" for line in lines)
    file = f"<random {seed}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)

    def helper(u, w):
        if u.ndim == 2:
            return u.relu() + w.sum()
        return u

    weight = tn.ones(1) * 1.5
    weight.requires_grad_()
    model = tn.nn.Sequential(tn.nn.ReLU(), tn.nn.Dropout(0.5))
    scope = {"tn": tn, "SCALE": 0.75, "helper": helper, "model": model, "WEIGHT": weight}
    exec(compile(source, file, "exec"), scope)
    return scope["function"], source, scope


def leaves(value):
    if isinstance(value, tn.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from leaves(part)


def arguments(draw, rows):
    x = tn.randn(rows, 3)
    y = tn.randn(rows, 3)
    how = draw.randrange(7)
    if how == 1:
        y = x
    elif how == 2:
        x, y = tn.randn(2, rows, 3)
    elif how == 3:
        x.requires_grad_()
    elif how == 4:
        x.requires_grad_()
        y = x * 2
    elif how == 5:
        x = x.exp()
    elif how == 6:
        x.requires_grad_()
        y = x[:]
    return x, y


def observe(call, seed, scope):
    draw = random.Random(seed)
    tn.manual_seed(seed)
    seen = []
    for turn in range(14):
        rows = 3 if turn % 5 else draw.choice((3, 4))
        x, y = arguments(draw, rows)
        if turn == 8:
            scope["SCALE"] = 0.5
        if turn == 11:
            scope["model"].eval()
        with tn.set_grad_enabled(turn % 6 != 5):
            out = call(x, y)
        total = sum(t.sin().sum() for t in leaves(out))
        if total.requires_grad:
            total.backward()
        w = scope["WEIGHT"].grad
        grads = [t.grad for t in (x, y) if t.is_leaf] + [None if w is None else w.clone()]
        with tn.no_grad():
            if draw.random() < 0.3:
                y.add_(1)
        seen.append((out, [None if g is None else g.clone() for g in grads], x._version))
    return seen


@pytest.mark.parametrize("seed", range(150))
def test_random_functions(seed):
    function, source, scope = make(seed)
    expected = observe(function, seed, scope)
    again, _, other = make(seed)
    f = tn.compile(again)
    got = observe(f, seed, other)
    try:
        for a, b in zip(got, expected, strict=True):
            same(a, b)
    except AssertionError as error:
        raise AssertionError(f"{source}\n{f.explain()}") from error


def test_most_random_functions_skip_python():
    skipped = 0
    for seed in range(40):
        function, _, _ = make(seed)
        f = tn.compile(function)
        x, y = tn.randn(4, 3), tn.randn(4, 3)
        for _ in range(4):
            f(x, y)
        skipped += f._skipped > 0
    assert skipped > 30

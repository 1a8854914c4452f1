"""Random programs of numbers and tensors, compiled and plain, over calls whose numbers change."""

import math
import random
import types

import pytest
from compiled import outcome, same, skips

import tenon as tn

X, Y = tn.tensor([0.5, -1.5, 2.0]), tn.tensor([1.0, 3.0, -2.0])

NUMBERS = ["a", "b", "n", "RATE", "0.5", "2", "k", "config.rate"]
EXPRESSIONS = [
    "{p} * {q}",
    "{p} + {q}",
    "{p} - {q}",
    "{p} / ({q} or 1)",
    "min({p}, {q})",
    "max({p}, {q}, 0.1)",
    "abs({p}) ** 0.5",
    "-{p}",
    "float({p})",
    "int({p} * 3)",
    "math.tanh({p})",
    "({p} if {q} > 0.5 else {q})",
    "round({p}, 1)",
    "helper({p}, {q})",
]
STATEMENTS = [
    "{k} = {e}",
    "{k} = {e}",
    "x = x * {p}",
    "x = x + {p}",
    "x = {p} - x",
    "x = x.add(y, alpha={p})",
    "x = tn.lerp(x, y, {p})",
    "x = tn.where(x > {p}, x, {q})",
    "x = x.abs() ** {p}",
    "x = x.clone(); x *= {p}",
    "if {p} > {q}:\n    x = x * {p}\nelse:\n    {k} = {q}",
    "if int({p}) % 2:\n    x = x + 1",
    "x = x.clamp({p}, {p} + 1)",
    "x = (lambda u: u * {p})(x)",
    "x = x / ({p} * {p} + 1)",
]


def make(seed):
    draw = random.Random(seed)
    lines = ["k = b"]
    for _ in range(draw.randint(2, 7)):
        p, q = draw.choice(NUMBERS), draw.choice(NUMBERS)
        e = draw.choice(EXPRESSIONS).format(p=p, q=q)
        lines += draw.choice(STATEMENTS).format(p=p, q=q, e=e, k="k").split("\n")
    lines.append("return " + draw.choice(["x", "x, x * k", "[x, k]", "{'x': x * a}"]))
    source = "def function(x, y, a, b, n):\n" + "".join(f"    {line}\n" for line in lines)
    scope = {
        "tn": tn,
        "math": math,
        "RATE": 0.5,
        "config": types.SimpleNamespace(rate=0.5),
        "helper": lambda p, q=1: p * q - 0.25,
    }
    exec(compile(source, f"<numbers {seed}>", "exec"), scope)
    return scope["function"], scope, source


@pytest.mark.parametrize("seed", range(120))
def test_random_programs(seed):
    function, scope, source = make(seed)
    f = tn.compile(function)
    draw = random.Random(seed)
    pool = [0.5, 0.5, 1.0, 2, 2, 0.3, -0.7, 3, 0, 0.0, 1]
    new = lambda: draw.choice([*pool, draw.random() * 3 - 1])  # noqa: E731
    a, b, n = 0.5, 0.5, 2
    for turn in range(24):
        if turn > 1:
            a, b, n = draw.choice([(a, b, n), (new(), new(), draw.randint(0, 4))])
            scope["RATE"] = draw.choice([scope["RATE"], new()])
            scope["config"].rate = draw.choice([scope["config"].rate, new()])
        x = tn.randn(3)
        try:
            same(outcome(f, x, Y, a, b, n), outcome(function, x, Y, a, b, n))
        except AssertionError as error:
            raise AssertionError(f"{source}{(a, b, n)}\n{f.explain()}") from error


def test_most_random_programs_skip_python():
    skipped = 0
    for seed in range(40):
        function, _, _ = make(seed)
        f = tn.compile(function)
        for i in range(8):
            outcome(f, X, Y, 1.1 + 0.01 * i, 1.6 + 0.01 * i, 3)
        skipped += skips(f) > 4
    assert skipped > 30

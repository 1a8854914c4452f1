"""What a fuzzed program may do: tables of functions over any module with PyTorch's vocabulary.

Every function of real numbers keeps values tame (bounded, away from poles, jumps and ties), so that
a difference is a fault and not an amplified rounding. Where one can't (ties kept, NaN, random
numbers, rounding to a half type), its name is in UNJUDGED: no other library need agree, but one
program still equals itself bit for bit, however it is run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")
HALVES = ("float16", "bfloat16")


def size(m: Any, x: Any) -> Any:
    """|x| with its kink where no exact value lies."""
    return (x + 0.0117).abs()


def spread(m: Any, x: Any, dim: int) -> Any:
    """x without equal elements along dim: a rounding must not decide which one is largest."""
    shape = [1] * x.ndim
    shape[dim] = x.shape[dim]
    return x + (m.arange(x.shape[dim], dtype=x.dtype) * 1.37).sin().reshape(shape) * 0.5


def is_judged(m: Any) -> bool:
    """Whether m is what is judged: the others' control flow is Python's."""
    return bool(m.__name__ == "tenon")


def recur(m: Any, x: Any, reverse: bool) -> Any:
    """A recurrence along the first dimension, in which all steps share a constant."""
    if x.ndim == 0 or x.shape[0] == 0:
        return x.sin()
    constant = x[0].cos()

    def step(c: Any, row: Any) -> tuple[Any, Any]:
        c = (c * 0.5 + row * constant).sin()
        return c, c.cumsum(0) * 0.1 if c.ndim else c * row.cos()

    carry = constant * 0.7
    if is_judged(m):
        carry, ys = m.scan(step, carry, x, reverse=reverse)
        return (ys + carry).sin()
    ys = [None] * x.shape[0]
    for t in reversed(range(len(ys))) if reverse else range(len(ys)):
        carry, ys[t] = step(carry, x[t])
    return (m.stack(ys) + carry).sin()


def choose(m: Any, x: Any) -> Any:
    """One of two functions, by an element."""
    if x.ndim == 0 or 0 in x.shape:
        return x.sin()
    holds = x.detach().reshape(-1)[0] > 0.0127
    if is_judged(m):
        return m.cond(holds, lambda x: x.sin(), lambda x: x.cos() * 0.5, (x,))
    return m.where(holds, x.sin(), x.cos() * 0.5)


def repeat(m: Any, x: Any) -> Any:
    """A loop that a counter ends; it has no derivative."""
    first = x.detach().sin()
    if is_judged(m):
        step = lambda i, y: (i + 1, (y * 1.1 + 0.2).sin())  # noqa: E731
        return m.while_loop(lambda i, y: i < 5, step, (m.tensor(0), first))[1] + x * 0.5
    for _ in range(5):
        first = (first * 1.1 + 0.2).sin()
    return first + x * 0.5


# name: (function, bound of the result; None: at most one and a half times the operand's, plus 2)
UNARY: dict[str, tuple[Function, float | None]] = {
    "neg": (lambda m, x: -x, None),
    "abs": (lambda m, x: size(m, x), None),
    "exp": (lambda m, x: (x.clamp(max=3) * 0.5).exp(), 5),
    "expm1": (lambda m, x: (x.clamp(max=3) * 0.5).expm1(), 5),
    "exp2": (lambda m, x: m.exp2(x.clamp(max=3) * 0.5), 3),
    "log": (lambda m, x: (size(m, x) + 0.5).log(), 5),
    "log1p": (lambda m, x: (size(m, x) + 0.1).log1p(), 5),
    "log2": (lambda m, x: (size(m, x) + 0.5).log2(), 7),
    "log10": (lambda m, x: (size(m, x) + 0.5).log10(), 3),
    "sin": (lambda m, x: x.sin(), 1),
    "cos": (lambda m, x: x.cos(), 1),
    "tan": (lambda m, x: (x.sin() * 0.5).tan(), 1),
    "asin": (lambda m, x: (x.sin() * 0.8).asin(), 1),
    "acos": (lambda m, x: (x.sin() * 0.8).acos(), 3),
    "atan": (lambda m, x: x.atan(), 2),
    "sinh": (lambda m, x: x.clamp(-2, 2).sinh(), 4),
    "cosh": (lambda m, x: x.clamp(-2, 2).cosh(), 4),
    "asinh": (lambda m, x: x.asinh(), 5),
    "acosh": (lambda m, x: (size(m, x) + 1.5).acosh(), 5),
    "atanh": (lambda m, x: (x.sin() * 0.8).atanh(), 2),
    "tanh": (lambda m, x: x.tanh(), 1),
    "sigmoid": (lambda m, x: x.sigmoid(), 1),
    "gelu": (lambda m, x: m.nn.functional.gelu(x), None),
    "silu": (lambda m, x: m.nn.functional.silu(x), None),
    "softplus": (lambda m, x: m.nn.functional.softplus(x), None),
    "sqrt": (lambda m, x: (size(m, x) + 0.1).sqrt(), 7),
    "rsqrt": (lambda m, x: (size(m, x) + 0.5).rsqrt(), 2),
    "reciprocal": (lambda m, x: (size(m, x) + 0.5).reciprocal(), 2),
    "square": (lambda m, x: x.clamp(-4, 4).square(), 16),
    "erf": (lambda m, x: x.erf(), 1),
    "erfc": (lambda m, x: x.clamp(-2, 2).erfc(), 2),
    "erfinv": (lambda m, x: (x.sin() * 0.8).erfinv(), 1),
    "lgamma": (lambda m, x: (size(m, x).clamp(max=5) + 0.5).lgamma(), 5),
    "digamma": (lambda m, x: (size(m, x).clamp(max=5) + 0.5).digamma(), 3),
    "relu": (lambda m, x: (x + 0.0113).relu(), None),
    "floor": (lambda m, x: (x * 0.37 + 0.13).floor() + x, None),
    "ceil": (lambda m, x: (x * 0.37 + 0.13).ceil() - x, None),
    "round": (lambda m, x: (x * 0.37 + 0.13).round() * 0.5, None),
    "trunc": (lambda m, x: (x * 0.37 + 0.13).trunc() + 1, None),
    "sign": (lambda m, x: (x + 0.0119).sign() + x * 0.5, None),
    "poison": (lambda m, x: m.where(x > 1.5, m.nan, m.where(x < -1.5, m.inf, x)), None),
    "isnan": (lambda m, x: m.where(x.isnan() | x.isinf(), x * 0.0 + 1, x), None),
    "pow2": (lambda m, x: x.clamp(-3, 3) ** 2, 9),
    "pow3": (lambda m, x: x.clamp(-3, 3) ** 3, 27),
    "clone": (lambda m, x: x.clone(), None),
    "detach": (lambda m, x: x.detach() * 1.5, None),
    "scale": (lambda m, x: x * 0.731 - 0.2, None),
    "squash": (lambda m, x: x / (size(m, x) * 0.125 + 1), 9),
    "half": (lambda m, x: x.to(m.float16).to(x.dtype), None),
    "brain": (lambda m, x: (x.to(m.bfloat16) * 0.7).to(x.dtype), None),
    "single": (lambda m, x: (x.to(m.float32) * 0.9).to(x.dtype), None),
    "double": (lambda m, x: (x.to(m.float64) * 0.9).to(x.dtype), None),
    "rand_like": (lambda m, x: x * 0.5 + m.rand_like(x), None),
    "randn_like": (lambda m, x: x * 0.5 + m.randn_like(x), 30),
    "bernoulli": (lambda m, x: x * m.rand_like(x).bernoulli(), None),
    "dropout": (lambda m, x: m.nn.functional.dropout(x, 0.3), None),
    "scan": (lambda m, x: recur(m, x, False), 1),
    "scan_back": (lambda m, x: recur(m, x, True), 1),
    "cond": (lambda m, x: choose(m, x), 1),
    "while_loop": (lambda m, x: repeat(m, x), None),
}
# A user's numbers, which a plan takes as arguments: of the tensor and a number in [0.25, 1.5].
SCALAR: dict[str, Function] = {
    "times": lambda m, x, by: x * by,
    "plus": lambda m, x, by: x + by,
    "minus": lambda m, x, by: by - x,
    "over": lambda m, x, by: x / (by + 0.5),
    "power": lambda m, x, by: (size(m, x.clamp(-3, 3)) + 0.5) ** by,
    "clamp": lambda m, x, by: x.clamp(-by, by),
    "above": lambda m, x, by: m.where(x > by + 0.0127, x, by),
}
# name: (function, bound from those of the operands)
BINARY: dict[str, tuple[Function, Callable[[float, float], float]]] = {
    "add": (lambda m, x, y: x + y, lambda a, b: a + b),
    "sub": (lambda m, x, y: x - y, lambda a, b: a + b),
    "mul": (lambda m, x, y: x * y.clamp(-3, 3), lambda a, b: 3 * a),
    "div": (lambda m, x, y: x / (size(m, y) + 0.5), lambda a, b: 2 * a),
    "maximum": (lambda m, x, y: m.maximum(x, y + 0.0131), max),
    "minimum": (lambda m, x, y: m.minimum(x, y - 0.0131), max),
    "atan2": (lambda m, x, y: m.atan2(x, size(m, y) + 0.5), lambda a, b: 3),
    "pow": (lambda m, x, y: (size(m, x) + 0.5) ** y.clamp(-2, 2), lambda a, b: (a + 0.5) ** 2 + 4),
    "fmod": (lambda m, x, y: m.fmod(x, size(m, y.detach()) + 1.5137), max),
    "remainder": (lambda m, x, y: m.remainder(x, size(m, y.detach()) + 1.5137), max),
    "floor_divide": (
        lambda m, x, y: m.floor_divide(x.detach() + 0.0173, size(m, y.detach()) + 1),
        max,
    ),
    "copysign": (lambda m, x, y: m.copysign(size(m, x), y + 0.0119), max),
    "nextafter": (  # not defined for half types
        lambda m, x, y: m.nextafter(x.detach().to(m.float32), y.detach().to(m.float32)).to(x.dtype),
        max,
    ),
    "where_lt": (lambda m, x, y: m.where(x < y + 0.0127, x * 0.5, y), max),
    "where_le": (lambda m, x, y: m.where(x <= y + 0.0127, x * 0.5, y), max),
    "where_gt": (lambda m, x, y: m.where(x > y + 0.0127, x, y * 0.5), max),
    "where_ge": (lambda m, x, y: m.where(x >= y + 0.0127, x, y * 0.5), max),
    "where_eq": (lambda m, x, y: m.where((x == y + 0.0127) | (x != x), x + 1, y), max),
    "where_ne": (lambda m, x, y: m.where(x != y + 0.0127, x, y + 1), max),
    "hypot": (lambda m, x, y: m.hypot(x, size(m, y) + 0.1), lambda a, b: a + b),
    "logaddexp": (lambda m, x, y: m.logaddexp(x, y + 0.0127), lambda a, b: max(a, b) + 1),
    "lerp": (lambda m, x, y: m.lerp(x, y, 0.3), max),
    "tie_max": (lambda m, x, y: m.maximum(x, y), max),
    "tie_min": (lambda m, x, y: m.minimum(x, y), max),
    "tie_where": (lambda m, x, y: m.where(~(x > y) & (x <= 2), x, y), max),
}
# name: (function, bound from the operand's and the count of elements reduced)
REDUCE: dict[str, tuple[Function, Callable[[float, int], float]]] = {
    "sum": (lambda m, x, dim, keep: x.sum(dim, keepdim=keep) * 0.5, lambda a, n: a * n * 0.5),
    "mean": (lambda m, x, dim, keep: x.mean(dim, keepdim=keep), lambda a, n: a),
    "amax": (lambda m, x, dim, keep: spread(m, x, dim[0]).amax(dim[0], keepdim=keep), max),
    "amin": (lambda m, x, dim, keep: spread(m, x, dim[0]).amin(dim[0], keepdim=keep), max),
    "tie_amax": (lambda m, x, dim, keep: x.amax(dim, keepdim=keep), max),
    "tie_amin": (lambda m, x, dim, keep: x.amin(dim, keepdim=keep), max),
    "max": (lambda m, x, dim, keep: spread(m, x, dim[0]).max(dim[0], keepdim=keep)[0], max),
    "var": (
        lambda m, x, dim, keep: x.clamp(-4, 4).var(dim, correction=0, keepdim=keep),
        lambda a, n: 16,
    ),
    "logsumexp": (lambda m, x, dim, keep: x.logsumexp(dim, keepdim=keep), lambda a, n: a + 12),
    "prod": (
        lambda m, x, dim, keep: (x.sin() / x.shape[dim[0]] + 1).prod(dim[0], keepdim=keep),
        lambda a, n: 3,
    ),
    "argmax": (
        lambda m, x, dim, keep: spread(m, x, dim[0]).argmax(dim[0], keepdim=keep).to(x.dtype) * 0.1,
        lambda a, n: n * 0.1,
    ),
    "argmin": (
        lambda m, x, dim, keep: spread(m, x, dim[0]).argmin(dim[0], keepdim=keep).to(x.dtype) * 0.1,
        lambda a, n: n * 0.1,
    ),
    "tie_argmax": (
        lambda m, x, dim, keep: x.argmax(dim[0], keepdim=keep).to(x.dtype) * 0.1,
        lambda a, n: n * 0.1,
    ),
    "any": (
        lambda m, x, dim, keep: (x > 1.0137).any(dim[0], keepdim=keep).to(x.dtype),
        lambda a, n: 1,
    ),
    "all": (
        lambda m, x, dim, keep: (x > -1.0137).all(dim[0], keepdim=keep).to(x.dtype),
        lambda a, n: 1,
    ),
}
# name: (function of the tensor and one of its dims, same shape; bound)
ALONG: dict[str, tuple[Function, Callable[[float, int], float]]] = {
    "softmax": (lambda m, x, dim: x.softmax(dim), lambda a, n: 1),
    "log_softmax": (lambda m, x, dim: x.log_softmax(dim), lambda a, n: 2 * a + 6),
    "cumsum": (lambda m, x, dim: x.cumsum(dim) * 0.3, lambda a, n: a * n * 0.3),
    "cumprod": (lambda m, x, dim: (x.sin() / x.shape[dim] + 1).cumprod(dim), lambda a, n: 3),
    "cummax": (lambda m, x, dim: spread(m, x, dim).cummax(dim)[0], lambda a, n: a + 1),
    "cummin": (lambda m, x, dim: spread(m, x, dim).cummin(dim)[0], lambda a, n: a + 1),
    "sort": (
        lambda m, x, dim: m.sort(spread(m, x, dim), dim=dim, stable=True)[0],
        lambda a, n: a + 1,
    ),
    "sort_down": (
        lambda m, x, dim: m.sort(spread(m, x, dim), dim=dim, descending=True)[0],
        lambda a, n: a + 1,
    ),
    "argsort": (
        lambda m, x, dim: m.argsort(spread(m, x, dim), dim=dim, stable=True).to(x.dtype) * 0.1,
        lambda a, n: 0.1 * n,
    ),
    "tie_sort": (lambda m, x, dim: m.sort(x, dim=dim, stable=True)[0], max),
    "flip": (lambda m, x, dim: x.flip(dim), max),
    "roll": (lambda m, x, dim: m.roll(x, 1, dim), max),
    "normalize": (
        lambda m, x, dim: (
            (x - x.mean(dim, keepdim=True)) / (x.var(dim, correction=0, keepdim=True) + 0.1).sqrt()
        ),
        lambda a, n: n**0.5,
    ),
}
INTEGER_UNARY: dict[str, Function] = {
    "neg": lambda m, x: -x,
    "abs": lambda m, x: x.abs(),
    "sign": lambda m, x: x.sign() + x,
    "not": lambda m, x: ~x,
    "square": lambda m, x: x * x,
    "shift": lambda m, x: (x << 2) >> 1,
    "odd": lambda m, x: x % 3,
}
INTEGER_BINARY: dict[str, Function] = {
    "add": lambda m, x, y: x + y,
    "sub": lambda m, x, y: x - y,
    "mul": lambda m, x, y: x * y,
    "floor_divide": lambda m, x, y: m.floor_divide(x, y % 5 + 1),
    "remainder": lambda m, x, y: x % (y % 5 + 1),
    "fmod": lambda m, x, y: m.fmod(x, y % 5 + 1),
    "and": lambda m, x, y: x & y,
    "or": lambda m, x, y: x | y,
    "xor": lambda m, x, y: x ^ y,
    "shift_left": lambda m, x, y: x << (y % 5),
    "shift_right": lambda m, x, y: x >> (y % 5),
    "maximum": lambda m, x, y: m.maximum(x, y),
    "minimum": lambda m, x, y: m.minimum(x, y),
    "where": lambda m, x, y: m.where(x > y, x, y - 1),
}
INTEGER_ALONG: dict[str, Function] = {
    "cummax": lambda m, x, dim: x.cummax(dim)[0],
    "cummin": lambda m, x, dim: x.cummin(dim)[0],
    "cumsum": lambda m, x, dim: x.cumsum(dim).to(x.dtype),
    "cumprod": lambda m, x, dim: x.cumprod(dim).to(x.dtype),
    "sort": lambda m, x, dim: m.sort(x, dim=dim, stable=True)[0],
    "argsort": lambda m, x, dim: m.argsort(x, dim=dim, stable=True).to(x.dtype),
    "sum": lambda m, x, dim: x - x.sum(dim, keepdim=True).to(x.dtype),
    "prod": lambda m, x, dim: x + x.prod(dim, keepdim=True).to(x.dtype),
    "amax": lambda m, x, dim: x - x.amax(dim, keepdim=True),
    "amin": lambda m, x, dim: x - x.amin(dim, keepdim=True),
    "argmin": lambda m, x, dim: x + x.argmin(dim, keepdim=True).to(x.dtype),
}
COMPARE: dict[str, Function] = {
    "eq": lambda m, x, y: x == y,
    "ne": lambda m, x, y: x != y,
    "lt": lambda m, x, y: x < y,
    "le": lambda m, x, y: x <= y,
    "gt": lambda m, x, y: x > y,
    "ge": lambda m, x, y: x >= y,
}
BOOL_UNARY: dict[str, Function] = {
    "not": lambda m, x: ~x,
    "logical_not": lambda m, x: m.logical_not(x),
}
BOOL_BINARY: dict[str, Function] = {
    "and": lambda m, x, y: x & y,
    "or": lambda m, x, y: x | y,
    "xor": lambda m, x, y: x ^ y,
    "eq": lambda m, x, y: x == y,
    "where": lambda m, x, y: m.where(x, ~y, x),
}
BOOL_ALONG: dict[str, Function] = {
    "any": lambda m, x, dim: x ^ x.any(dim, keepdim=True),
    "all": lambda m, x, dim: x ^ x.all(dim, keepdim=True),
    "flip": lambda m, x, dim: x.flip(dim),
    "cumsum": lambda m, x, dim: x.cumsum(dim) > 2,
}
# In place, of the target and a source that broadcasts to it, by kind of dtype.
WRITES: dict[str, dict[str, Function]] = {
    "float": {
        "add_": lambda m, x, y: x.add_(y.clamp(-3, 3)),
        "mul_": lambda m, x, y: x.mul_(y.clamp(-1.5, 1.5)),
        "copy_": lambda m, x, y: x.copy_(y * 0.5),
        "sub_": lambda m, x, y: x.sub_(y.clamp(-3, 3) * 0.25),
        "fill_": lambda m, x, y: x.fill_(0.25),
        "mask": lambda m, x, y: x.masked_fill_(x > 0.5137, 0.25),
    },
    "integer": {
        "add_": lambda m, x, y: x.add_(y),
        "mul_": lambda m, x, y: x.mul_(y),
        "copy_": lambda m, x, y: x.copy_(y),
        "sub_": lambda m, x, y: x.sub_(y),
        "fill_": lambda m, x, y: x.fill_(3),
    },
    "bool": {
        "copy_": lambda m, x, y: x.copy_(y),
        "logical_not_": lambda m, x, y: x.logical_not_(),
        "and_": lambda m, x, y: x.bitwise_and_(y),
    },
}
CREATE: dict[str, Function] = {
    "arange": lambda m, like, n: m.arange(n, dtype=like.dtype) * 0.25 - 1,
    "linspace": lambda m, like, n: m.linspace(-1.0, 1.5, n, dtype=like.dtype),
    "full": lambda m, like, n: m.full((n,), 0.375, dtype=like.dtype),
    "eye": lambda m, like, n: m.eye(n, dtype=like.dtype),
    "rand": lambda m, like, n: m.rand(n, dtype=like.dtype),
    "randn": lambda m, like, n: m.randn(n, dtype=like.dtype),
    "randint": lambda m, like, n: m.randint(-3, 9, (n,)).to(like.dtype) * 0.5,
    "randperm": lambda m, like, n: m.randperm(n).to(like.dtype) * 0.125,
    "normal_": lambda m, like, n: m.zeros(n, dtype=like.dtype).normal_(),
    "uniform_": lambda m, like, n: m.zeros(n, dtype=like.dtype).uniform_(),
}
UNIFORM = {"rand", "rand_like"}  # the judge draws the same, if not example by example
RANDOM = UNIFORM | {"randn_like", "bernoulli", "dropout", "randn", "randint", "randperm"}
RANDOM |= {"normal_", "uniform_"}
UNJUDGED = (RANDOM - UNIFORM) | {"poison", "half", "brain", "single", "nextafter"}
UNJUDGED |= {name for table in (BINARY, REDUCE, ALONG) for name in table if name[:4] == "tie_"}

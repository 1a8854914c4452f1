"""Random programs over the public API, as data: drawn from a seed, printable, replayable.

A program is a list of instructions over numbered tensors. It is run by `run` in any module with
PyTorch's vocabulary (tenon itself, or torch as the judge), with flushes at given places.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]


@dataclass
class Instruction:
    name: str
    operands: list[int]
    options: dict[str, Any] = field(default_factory=dict)
    flush: bool = False  # cut the trace behind this instruction

    def __str__(self) -> str:
        options = "".join(f", {k}={v}" for k, v in self.options.items())
        return f"{self.name}({', '.join(f't{i}' for i in self.operands)}{options})" + (
            "  # cut" if self.flush else ""
        )


@dataclass
class Program:
    seed: int
    shapes: list[Shape]  # of the inputs
    leaves: list[bool]  # which inputs require grad
    body: list[Instruction]
    transform: str  # "none", "backward", "grad", "jvp", "vmap", "grad_of_vmap", "hessian"

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, transform {self.transform}"]
        lines += [
            f"t{i} = input{shape}{' requires grad' if leaf else ''}"
            for i, (shape, leaf) in enumerate(zip(self.shapes, self.leaves))
        ]
        lines += [f"t{len(self.shapes) + i} = {ins}" for i, ins in enumerate(self.body)]
        return "\n".join(lines)


# Every function keeps values tame (bounded, away from poles), so that a difference is a fault and
# not an amplified rounding.
UNARY: dict[str, Callable[[Any, Any], Any]] = {
    "neg": lambda m, x: -x,
    "abs": lambda m, x: x.abs(),
    "exp": lambda m, x: (x.clamp(max=3) * 0.5).exp(),
    "expm1": lambda m, x: (x.clamp(max=3) * 0.5).expm1(),
    "exp2": lambda m, x: m.exp2(x.clamp(max=3) * 0.5),
    "log": lambda m, x: (x.abs() + 0.5).log(),
    "log1p": lambda m, x: (x.abs() + 0.1).log1p(),
    "log2": lambda m, x: (x.abs() + 0.5).log2(),
    "log10": lambda m, x: (x.abs() + 0.5).log10(),
    "sin": lambda m, x: x.sin(),
    "cos": lambda m, x: x.cos(),
    "tan": lambda m, x: (x.sin() * 0.5).tan(),
    "asin": lambda m, x: (x.sin() * 0.8).asin(),
    "acos": lambda m, x: (x.sin() * 0.8).acos(),
    "atan": lambda m, x: x.atan(),
    "sinh": lambda m, x: x.clamp(-2, 2).sinh(),
    "cosh": lambda m, x: x.clamp(-2, 2).cosh(),
    "asinh": lambda m, x: x.asinh(),
    "acosh": lambda m, x: (x.abs() + 1.5).acosh(),
    "atanh": lambda m, x: (x.sin() * 0.8).atanh(),
    "tanh": lambda m, x: x.tanh(),
    "sigmoid": lambda m, x: x.sigmoid(),
    "sqrt": lambda m, x: (x.abs() + 0.1).sqrt(),
    "rsqrt": lambda m, x: (x.abs() + 0.5).rsqrt(),
    "reciprocal": lambda m, x: (x.abs() + 0.5).reciprocal(),
    "square": lambda m, x: x.clamp(-4, 4).square(),
    "erf": lambda m, x: x.erf(),
    "relu": lambda m, x: x.relu(),
    "floor": lambda m, x: (x * 0.37 + 0.13).floor() + x,
    "ceil": lambda m, x: (x * 0.37 + 0.13).ceil() - x,
    "round": lambda m, x: (x * 0.37 + 0.13).round() * 0.5,
    "trunc": lambda m, x: (x * 0.37 + 0.13).trunc() + 1,
    "sign": lambda m, x: x.sign() + x,
    "isnan": lambda m, x: x.isnan().to(x.dtype) + x,
    "pow2": lambda m, x: x.clamp(-3, 3) ** 2,
    "pow3": lambda m, x: x.clamp(-3, 3) ** 3,
    "clone": lambda m, x: x.clone(),
    "detach": lambda m, x: x.detach() * 2,
    "scale": lambda m, x: x * 0.731 - 0.2,
}
BINARY: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda m, x, y: x + y,
    "sub": lambda m, x, y: x - y,
    "mul": lambda m, x, y: x * y.clamp(-3, 3),
    "div": lambda m, x, y: x / (y.abs() + 0.5),
    "maximum": lambda m, x, y: m.maximum(x, y + 0.01),
    "minimum": lambda m, x, y: m.minimum(x, y - 0.01),
    "atan2": lambda m, x, y: m.atan2(x, y.abs() + 0.5),
    "pow": lambda m, x, y: (x.abs() + 0.5) ** y.clamp(-2, 2),
    "fmod": lambda m, x, y: m.fmod(x, y.detach().abs() + 1.5),
    "remainder": lambda m, x, y: m.remainder(x, y.detach().abs() + 1.5),
    "copysign": lambda m, x, y: m.copysign(x, y + 0.001),
    "where_lt": lambda m, x, y: m.where(x < y, x * 0.5, y),
    "where_ge": lambda m, x, y: m.where(x >= y, x, y * 0.5),
    "where_eq": lambda m, x, y: m.where((x == y) | (x != x), x + 1, y),
    "where_not": lambda m, x, y: m.where(~(x > y) & (x <= 2), x, y),
}
REDUCE: dict[str, Callable[..., Any]] = {
    "sum": lambda m, x, dim, keepdim: x.sum(dim, keepdim=keepdim) * 0.5,
    "mean": lambda m, x, dim, keepdim: x.mean(dim, keepdim=keepdim),
    "amax": lambda m, x, dim, keepdim: x.amax(dim, keepdim=keepdim),
    "amin": lambda m, x, dim, keepdim: x.amin(dim, keepdim=keepdim),
    "var": lambda m, x, dim, keepdim: x.clamp(-4, 4).var(dim, correction=0, keepdim=keepdim),
    "logsumexp": lambda m, x, dim, keepdim: x.logsumexp(dim, keepdim=keepdim),
    "prod": lambda m, x, dim, keepdim: (x.sin() * 0.5 + 1).prod(dim[0], keepdim=keepdim),
    "argmax": lambda m, x, dim, keepdim: x.argmax(dim[0], keepdim=keepdim).to(x.dtype) * 0.1,
    "argmin": lambda m, x, dim, keepdim: x.argmin(dim[0], keepdim=keepdim).to(x.dtype) * 0.1,
    "any": lambda m, x, dim, keepdim: (x > 1).any(dim[0], keepdim=keepdim).to(x.dtype),
    "all": lambda m, x, dim, keepdim: (x > -1).all(dim[0], keepdim=keepdim).to(x.dtype),
}
ALONG: dict[str, Callable[..., Any]] = {  # same shape, along one dim
    "softmax": lambda m, x, dim: x.softmax(dim),
    "log_softmax": lambda m, x, dim: x.log_softmax(dim),
    "cumsum": lambda m, x, dim: x.cumsum(dim) * 0.3,
    "cumprod": lambda m, x, dim: (x.sin() * 0.3 + 1).cumprod(dim),
    "cummax": lambda m, x, dim: x.cummax(dim)[0],
    "cummin": lambda m, x, dim: x.cummin(dim)[0],
    "sort": lambda m, x, dim: m.sort(x, dim=dim, stable=True)[0],
    "argsort": lambda m, x, dim: m.argsort(x, dim=dim, stable=True).to(x.dtype) * 0.1,
    "flip": lambda m, x, dim: x.flip(dim),
    "roll": lambda m, x, dim: m.roll(x, 1, dim),
    "normalize": lambda m, x, dim: (
        (x - x.mean(dim, keepdim=True)) / (x.var(dim, correction=0, keepdim=True) + 0.1).sqrt()
    ),
}
WRITES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add_": lambda m, x, y: x.add_(y),
    "mul_": lambda m, x, y: x.mul_(y.clamp(-2, 2)),
    "copy_": lambda m, x, y: x.copy_(y * 0.5),
    "sub_": lambda m, x, y: x.sub_(y * 0.25),
    "fill_": lambda m, x, y: x.fill_(0.25),
}


def broadcast(a: Shape, b: Shape) -> Shape | None:
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    if any(x != y and x != 1 and y != 1 for x, y in zip(a, b)):
        return None
    return tuple(y if x == 1 else x for x, y in zip(a, b))


class Drawer:
    """Draws programs; `counts` says how often each kind of instruction was drawn."""

    def __init__(self, seed: int, counts: dict[str, int] | None = None):
        self.seed = seed
        self.random = random.Random(seed)
        self.counts = counts if counts is not None else {}

    def program(self) -> Program:
        r = self.random
        extents = r.choice([[1, 2, 3], [2, 3, 4], [3, 5, 7], [17, 4, 1], [70, 3, 2], [0, 2, 3]])
        shapes = [
            tuple(r.choice(extents) for _ in range(r.choice([0, 1, 2, 2, 3])))
            for _ in range(r.randint(2, 4))
        ]
        transform = r.choice(
            ["none", "none", "backward", "backward", "backward", "grad", "jvp", "vmap"]
        )
        functional = transform in ("grad", "jvp", "vmap")
        leaves = [transform == "backward" and r.random() < 0.8 for _ in shapes]
        program = Program(self.seed, list(shapes), leaves, [], transform)
        known: list[Shape] = list(shapes)
        writable = [False] * len(shapes)
        for _ in range(r.randint(3, 25)):
            drawn = self.instruction(known, writable, functional)
            if drawn is None:
                continue
            instruction, shape, may_write = drawn
            instruction.flush = not functional and r.random() < 0.12
            self.counts[instruction.name] = self.counts.get(instruction.name, 0) + 1
            program.body.append(instruction)
            known.append(shape)
            writable.append(may_write)
        return program

    def instruction(self, known: list[Shape], writable: list[bool], functional: bool):
        r = self.random
        kind = r.choice(
            ["unary"] * 5
            + ["binary"] * 4
            + ["reduce"] * 3
            + ["along"] * 2
            + ["move"] * 4
            + ["index"] * 2
            + ["matmul"] * 2
            + ["write"] * 3
            + ["join"]
        )
        i = r.randrange(len(known))
        if r.random() < 0.6:
            i = len(known) - 1 - min(len(known) - 1, int(r.expovariate(0.7)))
        shape = known[i]
        if kind == "unary":
            return Instruction("unary." + r.choice(list(UNARY)), [i]), shape, True
        if kind == "binary":
            j = r.randrange(len(known))
            joined = broadcast(shape, known[j])
            if joined is None:
                return None
            return Instruction("binary." + r.choice(list(BINARY)), [i, j]), joined, True
        if not shape:
            return None
        dim = r.randrange(len(shape))
        if kind == "reduce":
            name = r.choice(list(REDUCE))
            dims = sorted(r.sample(range(len(shape)), r.randint(1, len(shape))))
            if name in ("prod", "argmax", "argmin", "any", "all"):
                dims = dims[:1]
            if 0 in shape:
                return None
            keepdim = r.random() < 0.5
            result = tuple(
                1 if d in dims else n for d, n in enumerate(shape) if keepdim or d not in dims
            )
            return (
                Instruction("reduce." + name, [i], {"dim": dims, "keepdim": keepdim}),
                result,
                True,
            )
        if kind == "along":
            if 0 in shape:
                return None
            return Instruction("along." + r.choice(list(ALONG)), [i], {"dim": dim}), shape, True
        if kind == "move":
            return self.movement(i, shape, dim, writable[i])
        if kind == "index":
            return self.indexing(i, shape, dim)
        if kind == "matmul":
            return self.matmul(i, shape, known)
        if kind == "join":
            j = r.choice([k for k in range(len(known)) if known[k] == shape])
            name = r.choice(["cat", "stack"])
            if name == "cat":
                result = shape[:dim] + (2 * shape[dim],) + shape[dim + 1 :]
            else:
                result = shape[:dim] + (2,) + shape[dim:]
            return Instruction("join." + name, [i, j], {"dim": dim}), result, True
        targets = [k for k in range(len(known)) if writable[k]]
        if not targets or functional:
            return None
        target = r.choice(targets)
        fits = [k for k in range(len(known)) if broadcast(known[k], known[target]) == known[target]]
        source = r.choice(fits)
        name = r.choice(list(WRITES))
        if known[target] and r.random() < 0.5 and known[target][0] > 1:
            n = known[target][0]
            start = r.randrange(n)
            return (
                Instruction("write_slice." + name, [target], {"start": start}),
                (n - start,) + known[target][1:],
                False,
            )
        return Instruction("write." + name, [target, source]), known[target], False

    def movement(self, i: int, shape: Shape, dim: int, may_write: bool):
        r = self.random
        name = r.choice(["slice", "permute", "reshape", "expand", "pad", "select", "narrow_step"])
        n = shape[dim]
        if name == "slice" and n > 0:
            start = r.randrange(n)
            stop = r.randint(start, n)
            result = shape[:dim] + (stop - start,) + shape[dim + 1 :]
            return (
                Instruction("move.slice", [i], {"dim": dim, "start": start, "stop": stop}),
                result,
                may_write,
            )
        if name == "narrow_step" and n > 1:
            result = shape[:dim] + ((n + 1) // 2,) + shape[dim + 1 :]
            return Instruction("move.step", [i], {"dim": dim}), result, may_write
        if name == "select" and n > 0:
            return (
                Instruction("move.select", [i], {"dim": dim, "at": r.randrange(-n, n)}),
                shape[:dim] + shape[dim + 1 :],
                may_write,
            )
        if name == "permute":
            perm = list(range(len(shape)))
            r.shuffle(perm)
            return (
                Instruction("move.permute", [i], {"perm": perm}),
                tuple(shape[p] for p in perm),
                may_write,
            )
        if name == "reshape":
            total = 1
            for extent in shape:
                total *= extent
            if total == 0:
                return None
            divisors = [d for d in range(1, total + 1) if total % d == 0]
            first = r.choice(divisors)
            result = r.choice([(total,), (first, total // first), (1, total), (total, 1)])
            return Instruction("move.reshape", [i], {"shape": result}), result, False
        if name == "expand":
            count = r.choice([1, 2, 3])
            return Instruction("move.expand", [i], {"count": count}), (count,) + shape, False
        if name == "pad":
            low, high = r.randint(0, 2), r.randint(0, 2)
            result = shape[:-1] + (shape[-1] + low + high,)
            return Instruction("move.pad", [i], {"low": low, "high": high}), result, True
        return None

    def indexing(self, i: int, shape: Shape, dim: int):
        r = self.random
        n = shape[dim]
        if n == 0:
            return None
        name = r.choice(["index_select", "take_along", "index_add", "advanced", "scatter", "mask"])
        index = [r.randrange(n) for _ in range(r.randint(1, 5))]
        options: dict[str, Any] = {"dim": dim, "index": index}
        if name in ("index_select", "advanced"):
            return (
                Instruction("index." + name, [i], options),
                shape[:dim] + (len(index),) + shape[dim + 1 :],
                True,
            )
        if name == "scatter":
            options["index"] = index = r.sample(range(n), min(n, len(index)))
        return Instruction("index." + name, [i], options), shape, True

    def matmul(self, i: int, shape: Shape, known: list[Shape]):
        if len(shape) < 2:
            return None
        fits = [k for k, other in enumerate(known) if len(other) == 2 and other[0] == shape[-1]]
        if not fits:
            return Instruction("matmul.self", [i]), shape[:-1] + (shape[-2],), True
        j = self.random.choice(fits)
        return Instruction("matmul.pair", [i, j]), shape[:-1] + (known[j][1],), True


def apply(m: Any, ins: Instruction, operands: list[Any]) -> Any:
    kind, _, name = ins.name.partition(".")
    x = operands[0]
    o = ins.options
    if kind == "unary":
        return UNARY[name](m, x)
    if kind == "binary":
        return BINARY[name](m, x, operands[1])
    if kind == "reduce":
        return REDUCE[name](m, x, o["dim"], o["keepdim"])
    if kind == "along":
        return ALONG[name](m, x, o["dim"])
    if kind == "join":
        return getattr(m, name)([x, operands[1]], o["dim"])
    if kind == "matmul":
        y = x.transpose(-1, -2) if name == "self" else operands[1]
        return (x * 0.3) @ y
    if kind == "write":
        WRITES[name](m, x, operands[1])
        return x
    if kind == "write_slice":
        part = x[o["start"] :]
        WRITES[name](m, part, part.detach() * 0.5 + 0.1)
        return part
    if kind == "index":
        return apply_index(m, name, x, o)
    dim = o.get("dim", 0)
    if name == "slice":
        return x.narrow(dim, o["start"], o["stop"] - o["start"])
    if name == "step":
        return x[(slice(None),) * dim + (slice(None, None, 2),)]
    if name == "select":
        return x.select(dim, o["at"])
    if name == "permute":
        return x.permute(o["perm"])
    if name == "reshape":
        return x.reshape(o["shape"])
    if name == "expand":
        return x.expand(o["count"], *x.shape)
    assert name == "pad"
    return m.nn.functional.pad(x, (o["low"], o["high"]), value=0.5)


def apply_index(m: Any, name: str, x: Any, o: dict[str, Any]) -> Any:
    dim, index = o["dim"], m.tensor(o["index"], dtype=m.int64)
    if name == "index_select":
        return x.index_select(dim, index)
    if name == "advanced":
        return x[(slice(None),) * dim + (index,)]
    if name == "take_along":
        shape = [1] * x.ndim
        shape[dim] = len(o["index"])
        wide = [x.shape[d] if d != dim else len(o["index"]) for d in range(x.ndim)]
        picked = m.take_along_dim(x, index.reshape(shape).expand(wide), dim)
        return picked.sum(dim, keepdim=True) * 0.2 + x
    part = x.index_select(dim, index) * 0.5
    if name == "index_add":
        return x.index_add(dim, index, part)
    if name == "scatter":
        shape = [1] * x.ndim
        shape[dim] = len(o["index"])
        return x.scatter(dim, index.reshape(shape).expand(part.shape), part)
    assert name == "mask"
    return x.masked_fill(x > 0.5, 0.25)

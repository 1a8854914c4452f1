"""Draws programs from a seed: every kind of instruction on every kind of tensor it takes.

The drawer knows each tensor's shape, kind of dtype and a bound of its elements. A real value that
may have grown large is squashed and not used again: programs are well conditioned as drawn.
"""

from __future__ import annotations

import random
from math import prod
from typing import Any

from tests.fuzz import instructions as table
from tests.fuzz import layers, operations
from tests.fuzz.programs import Instruction, Program, Shape
from tests.fuzz.transforms import BATCHED, EAGER, HIGHER, TRANSFORMS
from tests.fuzz.values import Storage, Value, broadcast, fresh

LONG = 50_000  # more elements are not made of fewer

Drawn = tuple[Instruction, Value]


class Drawer:
    """Draws one program; `counts` says how often each kind of instruction was drawn. With
    `by_spec`, of operations of the spec mostly."""

    def __init__(self, seed: int, counts: dict[str, int] | None = None, by_spec: bool = False):
        self.seed = seed
        self.random = random.Random(seed)
        self.counts = counts if counts is not None else {}
        self.known: list[Value] = []
        self.transform = "none"
        self.by_spec = by_spec

    def program(self) -> Program:
        r = self.random
        transforms = list(EAGER if self.by_spec else TRANSFORMS)
        self.transform = r.choice(["none", "backward"] * 5 + transforms)
        higher = self.transform in HIGHER
        extents = r.choice(
            [[1, 2, 3], [2, 3, 4], [3, 5, 7], [17, 4, 1], [70, 3, 2], [0, 2, 3]] * 3 + [[190, 181]]
        )
        if higher:
            extents = r.choice([[1, 2, 3], [2, 3, 4], [5, 1, 2]])
        shapes = [
            tuple(r.choice(extents) for _ in range(min(r.choice([0, 1, 2, 2, 3, 3]), len(extents))))
            for _ in range(r.randint(2, 4))
        ]
        leaves = [self.transform in EAGER[1:] and r.random() < 0.8 for _ in shapes]
        dtype = r.choice(["float32"] * 8 + ["float64", *table.HALVES])
        program = Program(self.seed, list(shapes), leaves, [], self.transform, dtype)
        self.known = [Value(s, "float", Storage(5.0, False)) for s in shapes]
        # Operations on their own samples stand in programs of their own: no judge compares those.
        self.by_spec = self.transform in EAGER and (self.by_spec or r.random() < 0.25)
        program.judged = not self.by_spec
        for _ in range(r.randint(3, 12 if higher else 25)):
            for instruction, value in self.instructions():
                if self.transform not in BATCHED and r.random() < 0.12:
                    choices = ["eval", "read", "expose"] if self.transform in EAGER else ["eval"]
                    instruction.cut = r.choice(choices)
                name = instruction.name
                self.counts[name] = self.counts.get(name, 0) + 1
                own = name.partition(".")[2]
                batched = self.transform in BATCHED and own in table.UNIFORM
                program.judged &= own not in table.UNJUDGED and not batched
                program.body.append(instruction)
                self.known.append(value)
        real = [i for i, v in enumerate(self.known) if v.dtype == "float" and v.usable]
        program.results = real[-6:]
        program.turns = r.choice([1, 1, 2, 3])
        return program

    def instructions(self) -> list[Drawn]:
        """One, and what squashes its result; none where the draw fits no operand."""
        drawn = self.instruction()
        if drawn is None or prod(drawn[1].shape) > max(LONG, *(prod(v.shape) for v in self.known)):
            return []
        value = drawn[1]
        if value.usable:
            return [drawn]
        squash = Instruction("unary.squash", [len(self.known)])
        return [drawn, (squash, fresh(value.shape, bound=9, varies=value.varies))]

    # ---- choice of operands -----------------------------------------------------------------

    def pick(self, *kinds: str) -> int | None:
        """A tensor of these kinds, often a late one."""
        fits = [i for i, v in enumerate(self.known) if v.kind in kinds and v.usable]
        if not fits:
            return None
        if self.random.random() < 0.6:
            return fits[-1 - min(len(fits) - 1, int(self.random.expovariate(0.7)))]
        return self.random.choice(fits)

    def partner(self, i: int, *, into: bool = False) -> int:
        """A tensor of the same dtype that broadcasts with tensor i (into it)."""
        x = self.known[i]
        fits = []
        for k, v in enumerate(self.known):
            joined = broadcast(x.shape, v.shape) if v.dtype == x.dtype and v.usable else None
            if joined is not None and (joined == x.shape or (not into and prod(joined) <= LONG)):
                fits.append(k)
        return self.random.choice(fits)

    def instruction(self) -> Drawn | None:
        r = self.random
        if self.by_spec and r.random() < 0.5:
            return operations.draw(self)
        draw = r.choice(
            [self.unary] * 5
            + [self.scalar] * 2
            + [self.binary] * 5
            + [self.reduce] * 3
            + [self.along] * 3
            + [self.move] * 4
            + [self.index] * 3
            + [self.cast] * 3
            + [self.write] * 3
            + [self.integer] * 4
            + [self.boolean] * 2
            + [self.matmul, self.matmul, self.join, self.create, self.choose]
            + [self.layer] * 3
        )
        return draw()

    # ---- real numbers -------------------------------------------------------------------------

    def unary(self) -> Drawn | None:
        i = self.pick("float")
        if i is None:
            return None
        x = self.known[i]
        names = [n for n in table.UNARY if self.allows(n)]
        name = self.random.choice(names)
        bound = table.UNARY[name][1]
        bound = x.storage.bound * 1.5 + 2 if bound is None else bound
        return Instruction("unary." + name, [i]), fresh(x.shape, bound=bound, varies=x.varies)

    def scalar(self) -> Drawn | None:
        i = self.pick("float")
        if i is None:
            return None
        x = self.known[i]
        name = self.random.choice(list(table.SCALAR))
        by = self.random.randrange(2, 13) / 8
        bound = 7.0 if name == "power" else x.storage.bound * 1.5 + 2
        return Instruction("scalar." + name, [i], {"by": by}), fresh(
            x.shape, bound=bound, varies=x.varies
        )

    def allows(self, name: str) -> bool:
        return name not in table.RANDOM or self.transform not in ("jacfwd", "hessian")

    def binary(self) -> Drawn | None:
        i = self.pick("float")
        if i is None:
            return None
        j = self.partner(i)
        x, y = self.known[i], self.known[j]
        name = self.random.choice(list(table.BINARY))
        bound = table.BINARY[name][1](x.storage.bound, y.storage.bound) + 1
        shape = broadcast(x.shape, y.shape)
        assert shape is not None
        varies = x.varies or y.varies
        return Instruction("binary." + name, [i, j]), fresh(shape, bound=bound, varies=varies)

    def reduce(self) -> Drawn | None:
        r = self.random
        i = self.pick("float")
        if i is None or not (shape := self.known[i].shape) or 0 in shape:
            return None
        x = self.known[i]
        name = r.choice(list(table.REDUCE))
        several = name in ("sum", "mean", "tie_amax", "tie_amin", "var", "logsumexp")
        dims = sorted(r.sample(range(len(shape)), r.randint(1, len(shape)) if several else 1))
        keep = r.random() < 0.5
        result = tuple(1 if d in dims else n for d, n in enumerate(shape) if keep or d not in dims)
        bound = table.REDUCE[name][1](x.storage.bound, prod(shape[d] for d in dims)) + 1
        options = {"dim": dims, "keepdim": keep}
        return Instruction("reduce." + name, [i], options), fresh(result, "float", bound, x.varies)

    def along(self) -> Drawn | None:
        i = self.pick("float")
        if i is None or not (shape := self.known[i].shape) or 0 in shape:
            return None
        x = self.known[i]
        dim = self.random.randrange(len(shape))
        name = self.random.choice(list(table.ALONG))
        bound = table.ALONG[name][1](x.storage.bound, shape[dim]) + 1
        return Instruction("along." + name, [i], {"dim": dim}), fresh(
            shape, "float", bound, x.varies
        )

    def matmul(self) -> Drawn | None:
        i = self.pick("float")
        if i is None or len(shape := self.known[i].shape) < 2:
            return None
        x = self.known[i]
        fits = [
            k
            for k, v in enumerate(self.known)
            if v.dtype == "float" and v.usable and len(v.shape) == 2 and v.shape[0] == shape[-1]
        ]
        j = self.random.choice(fits) if fits else i
        y = self.known[j]
        columns = y.shape[1] if fits else shape[-2]
        bound = 0.3 * shape[-1] * x.storage.bound * y.storage.bound
        result = fresh(shape[:-1] + (columns,), "float", bound, x.varies or y.varies)
        if fits:
            return Instruction("matmul.pair", [i, j]), result
        return Instruction("matmul.self", [i]), result

    def layer(self) -> Drawn | None:
        return layers.draw(self)

    def fresh(self, shape: Shape, bound: float, varies: bool) -> Value:
        return fresh(shape, "float", bound, varies)

    # ---- integers and bools ---------------------------------------------------------------------

    def integer(self) -> Drawn | None:
        return self.whole("integer", table.INTEGER_UNARY, table.INTEGER_BINARY, table.INTEGER_ALONG)

    def boolean(self) -> Drawn | None:
        return self.whole("bool", table.BOOL_UNARY, table.BOOL_BINARY, table.BOOL_ALONG)

    def whole(self, kind: str, unary: Any, binary: Any, along: Any) -> Drawn | None:
        r = self.random
        i = self.pick(kind)
        if i is None:
            return self.cast()
        x = self.known[i]
        family = r.choice(["unary", "binary", "binary", "along", "compare"])
        if family == "unary":
            return Instruction(f"{kind}_unary." + r.choice(list(unary)), [i]), fresh(
                x.shape, x.dtype, varies=x.varies
            )
        if family == "along":
            if not x.shape or 0 in x.shape:
                return None
            dim = r.randrange(len(x.shape))
            return Instruction(f"{kind}_along." + r.choice(list(along)), [i], {"dim": dim}), fresh(
                x.shape, x.dtype, varies=x.varies
            )
        j = self.partner(i)
        shape = broadcast(x.shape, self.known[j].shape)
        assert shape is not None
        varies = x.varies or self.known[j].varies
        if family == "compare" and kind == "integer":
            name = "compare." + r.choice(list(table.COMPARE))
            return Instruction(name, [i, j]), fresh(shape, "bool", varies=varies)
        name = f"{kind}_binary." + r.choice(list(binary))
        return Instruction(name, [i, j]), fresh(shape, x.dtype, varies=varies)

    def cast(self) -> Drawn | None:
        r = self.random
        i = self.pick("float", "integer", "bool")
        assert i is not None
        x = self.known[i]
        dtype = r.choice(table.INTEGERS)
        if x.kind == "float":
            name = r.choice(["to_integer", "to_integer", "to_bool", "is_finite"])
            result = dtype if name == "to_integer" else "bool"
            options = {"dtype": dtype} if name == "to_integer" else {}
            return Instruction("cast." + name, [i], options), fresh(
                x.shape, result, varies=x.varies
            )
        if r.random() < 0.4:
            return Instruction("cast.between", [i], {"dtype": dtype}), fresh(
                x.shape, dtype, varies=x.varies
            )
        name = "from_bool" if x.kind == "bool" else "from_integer"
        return Instruction("cast." + name, [i, 0]), fresh(x.shape, "float", 8, x.varies)

    def choose(self) -> Drawn | None:
        c, i = self.pick("bool"), self.pick("float", "integer", "bool")
        if c is None or i is None:
            return None
        j = self.partner(i)
        values = [self.known[k] for k in (c, i, j)]
        shape = broadcast(*[v.shape for v in values])
        if shape is None or prod(shape) > LONG:
            return None
        bound = max(v.storage.bound for v in values)
        return Instruction("choose.where", [c, i, j]), fresh(
            shape, values[1].dtype, bound, any(v.varies for v in values)
        )

    def create(self) -> Drawn | None:
        name = self.random.choice([n for n in table.CREATE if self.allows(n)])
        n = self.random.choice([1, 2, 3, 4, 5])
        shape = (n, n) if name == "eye" else (n,)
        return Instruction("create." + name, [0], {"n": n}), fresh(shape, "float", 6, varies=False)

    # ---- structure -------------------------------------------------------------------

    def view(self, x: Value, shape: Shape, overlaps: bool = False) -> Value:
        return Value(shape, x.dtype, x.storage, x.overlaps or overlaps, x.varies)

    def join(self) -> Drawn | None:
        r = self.random
        i = self.pick("float", "integer", "bool")
        if i is None or not (shape := self.known[i].shape):
            return None
        x = self.known[i]
        dim = r.randrange(len(shape))
        same = [
            k
            for k, v in enumerate(self.known)
            if v.shape == shape and v.dtype == x.dtype and v.usable
        ]
        operands = [i] + [r.choice(same) for _ in range(r.choice([1, 1, 2, 7]))]
        name = r.choice(["cat", "stack"])
        count = len(operands)
        if name == "cat":
            result = shape[:dim] + (count * shape[dim],) + shape[dim + 1 :]
        else:
            result = shape[:dim] + (count,) + shape[dim:]
        bound = max(self.known[k].storage.bound for k in operands)
        varies = any(self.known[k].varies for k in operands)
        return Instruction("join." + name, operands, {"dim": dim}), fresh(
            result, x.dtype, bound, varies
        )

    def move(self) -> Drawn | None:
        r = self.random
        i = self.pick("float", "float", "integer", "bool")
        if i is None or not (shape := self.known[i].shape):
            return None
        x = self.known[i]
        dim = r.randrange(len(shape))
        n = shape[dim]
        name = r.choice(
            ["slice", "step", "select", "permute", "permute", "reshape", "reshape", "expand"]
            + ["pad", "diagonal", "tril", "repeat"]
        )

        def drawn(result: Shape, other: Value | None = None, **options: Any) -> Drawn:
            moved = self.view(x, result) if other is None else other
            return Instruction("move." + name, [i], options), moved

        if name == "slice" and n > 0:
            start = r.randrange(n)
            stop = r.randint(start, n)
            result = shape[:dim] + (stop - start,) + shape[dim + 1 :]
            return drawn(result, dim=dim, start=start, stop=stop, extent=n)
        if name == "step" and n > 1:
            start = r.randrange(2)
            result = shape[:dim] + ((n - start + 1) // 2,) + shape[dim + 1 :]
            return drawn(result, dim=dim, start=start)
        if name == "select" and n > 0:
            return drawn(shape[:dim] + shape[dim + 1 :], dim=dim, at=r.randrange(-n, n), extent=n)
        if name == "permute":
            perm = list(range(len(shape)))
            if r.random() < 0.5:
                perm = perm[1:] + perm[:1]  # the simplest that isn't its own inverse
            else:
                r.shuffle(perm)
            return drawn(tuple(shape[p] for p in perm), perm=perm)
        if name == "reshape" and 0 not in shape:
            total = prod(shape)
            first = r.choice([d for d in range(1, total + 1) if total % d == 0])
            result = r.choice([(total,), (first, total // first), (1, total), (total, 1)])
            return drawn(result, shape=result)
        if name == "expand":
            count = r.choice([1, 2, 3])
            if prod(shape) * count > LONG:
                return None
            return drawn((count, *shape), self.view(x, (count, *shape), overlaps=True), count=count)
        if name == "diagonal" and len(shape) == 2 and 0 not in shape:
            result = (min(shape),)
            return drawn(result, fresh(result, x.dtype, x.storage.bound, x.varies))
        if name == "tril" and len(shape) >= 2:
            return drawn(
                shape, fresh(shape, x.dtype, x.storage.bound, x.varies), at=r.randint(-1, 1)
            )
        if name == "repeat":
            result = shape[:dim] + (2 * n,) + shape[dim + 1 :]
            return drawn(result, fresh(result, x.dtype, x.storage.bound, x.varies), dim=dim)
        if name == "pad":
            low, high = r.randint(0, 2), r.randint(0, 2)
            result = shape[:-1] + (shape[-1] + low + high,)
            value = {"float": 0.5, "integer": 5, "bool": True}[x.kind]
            padded = fresh(result, x.dtype, x.storage.bound, x.varies)
            return drawn(result, padded, low=low, high=high, value=value)
        return None

    def index(self) -> Drawn | None:
        r = self.random
        i = self.pick("float", "float", "integer")
        if i is None or not (shape := self.known[i].shape):
            return None
        x = self.known[i]
        dim = r.randrange(len(shape))
        n = shape[dim]
        if n == 0:
            return None
        name = r.choice(
            ["index_select", "advanced", "take_along", "index_add", "index_copy", "scatter"]
            + ["scatter_add", "by_value", "along_value"]
        )
        real = x.dtype == "float"
        if name in ("by_value", "along_value"):
            j = self.pick("integer")
            if j is None:
                return None
            other = self.known[j].shape
            if name == "by_value":
                if len(other) != 1:
                    return None
                result = shape[:dim] + other + shape[dim + 1 :]
            else:
                result = other
                if len(other) != len(shape) or any(
                    a > b for d, (a, b) in enumerate(zip(other, shape)) if d != dim
                ):
                    return None
            varies = x.varies or self.known[j].varies
            return Instruction("index." + name, [i, j], {"dim": dim}), fresh(
                result, x.dtype, x.storage.bound, varies
            )
        index = [r.randrange(n) for _ in range(r.randint(1, 5))]
        if name in ("index_copy", "scatter"):  # which of two equal indices wins is not defined
            index = r.sample(range(n), min(n, len(index)))
        result = shape
        if name in ("index_select", "advanced"):
            result = shape[:dim] + (len(index),) + shape[dim + 1 :]
        growth = {"take_along": 2.0, "index_add": 3.5, "scatter_add": 3.5}.get(name, 1.0)
        return Instruction("index." + name, [i], {"dim": dim, "index": index, "real": real}), fresh(
            result, x.dtype, x.storage.bound * growth, x.varies
        )

    def write(self) -> Drawn | None:
        r = self.random
        eager = self.transform in EAGER
        targets = [
            k
            for k, v in enumerate(self.known)
            if v.storage.writable and not v.overlaps and v.usable and (v.varies or eager)
        ]
        inputs = [k for k, v in enumerate(self.known) if not v.storage.writable and not v.overlaps]
        past = eager and r.random() < 0.4  # writes that no derivative follows
        if past and inputs and r.random() < 0.3:
            targets = inputs  # as an optimizer writes to its parameters
        if not targets:
            return None
        i = r.choice(targets)
        x = self.known[i]
        j = self.partner(i, into=True)
        y = self.known[j]
        name = r.choice(list(table.WRITES[x.kind]))
        options: dict[str, Any] = {"kind": x.kind, "how": "whole"}
        if past:
            options["how"] = r.choice(["detached", "no_grad"])
        elif x.shape and x.shape[0] > 1 and x.kind == "float" and r.random() < 0.5:
            options["how"] = r.choice(["part", "step"])
            options["start"] = r.randrange(x.shape[0])
        grows = {"add_": 3.0, "sub_": 1.0, "mul_": 0.5 * x.storage.bound}.get(name, 0.0)
        x.storage.bound = max(x.storage.bound + grows, y.storage.bound)
        return Instruction("write." + name, [i, j], options), self.view(x, x.shape)

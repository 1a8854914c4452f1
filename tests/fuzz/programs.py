"""Random programs over the public API, as data: printable, replayable, run in any module with
PyTorch's vocabulary (tenon itself, or torch as the judge), with cuts at given places.

A program is a list of instructions over numbered tensors; draw.py draws them from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.fuzz import instructions as table

Shape = tuple[int, ...]


@dataclass
class Instruction:
    name: str
    operands: list[int]
    options: dict[str, Any] = field(default_factory=dict)
    cut: str = ""  # what cuts the trace behind it: "", "eval", "read" or "expose"

    def in_turn(self, turn: int) -> dict[str, Any]:
        """The options in a later turn: other numbers, the same structure."""
        o = self.options
        if turn == 0:
            return o
        if self.name == "move.slice":
            start = (o["start"] + turn) % (o["extent"] - (o["stop"] - o["start"]) + 1)
            return o | {"start": start, "stop": start + o["stop"] - o["start"]}
        if self.name == "move.select":
            return o | {"at": (o["at"] + turn) % o["extent"]}
        if "by" in o:
            return o | {"by": o["by"] + 0.125 * turn}
        return o

    def __str__(self) -> str:
        options = "".join(f", {k}={v}" for k, v in self.options.items())
        operands = ", ".join(f"t{i}" for i in self.operands)
        return f"{self.name}({operands}{options})" + (f"  # {self.cut}" if self.cut else "")


@dataclass
class Program:
    seed: int
    shapes: list[Shape]  # of the inputs
    leaves: list[bool]  # which inputs require grad
    body: list[Instruction]
    transform: str  # a name of transforms.TRANSFORMS
    dtype: str  # of the inputs where modes are compared; the judge computes in float64
    judged: bool = True
    turns: int = 1  # it runs so often, with other inputs and numbers: later ones repeat a plan
    results: list[int] = field(default_factory=list)  # numbers of the real values a loss is made of

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}, transform {self.transform}, {self.turns} turns, {self.dtype}, "
            f"of {self.results}"
        ]
        lines += [
            f"t{i} = input{shape}{' requires grad' if leaf else ''}"
            for i, (shape, leaf) in enumerate(zip(self.shapes, self.leaves))
        ]
        lines += [f"t{len(self.shapes) + i} = {ins}" for i, ins in enumerate(self.body)]
        return "\n".join(lines)


def run_body(m: Any, program: Program, inputs: list[Any], cuts: bool, turn: int) -> list[Any]:
    """Every tensor of the program. The results of cuts that read or expose memory are dropped at
    the end, not before: what NumPy sees stays known outside."""
    values = list(inputs)
    seen = []
    for instruction in program.body:
        value = apply(m, instruction, [values[i] for i in instruction.operands], turn)
        values.append(value)
        if not cuts or not instruction.cut:
            continue
        if instruction.cut == "read":
            seen.append(value.detach().tolist())
        elif instruction.cut == "expose" and value.dtype != m.bfloat16:
            seen.append(value.detach().numpy())
        else:
            m.eval(value)
    return values


def apply(m: Any, ins: Instruction, operands: list[Any], turn: int) -> Any:
    kind, _, name = ins.name.partition(".")
    return APPLY[kind](m, name, operands, ins.in_turn(turn))


def apply_write(m: Any, name: str, operands: list[Any], o: dict[str, Any]) -> Any:
    """Writes to the target itself, to a part, or past the derivative; its value is the target."""
    x, y = operands[0], operands[-1]
    write = table.WRITES[o["kind"]][name]
    how = o["how"]
    if how == "part":
        part = x[o["start"] :]
        write(m, part, part.detach() * 0.5 + 0.1)
    elif how == "step":
        part = x[o["start"] :: 2].transpose(0, -1)
        write(m, part, part.detach() * 0.5 + 0.1)
    elif how == "detached":
        write(m, x.detach(), y.detach())
    elif how == "no_grad":
        with m.no_grad():
            write(m, x, y)
    else:
        write(m, x, y)
    return x


def apply_move(m: Any, name: str, operands: list[Any], o: dict[str, Any]) -> Any:
    x, dim = operands[0], o.get("dim", 0)
    if name == "slice":
        return x.narrow(dim, o["start"], o["stop"] - o["start"])
    if name == "step":
        return x[(slice(None),) * dim + (slice(o["start"], None, 2),)]
    if name == "select":
        return x.select(dim, o["at"])
    if name == "permute":
        return x.permute(o["perm"])
    if name == "reshape":
        return x.reshape(o["shape"])
    if name == "expand":
        return x.expand(o["count"], *x.shape)
    if name == "diagonal":
        return x.diagonal().clone()  # a view in torch
    if name == "tril":
        return x.tril(o["at"])
    if name == "repeat":
        return x.repeat_interleave(2, dim)
    assert name == "pad"
    return m.nn.functional.pad(x, (o["low"], o["high"]), value=o["value"])


def apply_index(m: Any, name: str, operands: list[Any], o: dict[str, Any]) -> Any:
    x, dim = operands[0], o["dim"]
    if name == "by_value":  # indices that the program computed
        index = operands[1].to(m.int64) % x.shape[dim]
        return x.index_select(dim, index)
    if name == "along_value":
        index = operands[1].to(m.int64) % x.shape[dim]
        return m.gather(x, dim, index)
    index = m.tensor(o["index"], dtype=m.int64)
    if name == "index_select":
        return x.index_select(dim, index)
    if name == "advanced":
        return x[(slice(None),) * dim + (index,)]
    part = x.index_select(dim, index)
    shape = [1] * x.ndim
    shape[dim] = len(o["index"])
    wide = index.reshape(shape).expand(part.shape)
    if name == "take_along":
        return m.take_along_dim(x, wide, dim).amin(dim, keepdim=True) + x
    part = part * 0.5 if o["real"] else part * 2
    if name == "index_add":
        return x.index_add(dim, index, part)
    if name == "index_copy":
        return x.index_copy(dim, index, part)
    if name == "scatter_add":
        return x.scatter_add(dim, wide, part)
    assert name == "scatter"
    return x.scatter(dim, wide, part)


def apply_cast(m: Any, name: str, operands: list[Any], o: dict[str, Any]) -> Any:
    x = operands[0]
    if name == "to_integer":  # away from integers, where a rounding would decide
        return (x.clamp(-8, 8) * 3 + 0.2171).to(getattr(m, o["dtype"]))
    if name == "to_bool":
        return x > 0.1371
    if name == "is_finite":
        return ~(x.isinf() | x.isnan())
    if name == "between":
        return x.to(getattr(m, o["dtype"])) + 0  # never the operand itself
    if name == "from_bool":
        return x.to(operands[1].dtype) * 0.5
    assert name == "from_integer"
    return (x % 17).to(operands[1].dtype) * 0.25


def apply_join(m: Any, name: str, operands: list[Any], o: dict[str, Any]) -> Any:
    return getattr(m, name)(operands, o["dim"])


def apply_matmul(m: Any, name: str, operands: list[Any], o: dict[str, Any]) -> Any:
    x = operands[0]
    y = x.transpose(-1, -2) if name == "self" else operands[1]
    return (x * 0.3) @ y


def apply_layer(m: Any, name: str, operands: list[Any], o: dict[str, Any]) -> Any:
    from tests.fuzz import layers

    return layers.apply(m, name, operands, o)


def apply_spec(m: Any, name: str, operands: list[Any], o: dict[str, Any]) -> Any:
    from tests.fuzz import operations

    return operations.apply(m, name, operands, o)


def along(functions: dict[str, Any]) -> Any:
    return lambda m, name, x, o: functions[name](m, x[0], o["dim"])


def plain(functions: dict[str, Any]) -> Any:
    return lambda m, name, x, o: functions[name](m, *x)


APPLY: dict[str, Any] = {
    "unary": lambda m, name, x, o: table.UNARY[name][0](m, x[0]),
    "scalar": lambda m, name, x, o: table.SCALAR[name](m, x[0], o["by"]),
    "binary": lambda m, name, x, o: table.BINARY[name][0](m, x[0], x[1]),
    "reduce": lambda m, name, x, o: table.REDUCE[name][0](m, x[0], o["dim"], o["keepdim"]),
    "along": lambda m, name, x, o: table.ALONG[name][0](m, x[0], o["dim"]),
    "integer_unary": plain(table.INTEGER_UNARY),
    "integer_binary": plain(table.INTEGER_BINARY),
    "integer_along": along(table.INTEGER_ALONG),
    "compare": plain(table.COMPARE),
    "bool_unary": plain(table.BOOL_UNARY),
    "bool_binary": plain(table.BOOL_BINARY),
    "bool_along": along(table.BOOL_ALONG),
    "choose": lambda m, name, x, o: m.where(x[0], x[1], x[2]),
    "create": lambda m, name, x, o: table.CREATE[name](m, x[0], o["n"]),
    "write": apply_write,
    "move": apply_move,
    "index": apply_index,
    "cast": apply_cast,
    "join": apply_join,
    "matmul": apply_matmul,
    "layer": apply_layer,
    "spec": apply_spec,
}

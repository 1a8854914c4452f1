"""spec/layers.toml -> the layers, checked. layers_cpp.py and layers_python.py write them out."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .operations import Operation
from .signature import UNSET, Parameter, SignatureError, Type, parse_signature
from .source import Entry, SpecError, read_entries

KEYS = {
    "signature",
    "any_arguments",
    "inputs",
    "inplace",
    "parameters",
    "buffers",
    "forward",
    "repr",
    "check",
    "message",
    "repeat",
    "as_given",
    "named",
    "fallback",
    "base",
    "doc",
    "shape",
    "source",
    "errors",
    "example",
    "gives",
}
# Functions of nn::init: their parameters after the tensor itself.
INITIALIZERS: dict[str, tuple[str, ...]] = {
    "zeros_": (),
    "ones_": (),
    "constant_": ("value",),
    "uniform_": ("a", "b"),
    "normal_": ("mean", "std"),
    "xavier_uniform_": ("gain",),
    "xavier_normal_": ("gain",),
    "kaiming_uniform_": ("a", "mode", "nonlinearity"),
    "kaiming_normal_": ("a", "mode", "nonlinearity"),
    "fan_in_uniform_": ("weight",),
    "zero_row_": ("row",),
}


@dataclass(frozen=True)
class Initializer:
    function: str
    arguments: tuple[ast.expr, ...]  # positional, in the order of INITIALIZERS
    when: ast.expr | None


@dataclass(frozen=True)
class State:
    """A parameter or a buffer."""

    name: str
    # names of int options, numbers, "a // b" of such; the last may be an int[] option
    shape: tuple[str, ...]
    when: ast.expr | None
    initializers: tuple[Initializer, ...]
    is_buffer: bool
    persistent: bool
    dtype: str  # "" follows the layer's


@dataclass(frozen=True)
class ReprPart:
    """Text, or an option; `quoted` as Python's repr; `unless_default` leaves a group out."""

    text: str = ""
    name: str = ""
    quoted: bool = False
    unless_default: tuple[ReprPart, ...] = ()


@dataclass
class Layer:
    name: str
    entry: Entry
    options: tuple[Parameter, ...]
    any_arguments: bool
    inputs: tuple[str, ...]
    inplace: bool
    states: tuple[State, ...]
    forward: ast.expr
    repr: tuple[ReprPart, ...]
    check: ast.expr | None
    message: tuple[ReprPart, ...]
    base: str
    repeat: int
    as_given: bool
    named: tuple[str, ...]
    fallback: dict[str, str]
    doc: str
    shape: str
    source: str
    errors: str
    example: str
    gives: str

    def option(self, name: str) -> Parameter | None:
        return next((o for o in self.options if o.name == name), None)

    def default(self, o: Parameter) -> Any:
        """The default as the attribute holds it."""
        if o.type.is_list and self.repeat and isinstance(o.default, int):
            return (o.default,) * self.repeat
        return o.default

    def state(self, name: str) -> State | None:
        return next((s for s in self.states if s.name == name), None)

    @property
    def attributes(self) -> list[Parameter]:
        """Options that the object keeps: not those that only say whether a parameter exists."""
        return [
            o
            for o in self.options
            if o.type.base not in ("ignored", "Tensor") and not self.state(o.name)
        ]

    @property
    def tensors(self) -> list[Parameter]:
        """Tensor options: buffers that come from outside."""
        return [o for o in self.options if o.type.base == "Tensor"]


def _expression(entry: Entry, key: str, text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise entry.error(f"'{text}' is no expression: {error.msg}", key) from None


def _state(entry: Entry, key: str, table: Any, options: list[Parameter]) -> State:
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise entry.error("expected a list of tables with a name", key)
    unknown = set(table) - {"name", "shape", "init", "when", "persistent", "dtype"}
    if unknown:
        raise entry.error(f"unknown field '{sorted(unknown)[0]}' of '{table['name']}'", key)
    shape = tuple(part.strip() for part in str(table.get("shape", "")).split(",") if part.strip())
    kinds = {o.name: o.type for o in options}
    for at, part in enumerate(shape):
        for name in part.split(" // "):
            kind = kinds.get(name)
            last = at + 1 == len(shape) and name == part
            whole = kind is not None and kind.base == "int" and (not kind.is_list or last)
            if not whole and not name.isdigit():
                raise entry.error(f"'{part}' is no extent of '{table['name']}'", key)
    initializers = []
    for text in str(table.get("init", "")).split(";"):
        if not text.strip():
            continue
        call, _, condition = text.partition(" if ")
        node = _expression(entry, key, call)
        when = _expression(entry, key, condition) if condition else None
        name = (
            node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        )
        if not isinstance(node, ast.Call) or name not in INITIALIZERS:
            raise entry.error(f"'{call}' calls none of {', '.join(INITIALIZERS)}", key)
        initializers.append(Initializer(name, _bind_initializer(entry, key, node, name), when))
    return State(
        name=table["name"],
        shape=shape,
        when=_expression(entry, key, table["when"]) if "when" in table else None,
        initializers=tuple(initializers),
        is_buffer=key == "buffers",
        persistent=bool(table.get("persistent", True)),
        dtype=str(table.get("dtype", "")),
    )


def _bind_initializer(entry: Entry, key: str, node: ast.Call, name: str) -> tuple[ast.expr, ...]:
    places = INITIALIZERS[name]
    bound = dict(zip(places, node.args, strict=False))
    bound |= {k.arg: k.value for k in node.keywords if k.arg}
    count = len(bound)
    if len(node.args) > len(places) or set(bound) != set(places[:count]):
        raise entry.error(f"{name} takes ({', '.join(places)}), without gaps", key)
    return tuple(bound[place] for place in places[:count])


_REPR = re.compile(r"\{(\w+)(!r)?\}|(\[)|(\])")


def _repr(entry: Entry, key: str, text: str, known: set[str]) -> tuple[ReprPart, ...]:
    parts: list[ReprPart] = []
    group: list[ReprPart] | None = None
    at = 0
    for found in _REPR.finditer(text):
        target = parts if group is None else group
        if found.start() > at:
            target.append(ReprPart(text=text[at : found.start()]))
        at = found.end()
        name, quoted, opens, closes = found.groups()
        if name:
            if name not in known:
                raise entry.error(f"'{name}' is neither an option nor a parameter", key)
            target.append(ReprPart(name=name, quoted=bool(quoted)))
        elif opens and group is None:
            group = []
        elif closes and group is not None:
            parts.append(ReprPart(unless_default=tuple(group)))
            group = None
        else:
            raise entry.error("brackets don't match", key)
    if group is not None:
        raise entry.error("brackets don't match", key)
    if at < len(text):
        parts.append(ReprPart(text=text[at:]))
    return tuple(parts)


def _read(entry: Entry, operations: dict[str, list[Operation]]) -> Layer:
    entry.allow(KEYS)
    if not re.fullmatch(r"[A-Z]\w*", entry.name):
        raise entry.error(f"'{entry.name}' is no name of a class")
    try:
        options = list(parse_signature(f"f{entry.require('signature', str)} -> Tensor").parameters)
    except SignatureError as error:
        raise entry.error(str(error), "signature") from None
    inplace = entry.get("inplace", bool, False)
    if inplace:
        options.append(Parameter("inplace", Type("bool"), False))
    states = [
        _state(entry, key, table, options)
        for key in ("parameters", "buffers")
        for table in entry.get(key, list, [])
    ]
    inputs = tuple(entry.get("inputs", list, ["input"]))
    known = {o.name for o in options} | {s.name for s in states}
    layer = Layer(
        name=entry.name,
        entry=entry,
        options=tuple(options),
        any_arguments=entry.get("any_arguments", bool, False),
        inputs=inputs,
        inplace=inplace,
        states=tuple(states),
        forward=_expression(entry, "forward", entry.require("forward", str)),
        repr=_repr(entry, "repr", entry.get("repr", str, ""), known),
        check=_expression(entry, "check", entry.get("check", str, ""))
        if "check" in entry.values
        else None,
        message=_repr(entry, "message", entry.get("message", str, ""), known),
        base=entry.get("base", str, "Module"),
        repeat=entry.get("repeat", int, 0),
        as_given=entry.get("as_given", bool, False),
        named=tuple(entry.get("named", list, [])),
        fallback=entry.get("fallback", dict, {}),
        doc=entry.require("doc", str).strip(),
        shape=entry.get("shape", str, ""),
        source=entry.get("source", str, ""),
        errors=entry.get("errors", str, ""),
        example=entry.get("example", str, ""),
        gives=entry.get("gives", str, "").strip(),
    )
    if bool(layer.example) != bool(layer.gives):
        raise entry.error("an example shows what it gives", "example" if layer.example else "gives")
    _check_names(layer, operations)
    return layer


def _check_names(layer: Layer, operations: dict[str, list[Operation]]) -> None:
    values = {o.name for o in layer.options} | {s.name for s in layer.states}
    lists = {o.name for o in layer.options if o.type.is_list}
    for key, names in (
        ("named", layer.named),
        ("fallback", [*layer.fallback, *layer.fallback.values()]),
    ):
        if not set(names) <= lists:
            raise layer.entry.error("expected int[] options", key)
    usable = values | set(layer.inputs) | {"training"}
    for node in ast.walk(layer.forward):
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in operations:
                raise layer.entry.error(f"'{ast.unparse(node.func)}' is no operation", "forward")
            bind_call(layer, node, operations)
        elif isinstance(node, ast.Name) and node.id not in usable and node.id not in operations:
            raise layer.entry.error(f"unknown name '{node.id}'", "forward")
    for state in layer.states:
        key = "buffers" if state.is_buffer else "parameters"
        conditions = [state.when, *(i.when for i in state.initializers)]
        arguments = [a for i in state.initializers for a in i.arguments]
        for tree in [*conditions, *arguments]:
            for node in ast.walk(tree) if tree is not None else ():
                if isinstance(node, ast.Name) and node.id not in values:
                    raise layer.entry.error(f"unknown name '{node.id}'", key)


def bind_call(
    layer: Layer, node: ast.Call, operations: dict[str, list[Operation]]
) -> tuple[Operation, dict[str, ast.expr]]:
    """The overload that a call means, and its arguments by parameter."""
    assert isinstance(node.func, ast.Name)
    for operation in operations[node.func.id]:
        parameters = operation.signature.parameters
        places = [p.name for p in parameters if not p.keyword_only]
        if len(node.args) > len(places):
            continue
        bound = dict(zip(places, node.args, strict=False))
        bound |= {k.arg: k.value for k in node.keywords if k.arg}
        required = {p.name for p in parameters if p.default is UNSET and not p.variadic}
        if required <= set(bound) <= {p.name for p in parameters}:
            return operation, bound
    raise layer.entry.error(
        f"'{ast.unparse(node)}' fits no signature of '{node.func.id}'", "forward"
    )


def read_layers(
    path: Path, operations: list[Operation]
) -> tuple[list[Layer], dict[str, list[Operation]]]:
    by_name: dict[str, list[Operation]] = {}
    for operation in operations:
        by_name.setdefault(operation.name, []).append(operation)
    layers = [_read(entry, by_name) for entry in read_entries(path)]
    if not layers:
        raise SpecError("no layers", path, 1)
    return layers, by_name

"""Layers -> Python classes: thin, over the functionals, with PyTorch's constructors."""

from __future__ import annotations

import ast
from textwrap import indent, wrap

from .docs import doctest
from .layers import Layer, ReprPart, State, bind_call
from .operations import Operation
from .signature import UNSET, Parameter

HEAD = '''"""Generated from spec/layers.toml: the layers of tenon.nn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tenon as _tn
from tenon._C import Tensor

from . import functional as F
from . import init
from ._bases import {bases}
from .parameter import Parameter


def _ints(value: int | Sequence[int], repeat: int = 1) -> tuple[int, ...]:
    return (value,) * repeat if isinstance(value, int) else tuple(value)


def _legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """PyTorch's old way of saying what `reduction` says."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"
'''


def write_layers_python(layers: list[Layer], operations: dict[str, list[Operation]]) -> str:
    bases = sorted({layer.base for layer in layers} | {"Module"})
    parts = [HEAD.replace("{bases}", ", ".join(bases))]
    parts += ["\n".join(_class(layer, operations)) for layer in layers]
    names = ", ".join(f'"{layer.name}"' for layer in layers)
    parts.append(f"__all__ = [{names}]\n")
    return "\n\n".join(parts)


def _annotation(layer: Layer, o: Parameter) -> str:
    if o.name in layer.named:
        return f"{o.type.python()} | str"
    return "Any" if o.type.base == "ignored" else o.type.python()


def _constructor_parameters(layer: Layer) -> str:
    def declared(keyword_only: bool) -> list[str]:
        return [
            f"{o.name}: {_annotation(layer, o)}"
            + ("" if o.default is UNSET else f" = {o.default!r}")
            for o in layer.options
            if o.keyword_only == keyword_only
        ]

    parts = ["self", *declared(False)]
    if layer.any_arguments:
        parts += ["*args: Any", "**kwargs: Any"]
    if layer.states:
        parts += ["device: Any = None", "dtype: Any = None"]
    last = declared(True)
    return ", ".join([*parts, *(["*", *last] if last else [])])


def _docstring(layer: Layer) -> list[str]:
    # functionals are described where they are declared
    lines = layer.doc.split("\n")
    if layer.shape:
        lines += ["", f"Shape: {layer.shape}"]
    if layer.errors:
        lines += ["", f"Errors: {layer.errors}"]
    if layer.source:
        lines += ["", *wrap(f"Source: {layer.source}.", 90)]
    lines += ["", f"See `torch.nn.{layer.name}`."]
    if layer.example:
        lines += ["", *doctest((layer.example, layer.gives)).split("\n")]
    text = "\n".join(lines)
    raw = "r" if "\\" in text else ""
    return indent(f'{raw}"""{text}\n"""', "    ").replace("    \n", "\n").split("\n")


class _Expressions:
    def __init__(
        self, layer: Layer, operations: dict[str, list[Operation]], in_constructor: bool = False
    ) -> None:
        self.layer = layer
        self.operations = operations
        self.in_constructor = in_constructor

    def text(self, node: ast.expr) -> str:
        return ast.unparse(ast.fix_missing_locations(self.rewrite(node)))

    def rewrite(self, node: ast.expr) -> ast.expr:
        layer, outer = self.layer, self

        class Rewrite(ast.NodeTransformer):
            def visit_Name(self, name: ast.Name) -> ast.AST:
                if name.id in layer.inputs or (outer.in_constructor and layer.option(name.id)):
                    return name
                return ast.Attribute(ast.Name("self", ast.Load()), name.id, ast.Load())

            def visit_Call(self, call: ast.Call) -> ast.AST:
                operation, _ = bind_call(layer, call, outer.operations)
                arguments = [self.visit(a) for a in call.args]
                keywords = [ast.keyword(k.arg, self.visit(k.value)) for k in call.keywords]
                if operation.functional or operation.name in ("tanh", "sigmoid"):
                    module: ast.expr = ast.Name("F", ast.Load())
                elif operation.function:
                    module = ast.Name("_tn", ast.Load())
                else:
                    module, arguments = arguments[0], arguments[1:]
                return ast.Call(
                    ast.Attribute(module, operation.name, ast.Load()), arguments, keywords
                )

        return Rewrite().visit(ast.parse(ast.unparse(node), mode="eval").body)


def _class(layer: Layer, operations: dict[str, list[Operation]]) -> list[str]:
    lines = [f"class {layer.name}({layer.base}):", *_docstring(layer), ""]
    if layer.attributes:
        names = ", ".join(f'"{o.name}"' for o in layer.attributes)
        lines.append(f"    __constants__ = [{names}]")
        lines += [f"    {o.name}: {_held(layer, o)}" for o in layer.attributes]
        lines += [
            f"    {s.name}: Tensor" + (" | None" if s.when is not None else "")
            for s in layer.states
        ]
        lines.append("")
    lines += _constructor(layer, operations)
    lines += _reset(layer, operations)
    value = _Expressions(layer, operations).text(layer.forward)
    inputs = ", ".join(f"{name}: Tensor" for name in layer.inputs)
    lines += ["", f"    def forward(self, {inputs}) -> Tensor:"]
    if layer.inplace:
        lines += [
            "        if self.inplace:",
            f"            return {layer.inputs[0]}.copy_({value})",
        ]
    lines.append(f"        return {value}")
    if layer.repr:
        lines += ["", "    def extra_repr(self) -> str:", *_extra_repr(layer)]
    return [*lines, *_direct(layer, value), ""]


def _direct(layer: Layer, value: str) -> list[str]:
    """What lets the base of modules make a forward's one call without running its Python."""
    call = ast.parse(value, mode="eval").body
    if layer.inplace or not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return []
    inputs = [ast.unparse(argument) for argument in call.args[: len(layer.inputs)]]
    if ast.unparse(call.func.value) != "F" or inputs != list(layer.inputs):
        return []
    rest = [*call.args[len(layer.inputs) :], *(k.value for k in call.keywords)]
    held = [a.attr for a in rest if isinstance(a, ast.Attribute) and ast.unparse(a.value) == "self"]
    if len(held) != len(rest):
        return []
    keywords = tuple(k.arg for k in call.keywords)
    direct = f"(F, {call.func.attr!r}, {len(inputs)}, {tuple(held)!r}, {keywords!r})"
    return ["", "", f'vars({layer.name}.forward)["direct"] = {direct}']


def _held(layer: Layer, o: Parameter) -> str:
    if not o.type.is_list:
        return o.type.python()
    absent = " | None" if o.type.optional and o.name not in layer.fallback else ""
    if layer.as_given:
        return f"{o.type.base} | Sequence[{o.type.base}]{absent}"
    if o.name in layer.named:
        return f"tuple[{o.type.base}, ...] | str"
    return f"tuple[{o.type.base}, ...]" + (" | None" if o.type.optional else "")


def _constructor(layer: Layer, operations: dict[str, list[Operation]]) -> list[str]:
    expressions = _Expressions(layer, operations, in_constructor=True)
    body = ["super().__init__()"]
    if layer.check is not None:
        message = "".join(f"{{{p.name}}}" if p.name else p.text for p in layer.message)
        body += [
            f"if not ({expressions.text(layer.check)}):",
            f'    raise ValueError(f"{message}")',
        ]
    if layer.option("size_average") and layer.option("reduce"):
        body.append("reduction = _legacy_reduction(size_average, reduce, reduction)")
    for o in layer.attributes:
        value = o.name
        if o.name in layer.fallback:
            value = f"({layer.fallback[o.name]} if {o.name} is None else {o.name})"
        if o.type.is_list and not layer.as_given:
            repeat = f", {layer.repeat}" if layer.repeat else ""
            kept = f"{o.name} if isinstance({o.name}, str) else " if o.name in layer.named else ""
            optional = o.type.optional and o.name not in layer.fallback
            value = f"{kept}_ints({value}{repeat})" + (
                f" if {o.name} is not None else None" if optional else ""
            )
        body.append(f"self.{o.name} = {value}")
    for o in layer.tensors:
        body.append(f'self.register_buffer("{o.name}", {o.name})')
    for s in layer.states:
        body += _make_state(layer, s, expressions)
    if any(s.initializers for s in layer.states):
        body.append("self.reset_parameters()")
    head = f"    def __init__({_constructor_parameters(layer)}) -> None:"
    return [head, *("        " + line for line in body)]


def _make_state(layer: Layer, state: State, expressions: _Expressions) -> list[str]:
    option = layer.option(state.shape[-1]) if state.shape else None
    if option is not None and option.type.is_list and len(state.shape) == 1:
        shape = f"self.{option.name}"
    else:
        parts = list(state.shape)
        if option is not None and option.type.is_list:
            parts[-1] = f"*self.{option.name}"
        shape = "(" + ", ".join(parts) + ("," if len(parts) == 1 else "") + ")"
    dtype = f"_tn.{state.dtype}" if state.dtype else "dtype"
    empty = f"_tn.empty({shape}, dtype={dtype}, device=device)"
    if state.is_buffer:
        extra = "" if state.persistent else ", persistent=False"
        make = f'self.register_buffer("{state.name}", {empty}{extra})'
    else:
        make = f'self.register_parameter("{state.name}", Parameter({empty}))'
    if state.when is None:
        return [make]
    kind = "buffer" if state.is_buffer else "parameter"
    return [
        f"if {expressions.text(state.when)}:",
        f"    {make}",
        "else:",
        f'    self.register_{kind}("{state.name}", None)',
    ]


def _reset(layer: Layer, operations: dict[str, list[Operation]]) -> list[str]:
    if not any(s.initializers for s in layer.states):
        return []
    expressions = _Expressions(layer, operations)
    lines = ["", "    def reset_parameters(self) -> None:"]
    for s in layer.states:
        tests = [f"self.{s.name} is not None"] if s.when is not None else []
        for i in s.initializers:
            conditions = [*tests, *([expressions.text(i.when)] if i.when is not None else [])]
            arguments = ", ".join([f"self.{s.name}", *(expressions.text(a) for a in i.arguments)])
            call = f"init.{i.function}({arguments})"
            if conditions:
                lines += [f"        if {' and '.join(conditions)}:", f"            {call}"]
            else:
                lines.append(f"        {call}")
    return lines


def _shown(layer: Layer, part: ReprPart) -> str:
    if not part.name:
        return part.text
    if layer.state(part.name):
        return f"{{self.{part.name} is not None}}"
    return f"{{self.{part.name}{'!r' if part.quoted else ''}}}"


def _extra_repr(layer: Layer) -> list[str]:
    lines: list[str] = []
    plain = ""
    first = True

    def flush() -> None:
        nonlocal plain, first
        if plain or first:
            lines.append(f'        text {"" if first else "+"}= f"{plain}"')
        plain, first = "", False

    for part in layer.repr:
        if not part.unless_default:
            plain += _shown(layer, part)
            continue
        flush()
        tests = []
        for inner in part.unless_default:
            option = layer.option(inner.name) if inner.name else None
            if layer.state(inner.name):
                tests.append(f"self.{inner.name} is None")
            elif option is not None:
                default = layer.default(option)
                compare = "is not None" if default is None else f"!= {default!r}"
                tests.append(f"self.{inner.name} {compare}")
        text = "".join(_shown(layer, inner) for inner in part.unless_default)
        lines += [f"        if {' or '.join(tests)}:", f'            text += f"{text}"']
    if not lines:
        return [f'        return f"{plain}"']
    if plain:
        flush()
    return [*lines, "        return text"]

"""Layers -> C++ classes over the public functions of tensors."""

from __future__ import annotations

import ast

from .layers import Layer, ReprPart, State, bind_call
from .operations import Operation
from .signature import Parameter, Type, cpp_literal

_LISTS = """namespace {

// One number stands for `count` of them.
IntList repeated(const IntList& list, size_t count) {
  return list.size() == 1 ? IntList(Dims(count, list[0])) : list;
}
IntList joined(IntList list, const IntList& rest) {
  list.append(rest.begin(), rest.end());
  return list;
}

}  // namespace
"""

_MEMBERS = {"int": "int64_t", "float": "double", "bool": "bool", "str": "std::string"}
_HELD = {"int": "IntList", "float": "FloatList"}


def _member_type(kind: Type) -> str:
    plain = (_HELD if kind.is_list else _MEMBERS)[kind.base]
    return f"std::optional<{plain}>" if kind.optional else plain


def _options(layer: Layer) -> list[Parameter]:
    return [o for o in layer.options if o.type.base != "ignored"]


def _constructor_parameters(layer: Layer, declaration: bool) -> str:
    parts = []
    for o in _options(layer):
        name = o.name if declaration else o.name + "_"
        default = o.cpp_default(False) if declaration else ""
        parts.append(f"{o.type.cpp(False)} {name}" + (f" = {default}" if default else ""))
    if layer.states:
        parts.append(
            "std::optional<DType> dtype = std::nullopt"
            if declaration
            else "std::optional<DType> dtype_"
        )
    return ", ".join(parts)


def _forward_parameters(layer: Layer) -> str:
    return ", ".join(f"const Tensor& {name}" for name in layer.inputs)


class _Expressions:
    """Expressions of the spec as C++ inside a member function."""

    def __init__(
        self, layer: Layer, operations: dict[str, list[Operation]], in_constructor: bool = False
    ) -> None:
        self.layer = layer
        self.operations = operations
        self.in_constructor = in_constructor

    def name(self, name: str) -> str:
        return name + "_" if self.in_constructor and self.layer.option(name) else name

    def condition(self, node: ast.expr) -> str:
        if isinstance(node, ast.BoolOp):
            symbol = " && " if isinstance(node.op, ast.And) else " || "
            return "(" + symbol.join(self.condition(v) for v in node.values) + ")"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return f"!{self.condition(node.operand)}"
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, right = node.left, node.comparators[0]
            if (
                isinstance(right, ast.Constant)
                and right.value is None
                and isinstance(left, ast.Name)
            ):
                has = f"{self.name(left.id)}.has_value()"
                return has if isinstance(node.ops[0], ast.IsNot) else f"!{has}"
            symbols = {
                ast.Eq: "==",
                ast.NotEq: "!=",
                ast.Lt: "<",
                ast.LtE: "<=",
                ast.Gt: ">",
                ast.GtE: ">=",
            }
            operator = symbols.get(type(node.ops[0]))
            if operator:
                return f"{self.value(left)} {operator} {self.value(right)}"
        if isinstance(node, ast.Name):
            return self.name(node.id)
        raise self.layer.entry.error(f"'{ast.unparse(node)}' is no condition")

    def value(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant):
            if node.value is None:
                return "{}"
            kind = {bool: "bool", int: "int", float: "float", str: "str"}[type(node.value)]
            return cpp_literal(node.value, Type(kind))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return "-" + self.value(node.operand)
        if isinstance(node, ast.Name):
            return self.name(node.id)
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mod, ast.FloorDiv)):
            symbol = "%" if isinstance(node.op, ast.Mod) else "/"
            return f"{self.value(node.left)} {symbol} {self.value(node.right)}"
        if isinstance(node, ast.BoolOp) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            return self.condition(node)
        raise self.layer.entry.error(f"'{ast.unparse(node)}' is not allowed here", "forward")

    def call(self, node: ast.Call) -> str:
        operation, bound = bind_call(self.layer, node, self.operations)
        arguments: list[str] = []
        skipped: list[str] = []  # defaults that a later argument forces us to write
        for p in operation.parameters:
            if p.name in bound:
                arguments += [*skipped, self.value(bound[p.name])]
                skipped = []
            else:
                skipped.append(p.cpp_default(False) or "{}")
        return f"tenon::{operation.cpp_name}({', '.join(arguments)})"


def write_layers_header(layers: list[Layer]) -> str:
    lines = [
        "// Generated from spec/layers.toml.",
        "#pragma once",
        "",
        "#include <optional>",
        "#include <string>",
        "#include <string_view>",
        "",
        '#include "nn/module.h"',
        "",
        "namespace tenon::nn {",
        "",
    ]
    for layer in layers:
        lines += _class(layer)
    lines += ["}  // namespace tenon::nn", ""]
    return "\n".join(lines)


def _class(layer: Layer) -> list[str]:
    lines = [f"// {line}".rstrip() for line in layer.doc.split("\n")]
    if layer.shape:
        lines.append(f"// {layer.shape}")
    if layer.source:
        lines.append(f"// {layer.source}.")
    required = sum(not o.type.optional and not o.cpp_default(False) for o in _options(layer))
    explicit = "explicit " if _options(layer) and required <= 1 else ""
    single = layer.inputs == ("input",)
    lines += [
        f"class {layer.name} : public Module {{",
        " public:",
        f"  {explicit}{layer.name}({_constructor_parameters(layer, True)});",
    ]
    if any(s.initializers for s in layer.states):
        lines.append("  void reset_parameters();")
    if single:
        lines.append("  Tensor forward(const Tensor& input) override;")
    else:
        lines += [
            "  using Module::forward;",
            f"  Tensor forward({_forward_parameters(layer)});",
            f"  Tensor operator()({_forward_parameters(layer)}) {{",
            f"    return forward({', '.join(layer.inputs)});",
            "  }",
        ]
    lines.append(f'  std::string name() const override {{ return "{layer.name}"; }}')
    if layer.repr:
        lines.append("  std::string extra_repr() const override;")
    members = [f"  {_member_type(o.type)} {o.name};" for o in layer.attributes]
    members += [f"  Tensor {o.name};" for o in layer.tensors]
    members += [f"  Tensor {s.name};" for s in layer.states]
    return [*lines, *([""] if members else []), *members, "};", ""]


def write_layers_source(layers: list[Layer], operations: dict[str, list[Operation]]) -> str:
    lines = [
        "// Generated from spec/layers.toml.",
        '#include "nn/generated/layers.h"',
        "",
        '#include "core/error.h"',
        '#include "generated/functions.h"',
        '#include "nn/init.h"',
        "",
        "namespace tenon::nn {",
        "",
        *(_LISTS.split("\n") if any(layer.repeat for layer in layers) else []),
    ]
    for layer in layers:
        lines += _constructor(layer, operations)
        lines += _reset(layer, operations)
        lines += _forward(layer, operations)
        if layer.repr:
            lines += _extra_repr(layer)
    lines += ["}  // namespace tenon::nn", ""]
    return "\n".join(lines)


def _shape(state: State, layer: Layer) -> str:
    def extent(part: str) -> str:
        return " / ".join(p if p.isdigit() else f"{p}_" for p in part.split(" // "))

    option = layer.option(state.shape[-1]) if state.shape else None
    if option is None or not option.type.is_list:
        return "IntList{" + ", ".join(map(extent, state.shape)) + "}"
    if len(state.shape) == 1:
        return f"{option.name}_"
    first = "IntList{" + ", ".join(map(extent, state.shape[:-1])) + "}"
    return f"joined({first}, {option.name})"


def _constructor(layer: Layer, operations: dict[str, list[Operation]]) -> list[str]:
    expressions = _Expressions(layer, operations, in_constructor=True)
    head = f"{layer.name}::{layer.name}({_constructor_parameters(layer, False)})"
    inits = [f"{o.name}({_initial(layer, o)})" for o in layer.attributes]
    body = []
    if layer.check is not None:
        texts = "".join(p.text if not p.name else "{}" for p in layer.message)
        values = "".join(f", {p.name}_" for p in layer.message if p.name)
        body.append(
            f'check({expressions.condition(layer.check)}, ErrorKind::Value, "{texts}"{values});'
        )
    for o in layer.tensors:
        body.append(f'{o.name} = register_buffer("{o.name}", {o.name}_);')
    for s in layer.states:
        dtype = f"DType::{s.dtype.capitalize()}" if s.dtype else "dtype_"
        empty = f"tenon::empty({_shape(s, layer)}, {dtype})"
        kind = "buffer" if s.is_buffer else "parameter"
        extra = ", false" if not s.persistent else ""
        if s.when is not None:
            empty = f"{expressions.condition(s.when)} ? {empty} : Tensor()"
        body.append(f'{s.name} = register_{kind}("{s.name}", {empty}{extra});')
    if any(s.initializers for s in layer.states):
        body.append("reset_parameters();")
    colon = f"\n    : {', '.join(inits)}" if inits else ""
    return [f"{head}{colon} {{", *("  " + line for line in body), "}", ""]


def _initial(layer: Layer, o: Parameter) -> str:
    value = f"{o.name}_"
    if o.name in layer.fallback:
        value = f"{value} ? {value} : {layer.fallback[o.name]}_"
    elif layer.repeat and o.type.is_list:
        value = f"repeated({value}, {layer.repeat})"
    return value


def _reset(layer: Layer, operations: dict[str, list[Operation]]) -> list[str]:
    if not any(s.initializers for s in layer.states):
        return []
    expressions = _Expressions(layer, operations)
    lines = [f"void {layer.name}::reset_parameters() {{"]
    for s in layer.states:
        guard = f"if ({s.name}.defined()) " if s.when is not None else ""
        for i in s.initializers:
            when = f"if ({expressions.condition(i.when)}) " if i.when is not None else ""
            arguments = [s.name]
            for argument in i.arguments:
                text = expressions.value(argument)
                option = layer.option(text)
                arguments.append(
                    f"*{text}" if option is not None and option.type.optional else text
                )
            lines.append(f"  {guard}{when}init::{i.function}({', '.join(arguments)});")
    return [*lines, "}", ""]


def _forward(layer: Layer, operations: dict[str, list[Operation]]) -> list[str]:
    value = _Expressions(layer, operations).value(layer.forward)
    lines = [f"Tensor {layer.name}::forward({_forward_parameters(layer)}) {{"]
    if layer.inplace:
        lines.append(f"  if (inplace) return tenon::copy_({layer.inputs[0]}, {value});")
    return [*lines, f"  return {value};", "}", ""]


def _shown(layer: Layer, part: ReprPart) -> str:
    if not part.name:
        return f'"{part.text}"'
    text = f"show({part.name})"
    return f'"\'" + {text} + "\'"' if part.quoted else text


def _extra_repr(layer: Layer) -> list[str]:
    lines = [f"std::string {layer.name}::extra_repr() const {{", "  std::string text;"]
    for part in layer.repr:
        if not part.unless_default:
            lines.append(f"  text += {_shown(layer, part)};")
            continue
        tests = []
        for inner in part.unless_default:
            option = layer.option(inner.name) if inner.name else None
            if layer.state(inner.name):
                tests.append(f"!{inner.name}.defined()")
            elif option is not None and option.type.optional:
                tests.append(f"{inner.name}.has_value()")
            elif option is not None and option.type.is_list:
                tests.append(
                    f"{inner.name} != IntList{cpp_literal(layer.default(option), Type('int'))}"
                )
            elif option is not None:
                tests.append(f"{inner.name} != {option.cpp_default(False)}")
        lines.append(f"  if ({' || '.join(tests)}) {{")
        lines += [f"    text += {_shown(layer, inner)};" for inner in part.unless_default]
        lines.append("  }")
    return [*lines, "  return text;", "}", ""]

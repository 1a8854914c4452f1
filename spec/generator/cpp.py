"""Operations -> C++: functions over Values, functions over Tensors, methods of Tensor."""

from __future__ import annotations

import re
from dataclasses import replace

from .body import BodyCompiler, BodyError
from .body_helpers import ERROR_KINDS
from .operations import Operation
from .primitives import Primitive
from .signature import Parameter, Type

HEAD = "// Generated from spec/ops/.\n"
_VALUE_INCLUDES = """#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/complex.h"
#include "trace/ops/helpers.h"
#include "trace/ops/linalg.h"
#include "trace/ops/signal.h"
#include "trace/routine.h"
"""


def _declare(
    name: str, result: str, parameters: list[Parameter], values: bool, defaults: bool
) -> str:
    parts = []
    for p in parameters:
        text = f"{p.type.cpp(values)} {p.cpp_name}"
        default = p.cpp_default(values)
        if defaults and p.variadic:
            default = "{}" if p is parameters[-1] else ""
        parts.append(text + (f" = {default}" if defaults and default else ""))
    return f"{result} {name}({', '.join(parts)})"


def value_result(operation: Operation) -> str:
    returns = operation.signature.returns
    if len(returns) > 1:
        return f"std::array<Value, {len(returns)}>"
    return {"Tensor": "Value", "Tensor[]": "std::vector<Value>"}[returns[0]]


def tensor_result(operation: Operation) -> str:
    returns = operation.signature.returns
    if len(returns) > 1:
        return f"std::array<Tensor, {len(returns)}>"
    return {
        "Tensor": "Tensor",
        "Tensor[]": "TensorList",
        "bool": "bool",
        "int": "int64_t",
        "None": "void",
        "Scalar": "Scalar",
    }[returns[0]]


def write_values_header(operations: list[Operation]) -> str:
    lines = [
        HEAD + "#pragma once",
        "",
        "#include <array>",
        "#include <vector>",
        "",
        '#include "trace/ops/types.h"',
        '#include "trace/value.h"',
        "",
        "// The public operations over Values, for compositions, rules and layers. Operands are",
        "// promoted as PyTorch promotes; the open scope's operation is named in errors.",
        "namespace tenon::values {",
        "",
    ]
    for o in operations:
        if o.has_value_level:
            lines.append(
                _declare(o.cpp_name, value_result(o), o.value_parameters, True, True) + ";"
            )
    lines += ["", "}  // namespace tenon::values", ""]
    views = [o for o in operations if o.kind == "view"]
    lines += [
        "namespace tenon {",
        "",
        "// How each view is made of movements; written in trace/ops/views.cpp.",
    ]
    for o in views:
        lines.append(_view_declaration(o) + ";")
    lines += ["", "}  // namespace tenon", ""]
    return "\n".join(lines)


def _view_declaration(o: Operation) -> str:
    rest = [f"{p.type.cpp(True)} {p.cpp_name}" for p in o.value_parameters[1:]]
    return f"Movements view_{o.name}({', '.join(['const Type& input', *rest])})"


def _promotion(o: Operation) -> list[str]:
    if o.promote == "none":
        return []
    kind = {"common": "Common", "float": "Float"}[o.promote]
    names = ", ".join(f"&{o.signature.parameter(name).cpp_name}" for name in o.promoted)  # type: ignore[union-attr]
    return [f"promote(Promotion::{kind}, {{{names}}});"]


def _taken(o: Operation) -> list[str]:
    """The check of the operands as they are given: what they become depends on all of them."""
    if o.takes == "any":
        return []
    names = o.taken or (o.promoted if o.promote != "none" else o.promoted[:1])
    kind = ERROR_KINDS[o.refusal]
    groups = names if o.each else [", ".join(names)]
    return [f"check_{o.takes}({{{group}}}, ErrorKind::{kind});" for group in groups]


def write_values_source(
    topic: str, operations: list[Operation], primitives: dict[str, Primitive]
) -> str:
    by_name: dict[str, Operation] = {}
    for o in operations:
        by_name.setdefault(o.name, o)
    lines = [HEAD + _VALUE_INCLUDES, "namespace tenon::values {", ""]
    for o in operations:
        if o.topic != topic or o.kind not in ("elementwise", "composed", "view"):
            continue
        parameters = o.value_parameters
        body = [*_taken(o), *_promotion(o)]
        if o.kind == "elementwise":
            primitive = primitives[o.primitive]
            names = ", ".join(p.cpp_name for p in parameters if p.type.is_value)
            form = {
                1: f"ops::unary(Op::{primitive.enumerator}, ",
                2: f"ops::binary(Op::{primitive.enumerator}, ",
            }
            body.append(f"return {form.get(primitive.operands, 'ops::select(')}{names});")
        elif o.kind == "view":
            rest = ", ".join(p.cpp_name for p in parameters[1:])
            comma = ", " if rest else ""
            body.append(
                f"return apply_movements(input, view_{o.name}(type_of(input){comma}{rest}));"
            )
        else:
            try:
                body += BodyCompiler(o, by_name, primitives).compile()
            except BodyError as error:
                failure = o.entry.error(str(error), "body")
                first = o.entry.lines.get("body", o.entry.line)
                shift = error.line if o.body.startswith("\n") or "\n" in o.body else 0
                failure.args = (failure.args[0].replace(f":{first}:", f":{first + shift}:", 1),)
                raise failure from None
        unused = "".join(
            f"  static_cast<void>({p.cpp_name});\n"
            for p in parameters
            if not any(_mentions(line, p.cpp_name) for line in body)
        )
        lines.append(_declare(o.cpp_name, value_result(o), parameters, True, False) + " {")
        lines.append(unused + "\n".join("  " + line for line in body))
        lines += ["}", ""]
    lines += ["}  // namespace tenon::values", ""]
    return "\n".join(lines)


def _mentions(line: str, name: str) -> bool:

    return re.search(rf"\b{re.escape(name)}\b", line) is not None


# ---- tensors ------------------------------------------------------------------------------------


def _inplace_parameters(o: Operation) -> list[Parameter]:
    first, *rest = o.parameters
    return [replace(first, type=Type("Tensor")), *rest]


def _inplace_declaration(o: Operation, defaults: bool) -> str:
    return _declare(f"{o.name}_", "const Tensor&", _inplace_parameters(o), False, defaults)


def write_functions_header(operations: list[Operation]) -> str:
    lines = [
        HEAD + "#pragma once",
        "",
        "#include <array>",
        "#include <string_view>",
        "",
        '#include "trace/ops/types.h"',
        '#include "trace/tensor.h"',
        "",
        "// The public operations over Tensors.",
        "namespace tenon {",
        "",
    ]
    for o in operations:
        first = o.doc.strip().split("\n")[0]
        lines.append(f"// {first}")
        lines.append(_declare(o.cpp_name, tensor_result(o), o.parameters, False, True) + ";")
        if o.inplace:
            lines.append(_inplace_declaration(o, True) + ";")
        for alias in o.aliases:
            lines.append(_alias(o, alias))
    lines += ["", "}  // namespace tenon", ""]
    return "\n".join(lines)


def _alias(o: Operation, alias: str) -> str:
    if "." in alias:
        return ""
    arguments = ", ".join(p.cpp_name for p in o.parameters)
    head = _declare(alias, tensor_result(o), o.parameters, False, True)
    return f"inline {head} {{ return {o.cpp_name}({arguments}); }}"


def _is_method(o: Operation) -> bool:
    return o.method and bool(o.parameters) and o.parameters[0].type.base in ("Tensor", "Operand")


def _method_parameters(o: Operation) -> list[Parameter]:
    return [p for p in o.parameters if p is not o.signature.parameters[0]]


def write_methods(operations: list[Operation]) -> str:
    lines = [HEAD.rstrip()]
    for o in operations:
        if not _is_method(o):
            continue
        head = _declare(o.cpp_name, tensor_result(o), _method_parameters(o), False, True)
        lines.append(f"  {head} const;")
        if o.inplace:
            head = _declare(f"{o.name}_", "const Tensor&", _method_parameters(o), False, True)
            lines.append(f"  {head} const;")
    return "\n".join(lines) + "\n"


def _uses(o: Operation, values: list[Parameter]) -> tuple[list[str], list[str]]:
    """Statements that turn tensors into values, and the arguments of the function over values."""
    lines: list[str] = []
    operands = [p for p in values if p.type.base == "Operand" and not p.type.is_list]
    if operands:
        kind = "Float" if o.promote == "float" else "Common"
        parts = [o.signature.parameter(name) for name in o.promoted]
        names = ", ".join(p.cpp_name for p in parts if p is not None)
        numbers = len(operands) > 1 and all(p in operands for p in values if p.type.is_value)
        refuses = ", OperandType::NeedsTensor" if numbers else ""
        lines.append(f"const OperandType type(Promotion::{kind}, {{{names}}}{refuses});")
    arguments = []
    for p in values:
        if not p.type.is_value:
            if p.type.is_list and p.type.base == "Tensor":
                lines.append(
                    f"const std::vector<Value> {p.name}_values = use_all(scope, {p.cpp_name});"
                )
                arguments.append(f"{p.name}_values")
            else:
                arguments.append(p.cpp_name)
            continue
        if p.type.base == "Operand":
            lines.append(f"const Value {p.name}_value = use(scope, {p.cpp_name}, type);")
        elif p.type.optional:
            lines.append(
                f"const Value {p.name}_value = "
                f"{p.cpp_name}.defined() ? scope.use({p.cpp_name}) : Value{{}};"
            )
        else:
            lines.append(f"const Value {p.name}_value = scope.use({p.cpp_name});")
        arguments.append(f"{p.name}_value")
    return lines, arguments


def _function(o: Operation) -> list[str]:
    parameters = o.parameters
    lines = [_declare(o.cpp_name, tensor_result(o), parameters, False, False) + " {"]
    lines.append(f'  OpScope scope("{o.name}");')
    values = o.value_parameters
    if o.kind == "view":
        rest = ", ".join(p.cpp_name for p in values[1:])
        comma = ", " if rest else ""
        function = "view_or_copy" if o.copies else "apply_view"
        lines.append(f"  return {function}(input, view_{o.name}(input.type(){comma}{rest}));")
        return [*lines, "}", ""]
    uses, arguments = _uses(o, values)
    lines += ["  " + line for line in uses]
    if o.signature.parameter("device") is not None:
        lines.append("  scope.on(device);")
    call = f"values::{o.cpp_name}({', '.join(arguments)})"
    returns = o.signature.returns
    if len(returns) > 1:
        lines.append(f"  const auto results = {call};")
        members = ", ".join(f"scope.result(results[{i}])" for i in range(len(returns)))
        lines.append(f"  return {{{members}}};")
    elif returns[0] == "Tensor[]":
        lines.append(f"  return results(scope, {call});")
    elif o.signature.parameter("requires_grad") is not None:
        lines.append(f"  Tensor result = scope.result({call});")
        lines.append("  if (requires_grad) result.set_requires_grad(true);")
        lines.append("  return result;")
    else:
        lines.append(f"  return scope.result({call});")
    return [*lines, "}", ""]


def _inplace(o: Operation) -> list[str]:
    lines = [_inplace_declaration(o, False) + " {"]
    lines.append(f'  OpScope scope("{o.name}_");')
    uses, arguments = _uses(o, o.value_parameters)
    lines += ["  " + line for line in uses]
    write = "write_everywhere" if o.uniform else "write"
    lines.append(f"  return {write}(scope, input, values::{o.cpp_name}({', '.join(arguments)}));")
    return [*lines, "}", ""]


def write_functions_source(topic: str, operations: list[Operation]) -> str:
    lines = [
        HEAD + '#include "generated/functions.h"\n',
        '#include "generated/values.h"',
        '#include "trace/ops/operands.h"',
        "",
        "namespace tenon {",
        "",
    ]
    for o in operations:
        if o.topic != topic:
            continue
        if o.kind != "tensor":
            lines += _function(o)
            if o.inplace:
                lines += _inplace(o)
        if not _is_method(o):
            continue
        for name, result, present in (
            (o.cpp_name, tensor_result(o), True),
            (f"{o.name}_", "const Tensor&", o.inplace),
        ):
            if not present:
                continue
            parameters = _method_parameters(o)
            arguments = ", ".join(
                "*this" if p is o.signature.parameters[0] else p.cpp_name for p in o.parameters
            )
            lines.append(_declare(f"Tensor::{name}", result, parameters, False, False) + " const {")
            lines += [f"  return tenon::{name}({arguments});", "}", ""]
    lines += ["}  // namespace tenon", ""]
    return "\n".join(lines)

"""Operations -> bindings: one C function a name, called with CPython's vector call."""

from __future__ import annotations

from .docs import docstring, inplace_docstring
from .operations import Operation
from .signature import UNSET, Parameter

HEAD = "// Generated from spec/ops/.\n"
_KINDS = {
    "Tensor": "Tensor",
    "Operand": "Operand",
    "Scalar": "Scalar",
    "float": "Float",
    "int": "Int",
    "bool": "Bool",
    "str": "Str",
    "dtype": "DType",
    "device": "Device",
    "Generator": "Generator",
    "ignored": "Ignored",
}
_LISTS = {"int": "Ints", "extent": "Extents", "float": "Floats", "Tensor": "Tensors"}
# PyTorch's and NumPy's other names of a parameter.
SYNONYMS = {"dim": "axis", "keepdim": "keepdims", "input": "self", "other": "x2"}


def kind_of(p: Parameter) -> str:
    return _LISTS[p.type.base] if p.type.is_list else _KINDS[p.type.base]


def _argument(p: Parameter, index: int) -> str:
    """The C++ argument read from slot `index`."""
    slot = f"slots[{index}]"
    reader = f"to_{kind_of(p).lower()}"
    if p.type.base == "Generator":
        return f"to_generator({slot})"
    if p.type.is_value and p.type.optional:
        suffix = "_or_none"
        return f"{reader}{suffix}({slot})"
    if p.type.is_value:
        return f"{reader}({slot})"
    if p.type.optional and p.default is not UNSET and p.default is not None:
        return f"optional_or({slot}, {reader}, {_typed_default(p, p.cpp_default(False))})"
    if p.type.optional:
        return f"optional({slot}, {reader})"
    default = p.cpp_default(for_values=False)
    if p.variadic:
        return f"to_ints({slot})"
    if p.default is UNSET:
        return f"{reader}({slot})"
    return f"({slot} ? {reader}({slot}) : {_typed_default(p, default)})"


def _typed_default(p: Parameter, default: str) -> str:
    if p.type.base == "Scalar":
        return f"Scalar({default})"
    if p.type.base == "str":
        return f"std::string_view({default})"
    if p.type.is_list:
        plain = {
            "Ints": "IntList",
            "Extents": "IntList",
            "Floats": "FloatList",
            "Tensors": "TensorList",
        }[kind_of(p)]
        return f"{plain}{default}" if default.startswith("{") else f"{plain}({default})"
    if p.type.base == "int":
        return f"int64_t{{{default}}}"
    return default


def _signature_literal(o: Operation, name: str, inplace: bool) -> str:
    parts = []
    for p in o.signature.parameters:
        kind = kind_of(p)
        if inplace and p is o.signature.parameters[0]:
            kind = "Tensor"
        flags = []
        if p.required:
            flags.append("kRequired")
        if p.keyword_only:
            flags.append("kKeywordOnly")
        if p.variadic:
            flags.append("kVariadic")
        if p.type.optional or p.type.base == "ignored":
            flags.append("kOptional")
        other = SYNONYMS.get(p.name, "")
        shown = p.name.rstrip("_") if p.name == "from_" else p.name
        parts.append(f'{{"{shown}", "{other}", Kind::{kind}, {" | ".join(flags) or "0"}}}')
    text = o.signature.text.replace('"', '\\"')
    return f'{{"{name}", "{text}", {{{", ".join(parts)}}}}}'


def _ordered_arguments(o: Operation) -> list[tuple[int, Parameter]]:
    places = {p.name: i for i, p in enumerate(o.signature.parameters)}
    return [(places[p.name], p) for p in o.parameters]


def _call(o: Operation, inplace: bool) -> list[str]:
    arguments = []
    for i, p in _ordered_arguments(o):
        if inplace and i == 0:
            arguments.append(f"to_tensor(slots[{i}])")
        else:
            arguments.append(_argument(p, i))
    name = f"{o.name}_" if inplace else o.cpp_name
    call = f"tenon::{name}({', '.join(arguments)})"
    if inplace:
        return [f"{call};", "return Py_NewRef(slots[0]);"]
    returns = o.signature.returns
    if len(returns) > 1:
        return [f"return wrap_named({call}, {_return_type(o)});"]
    if returns[0] == "None":
        return [f"{call};", "Py_RETURN_NONE;"]
    if o.self_returning:
        return [f"return wrap_or_same({call}, slots[0]);"]
    flags = [i for i, p in enumerate(o.signature.parameters) if p.name == "inplace"]
    if flags:  # of the functionals: the result is stored in the input
        flag = f"slots[{flags[0]}]"
        return [
            f"Tensor result = {call};",
            f"if ({flag} == nullptr || !to_bool({flag})) return wrap(std::move(result));",
            "tenon::copy_(to_tensor(slots[0]), result);",
            "return Py_NewRef(slots[0]);",
        ]
    return [f"return wrap({call});"]


def _return_type(o: Operation) -> str:
    return f"return_type_{o.name}_{'_'.join(o.signature.return_names)}()"


def _literal(text: str) -> str:
    """The inside of a C string literal."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def groups_of(topic: str, operations: list[Operation]) -> dict[str, list[Operation]]:
    """The overloads of each name, more specific ones ("max.dim") after the plain one."""
    groups: dict[str, list[Operation]] = {}
    for o in operations:
        if o.topic == topic:
            groups.setdefault(o.name, []).append(o)
    return groups


def _out_lines(c_name: str, group: list[Operation]) -> list[str]:
    """`out=`: a result that was promoted may be cast to what receives it, others must have its
    dtype; and it may be an operand, but not a part of one."""
    if not all(set(o.signature.returns) == {"Tensor"} for o in group):
        return []
    casts = any(o.promote != "none" or o.kind == "elementwise" for o in group)
    sharing = "None" if any(o.apart for o in group) else "Whole" if casts else "Any"
    return [
        f"  if (has_out(self, names)) return call_with_out({c_name}, "
        f"{'true' if casts else 'false'}, Sharing::{sharing}, args, nargs, names);"
    ]


def _function(name: str, group: list[Operation], inplace: bool) -> list[str]:
    suffix = "_" if inplace else ""
    c_name = f"py_{name}{suffix}"
    signatures = ",\n      ".join(_signature_literal(o, name + suffix, inplace) for o in group)
    lines = [
        f"PyObject* {c_name}(PyObject* self, PyObject* const* args, Py_ssize_t nargs, "
        "PyObject* names) {",
        *([] if inplace else _out_lines(c_name, group)),
        "  return guarded([&]() -> PyObject* {",
        f"    static const Overloads overloads{{{{\n      {signatures}}}}};",
        "    PyObject* slots[kMostParameters];",
        "    Holder holder;",
        "    switch (overloads.bind(self, args, nargs, names, slots, holder)) {",
    ]
    for i, o in enumerate(group):
        label = f"      case {i}: {{" if i + 1 < len(group) else "      default: {"
        lines += [label, *("        " + line for line in _call(o, inplace)), "      }"]
    lines += ["    }", "  });", "}", ""]
    return lines


def write_bindings(topic: str, operations: list[Operation]) -> str:
    lines = [
        HEAD + '#include "generated/functions.h"\n',
        '#include "python/arguments.h"',
        '#include "generated/bindings.h"',
        "",
        "namespace tenon::python {",
        "namespace {",
        "",
    ]
    table: list[str] = []
    seen_returns: set[str] = set()
    for name, group in groups_of(topic, operations).items():
        for o in group:
            if len(o.signature.returns) > 1 and _return_type(o) not in seen_returns:
                seen_returns.add(_return_type(o))
                fields = ", ".join(f'"{n}"' for n in o.signature.return_names)
                lines += [
                    f"PyObject* {_return_type(o)} {{",
                    f'  static PyObject* type = make_return_type("{o.name}", {{{fields}}});',
                    "  return type;",
                    "}",
                    "",
                ]
        lines += _function(name, group, False)
        doc = _literal(docstring(group))
        method = "true" if any(o.method for o in group) else "false"
        function = "true" if any(o.function for o in group) else "false"
        functional = "true" if any(o.functional for o in group) else "false"
        names = [name, *(alias for o in group for alias in o.aliases)]
        for alias in names:
            table.append(
                f'    {{"{alias}", py_{name}, "{doc}", {function}, {method}, {functional}}},'
            )
        inplace = [o for o in group if o.inplace]
        if inplace:
            lines += _function(name, inplace, True)
            for alias in names:
                if "." in alias:
                    continue
                shown = "normal" if alias == "normal_fill" else alias
                inplace_doc = _literal(inplace_docstring(alias, group))
                table.append(
                    f'    {{"{shown}_", py_{name}_, "{inplace_doc}", false, true, false}},'
                )
    lines += ["}  // namespace", "", f"std::span<const Binding> bindings_{topic}() {{"]
    lines += ["  static const Binding table[] = {", *table, "  };", "  return table;", "}", ""]
    lines += ["}  // namespace tenon::python", ""]
    return "\n".join(lines)


def write_bindings_header(topics: list[str]) -> str:
    declarations = "\n".join(f"std::span<const Binding> bindings_{topic}();" for topic in topics)
    calls = ", ".join(f"bindings_{topic}()" for topic in topics)
    return f"""{HEAD}#pragma once

#include <array>
#include <span>

#include "python/arguments.h"

namespace tenon::python {{

{declarations}
inline std::array<std::span<const Binding>, {len(topics)}> all_bindings() {{ return {{{calls}}}; }}

}}  // namespace tenon::python
"""

"""Operations -> type stubs of the extension's generated functions and methods."""

from __future__ import annotations

from .operations import Operation
from .signature import UNSET, Parameter

_HEAD = """# Generated from spec/ops/.
from collections.abc import Sequence
from typing import NamedTuple, overload

from ._types import Generator, Number, Tensor, device, dtype

"""


def _parameter(p: Parameter) -> str:
    name = "from_" if p.name == "from_" else p.name
    if p.variadic:
        return f"*{name}: int | Sequence[int]"
    text = f"{name}: {p.type.python()}"
    if p.default is not UNSET:
        text += " = ..."
    return text


def _result(o: Operation) -> str:
    if len(o.signature.returns) > 1:
        return "tuple[" + ", ".join("Tensor" for _ in o.signature.returns) + "]"
    return {"Tensor[]": "list[Tensor]", "Scalar": "Number"}.get(
        o.signature.returns[0], o.signature.returns[0]
    )


def _line(o: Operation, name: str, method: bool, indent: str) -> str:
    parts: list[str] = []
    keyword_only = any(p.variadic for p in o.signature.parameters)
    for p in o.signature.parameters:
        if p.keyword_only and not keyword_only:
            parts.append("*")
            keyword_only = True
        parts.append("self" if method and p is o.signature.parameters[0] else _parameter(p))
    return f"{indent}def {name}({', '.join(parts)}) -> {_result(o)}: ...\n"


def write_stubs(operations: list[Operation]) -> str:
    groups: dict[str, list[Operation]] = {}
    for o in operations:
        groups.setdefault(o.name, []).append(o)
    functions: list[str] = []
    methods: list[str] = ["class TensorOperations:\n"]
    for name, group in groups.items():
        names = [name, *(a for o in group for a in o.aliases if "." not in a)]
        for shown in names:
            for o in group:
                mark = "@overload\n" if len(group) > 1 else ""
                functions.append(mark + _line(o, shown, False, ""))
            with_method = [o for o in group if o.method]
            for o in with_method:
                mark = "    @overload\n" if len(with_method) > 1 else ""
                methods.append(mark + _line(o, shown, True, "    "))
            inplace = [o for o in with_method if o.inplace]
            for o in inplace:
                mark = "    @overload\n" if len(inplace) > 1 else ""
                methods.append(mark + _line(o, f"{shown}_", True, "    "))
    return _HEAD + "".join(functions) + "\n" + "".join(methods)

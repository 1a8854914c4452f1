"""Operations -> type stubs, for type checkers and editors.

`_C.pyi` declares the extension: what `spec/extension.pyi` says by hand, and the generated methods
of Tensor. `_operations.pyi` and its like declare the functions of a namespace; no module of that
name exists, the package imports them for type checkers only.

Names such as `tenon.float` and `Tensor.dtype` hide Python's and the package's own types, so that
annotations use private names of these.
"""

from __future__ import annotations

import re

from .operations import MODULES, Operation
from .signature import UNSET, Parameter

GENERATED_METHODS = "    # generated: methods of the operations\n"
_HEAD = """# Generated from spec/ops/.
from collections.abc import Sequence
from typing import NamedTuple, overload

from ._C import Generator, Tensor, _bool, _device, _dtype, _float, _int, _Number, _str

"""
_PRIVATE = re.compile(r"\b(int|float|bool|str|dtype|device|Number)\b")


def _type(text: str) -> str:
    return _PRIVATE.sub(lambda found: "_" + found.group(), text)


def _parameter(p: Parameter) -> str:
    if p.variadic:
        return f"*{p.name}: {_type('int | Sequence[int]')}"
    text = f"{p.name}: {_type(p.type.python())}"
    if p.default is not UNSET:
        text += " = ..."
    return text


def _result_class(o: Operation) -> str:
    return "_" + "_".join((o.name, *o.signature.return_names))


def _result(o: Operation) -> str:
    if len(o.signature.returns) > 1:
        return _result_class(o)
    returns = o.signature.returns[0]
    return {"Tensor[]": "tuple[Tensor, ...]"}.get(returns) or _type(
        {"Scalar": "Number"}.get(returns, returns)
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


def _declare(group: list[Operation], name: str, method: bool = False) -> str:
    indent = "    " if method else ""
    mark = f"{indent}@overload\n" if len(group) > 1 else ""
    return "".join(mark + _line(o, name, method, indent) for o in group)


def _groups(operations: list[Operation]) -> dict[str, list[Operation]]:
    groups: dict[str, list[Operation]] = {}
    for o in operations:
        groups.setdefault(o.name, []).append(o)
    return groups


def _names(group: list[Operation]) -> list[str]:
    """A name and its aliases; those of a submodule as `module.name`."""
    first = group[0]
    name = f"{first.module}.{first.name}" if first.module else first.name
    return list(dict.fromkeys([name, *(alias for o in group for alias in o.aliases)]))


def _result_classes(operations: list[Operation]) -> str:
    classes = {}
    for o in operations:
        if len(o.signature.returns) > 1:
            fields = "".join(f"    {name}: Tensor\n" for name in o.signature.return_names)
            classes[_result_class(o)] = f"class {_result_class(o)}(NamedTuple):\n{fields}\n"
    return "".join(classes.values())


def write_extension_stub(by_hand: str, operations: list[Operation]) -> str:
    """_C.pyi."""
    methods: list[str] = []
    for group in _groups(operations).values():
        for name in _names(group):
            if "." in name:
                continue
            with_method = [o for o in group if o.method]
            if with_method:
                methods.append(_declare(with_method, name, method=True))
            inplace = [o for o in group if o.inplace]
            if inplace:
                shown = "normal" if name == "normal_fill" else name
                methods.append(_declare(inplace, f"{shown}_", method=True))
    before, mark, after = by_hand.partition(GENERATED_METHODS)
    if not mark:
        raise ValueError(f"extension.pyi lacks the line {GENERATED_METHODS!r}")
    head = "# Generated from spec/.\nfrom typing import NamedTuple\n"
    return head + before + "".join(methods) + after + "\n" + _result_classes(operations)


def write_function_stubs(operations: list[Operation]) -> dict[str, str]:
    """The text of each stub of functions, by file name."""
    spaces: dict[str, list[str]] = {"operations": [], "functional": []}
    spaces.update({module: [] for module in MODULES if module})
    for group in _groups(operations).values():
        for name in _names(group):
            module, _, bare = name.rpartition(".")
            if module:
                spaces[module].append(_declare(group, bare))
                continue
            for space, shown in (
                ("operations", [o for o in group if o.function]),
                ("functional", [o for o in group if o.functional]),
            ):
                if shown:
                    spaces[space].append(_declare(group, bare))
    head = _HEAD + _result_classes(operations)
    return {f"_{space}.pyi": head + "".join(lines) for space, lines in spaces.items()}

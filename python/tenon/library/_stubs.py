"""Stubs of declared operations, for type checkers and editors.

python -m tenon.library OUT.pyi MODULE...      # imports the modules that declare them
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from textwrap import indent
from typing import Any

from ._operation import CustomOpDef
from ._schema import Argument, Schema

_TYPES = {"str": "str", "Scalar": "bool | int | float", "Tensor": "Tensor"}


def _annotation(argument: Argument) -> str:
    base = argument.base
    item = base.removesuffix("[]")
    text = _TYPES.get(item, item)
    if base.endswith("[]"):
        text = f"Sequence[{text}]"
    return f"{text} | None" if argument.is_optional else text


def _parameters(schema: Schema) -> str:
    parts = []
    for argument in schema.arguments:
        if argument.keyword_only and "*" not in parts:
            parts.append("*")
        default = " = ..." if argument.has_default else ""
        parts.append(f"{argument.name}: {_annotation(argument)}{default}")
    return ", ".join(parts)


def _returns(schema: Schema) -> str:
    if schema.gives_list:
        return "list[Tensor]"
    return "Tensor" if len(schema.returns) == 1 else f"tuple[{', '.join(schema.returns)}]"


def stub_of(op: CustomOpDef) -> str:
    """The declaration of one operation, as a static method."""
    doc = (op.__doc__ or "").strip()
    body = f'"""{doc}"""' if doc else "..."
    head = f"def {op.__name__}({_parameters(op._schema)}) -> {_returns(op._schema)}:"
    return f"@staticmethod\n{head}\n{indent(body, '    ')}"


def write_stubs(path: Any, operations: Iterable[CustomOpDef] | None = None) -> None:
    """Writes a .pyi of declared operations (all, or these): a class a space, as tn.ops has them.

    `python -m tenon.library OUT.pyi MODULE...` does it for the operations that modules declare.

    Example::

        >>> import os, tempfile
        >>> op = tn.library.define("docs::drawn", "(Tensor x, int n=1) -> Tensor")
        >>> path = os.path.join(tempfile.mkdtemp(), "ops.pyi")
        >>> tn.library.write_stubs(path, [op])
        >>> print(open(path).read())
        from collections.abc import Sequence
        <BLANKLINE>
        from tenon import Tensor
        <BLANKLINE>
        class docs:
            @staticmethod
            def drawn(x: Tensor, n: int = ...) -> Tensor:
                ...
        <BLANKLINE>
    """
    from . import _operations

    by_space: dict[str, list[CustomOpDef]] = {}
    for op in _operations.values() if operations is None else operations:
        by_space.setdefault(op.name.split("::")[0], []).append(op)
    parts = ["from collections.abc import Sequence", "from tenon import Tensor"]
    for space in sorted(by_space):
        methods = [stub_of(op) for op in sorted(by_space[space], key=lambda op: op.name)]
        parts.append(f"class {space}:\n" + indent("\n".join(methods), "    "))
    Path(path).write_text("\n\n".join(parts) + "\n", encoding="utf-8")

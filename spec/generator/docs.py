"""Operations -> what their docstrings and the reference page say of them."""

from __future__ import annotations

import json
from textwrap import fill, indent
from typing import Any

from .operations import Operation
from .primitives import Primitive

_DTYPES = {
    "none": "",
    "float": "any; integers and bools become the default dtype",
    "common": "any; the operands meet in their common one",
}


def doctest(*examples: tuple[str, str]) -> str:
    """Calls with what they give, as a doctest."""
    calls = [indent(f">>> {call}\n{gives.strip()}", "    ") for call, gives in examples]
    return "\n".join(["Example::", "", *calls])


_TAKEN = {"any": "", "numbers": "any but bool", "floating": "floating"}


def dtypes_of(o: Operation) -> str:
    return o.dtypes or _TAKEN[o.takes] or _DTYPES[o.promote]


def error_text(error: dict[str, Any]) -> str:
    run = ", when it is computed" if error.get("run") else ""
    return f"{error['raises']} {error['when']}{run}"


def facts(o: Operation) -> list[str]:
    """What fits and what fails, a line each."""
    said = {
        "Shape": o.shape,
        "Dtypes": dtypes_of(o),
        "Errors": "; ".join(error_text(error) for error in (*o.errors, *o.refused_errors)),
        "Source": o.source,
    }
    return [f"{label}: {text}." for label, text in said.items() if text]


def docstring(group: list[Operation]) -> str:
    """Of the overloads of a name: their signatures, each one's description, all examples."""
    parts = ["\n".join(o.signature.text for o in group)]
    for o in group:
        lines = [fill(line, 96, subsequent_indent="  ") for line in facts(o)]
        space = [""] if lines and len(group) == 1 else []
        parts.append("\n".join([fill(o.doc.strip(), 96), *space, *lines]))
    examples = [(o.example, o.gives) for o in group if o.example]
    return "\n\n".join([*parts, *([doctest(*examples)] if examples else [])])


def inplace_docstring(name: str, group: list[Operation]) -> str:
    """Refers to the operation whose result is stored, and repeats what is said of it."""
    return (
        f"In-place form of {name}: stores the result in the tensor and returns it.\n"
        "Errors: RuntimeError for a result that doesn't fit its size or dtype.\n\n"
        + docstring(group)
    )


# Where an operation isn't written in the spec's own language, what is said of its formula.
_BY_HAND = {
    "value": "Composed of primitives of the trace in C++ (`values::{name}` in `trace/ops/`).",
    "view": "A view, by movements of the trace (`view_{name}` in `trace/ops/`).",
    "tensor": "Composed of other operations in C++ (`tenon::{name}` in `trace/ops/`).",
}


def _formula(o: Operation, primitives: dict[str, Primitive]) -> str:
    if o.kind == "composed":
        return f"`{' '.join(o.body.split())}`"
    if o.kind == "elementwise":
        return f"The primitive `{o.primitive}`: {primitives[o.primitive].doc}"
    return _BY_HAND[o.kind].format(name=o.name)


def _names(o: Operation) -> list[str]:
    """How it is called from Python, by the name that comes first."""
    own = o.name.removeprefix(f"{o.module.removeprefix('signal_')}_") if o.module else o.name
    names = [f"{o.module.replace('_', '.')}.{own}"] if o.module else []
    names += [f"nn.functional.{o.name}"] if o.functional else []
    names += [o.name] if o.function and not o.module else []
    names += [alias.replace("signal_windows", "signal.windows") for alias in o.aliases]
    names += [f"Tensor.{o.name}"] if o.method else []
    names += [f"Tensor.{o.name}_"] if o.inplace else []
    return list(dict.fromkeys(names))


def write_reference(operations: list[Operation], primitives: dict[str, Primitive]) -> str:
    """What `python -m tenon.reference` makes its pages of."""
    entries = [
        {
            "key": o.key,
            "name": o.name,
            "group": o.topic,
            "names": _names(o),
            "signature": o.signature.text,
            "doc": o.doc.strip(),
            "shape": o.shape,
            "elementwise": o.kind == "elementwise" or o.promote == "common",
            "dtypes": dtypes_of(o),
            "errors": [error_text(error) for error in (*o.errors, *o.refused_errors)],
            "formula": _formula(o, primitives),
            "source": o.source,
            "example": o.example,
            "gives": o.gives.strip(),
        }
        for o in operations
    ]
    return json.dumps(entries, indent=1) + "\n"

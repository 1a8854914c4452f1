"""Operations -> what their docstrings and the reference page say of them."""

from __future__ import annotations

from textwrap import fill, indent
from typing import Any

from .operations import Operation

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


def write_reference(operations: list[Operation]) -> str:
    lines = ["# Operations", "", "Generated from `spec/ops/`. `T?` is optional, `T[]` a list.", ""]
    topic = ""
    for o in operations:
        if o.topic != topic:
            topic = o.topic
            lines += [f"## {topic.capitalize()}", ""]
        lines += [f"### {o.key}", "", f"    {o.signature.text}", "", o.doc.strip(), ""]
        if facts(o):
            lines += ["  \n".join(facts(o)), ""]
        forms = []
        if o.function:
            forms.append(f"`tenon.{o.name}`")
        if o.method:
            forms.append(f"`Tensor.{o.name}`")
        if o.inplace:
            forms.append(f"`Tensor.{o.name}_`")
        if o.functional:
            forms.append(f"`tenon.nn.functional.{o.name}`")
        forms += [f"`tenon.{alias}`" for alias in o.aliases]
        if forms:
            lines += ["Also: " + ", ".join(forms) + ".", ""]
        if o.example:
            lines += [f"    >>> {o.example}", indent(o.gives.strip(), "    "), ""]
    return "\n".join(lines)

"""Operations -> reference page."""

from __future__ import annotations

from .operations import Operation


def write_reference(operations: list[Operation]) -> str:
    lines = ["# Operations", "", "Generated from `spec/ops/`. `T?` is optional, `T[]` a list.", ""]
    topic = ""
    for o in operations:
        if o.topic != topic:
            topic = o.topic
            lines += [f"## {topic.capitalize()}", ""]
        lines += [f"### {o.key}", "", f"    {o.signature.text}", "", o.doc.strip(), ""]
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
        for error in o.errors:
            lines += [f"`{error['call']}` raises `{error['raises']}`.", ""]
        if o.fails == "run":
            lines += ["What only the data tells is checked when the program runs.", ""]
        if o.example:
            lines += [f"    >>> {o.example}", ""]
    return "\n".join(lines)

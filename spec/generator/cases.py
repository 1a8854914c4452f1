"""Operations -> the table from which tests/python/test_spec.py makes its cases."""

from __future__ import annotations

import json

from .operations import Operation

_LETTER = {
    "real": "F",
    "positive": "P",
    "unit": "U",
    "above_one": "A",
    "integer": "I",
    "bool": "B",
}


def _samples(o: Operation) -> list[str]:
    if "samples" in o.entry.values:
        return list(o.samples)
    required = [p for p in o.signature.parameters if p.required]
    tensors = [p for p in required if p.type.is_value]
    if len(tensors) != len(required) or not tensors:
        return []
    letter = _LETTER[o.domain]
    shapes = ["(3, 4)", "(4)", "(3, 1)"]
    first = ", ".join(f"{letter}{shape}" for shape in shapes[: len(tensors)])
    scalars = ", ".join(f"{letter}()" for _ in tensors)
    empty = ", ".join(f"{letter}(0, 4)" for _ in tensors)
    return [first, scalars, empty]


def write_cases(operations: list[Operation]) -> str:
    cases = []
    for o in operations:
        cases.append(
            {
                "key": o.key,
                "name": o.name,
                "function": o.function,
                "method": o.method,
                "functional": o.functional,
                "inplace": o.inplace,
                "aliases": list(o.aliases),
                "reference": o.reference,
                "samples": _samples(o),
                "errors": [dict(error) for error in o.errors],
                "differentiable": o.differentiable and o.domain not in ("integer", "bool"),
                "random": o.random,
                "results": len(o.signature.returns),
                "returns": o.signature.returns[0],
            }
        )
    return json.dumps(cases, indent=1) + "\n"

"""Operations -> the table from which tests/python/test_spec.py makes its cases."""

from __future__ import annotations

import json

from .operations import Operation


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
                "samples": o.sample_calls,
                "errors": [dict(error) for error in (*o.errors, *o.refused_errors)],
                "differentiable": o.differentiable and o.domain not in ("integer", "bool"),
                "random": o.random,
                "takes": o.takes,
                "results": len(o.signature.returns),
                "returns": o.signature.returns[0],
            }
        )
    return json.dumps(cases, indent=1) + "\n"

"""Any operation of the spec on one of its own samples: instructions `spec.*`.

A tensor of the program shifts the sample's real tensors by a little, and what the operation gives
is brought into eight numbers, so that values and gradients pass through. The modes are compared
with each other; what PyTorch says of the samples is in tests/python/test_spec.py.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tests.fuzz.programs import Instruction
from tests.spec_cases import Samples, load_cases

SHIFT = 0.004  # small enough that samples stay in the operations' domains
SHOWN = 8
# What can't be one instruction of many, and why.
LEFT_OUT = {
    "empty_like": "gives memory as it is",
    "new_empty": "gives memory as it is",
    "empty": "gives memory as it is",
    "resize": "changes the object",
}


@cache
def cases() -> dict[str, dict[str, Any]]:
    """Those that can be drawn: with samples, not random."""
    return {
        case["key"]: case
        for case in load_cases()
        if case["samples"] and not case["random"] and case["name"] not in LEFT_OUT
    }


@cache
def left_out() -> dict[str, str]:
    """Why others can't."""
    reasons = {}
    for case in load_cases():
        if case["name"] in LEFT_OUT:
            reasons[case["key"]] = LEFT_OUT[case["name"]]
        elif not case["samples"]:
            reasons[case["key"]] = "has no sample"
        elif case["random"]:
            reasons[case["key"]] = "draws random numbers: drawn in programs of its own"
    return reasons


def draw(drawer: Any) -> tuple[Instruction, Any] | None:
    i = drawer.pick("float")
    if i is None:
        return None
    key = drawer.random.choice(sorted(cases()))
    sample = drawer.random.randrange(len(cases()[key]["samples"]))
    value = drawer.fresh((SHOWN,), 1.0, drawer.known[i].varies)
    return Instruction(f"spec.{key}", [i], {"sample": sample}), value


def tensors(m: Any, result: Any) -> list[Any]:
    if isinstance(result, m.Tensor):
        return [result]
    if isinstance(result, (tuple, list)):
        return [x for item in result for x in tensors(m, item)]
    return []


def apply(m: Any, name: str, operands: list[Any], o: dict[str, Any]) -> Any:
    x = operands[0]
    case = cases()[name]
    shift = x.reshape(-1)[:1].sum().sin() * SHIFT if 0 not in x.shape else x.sum()

    sample = case["samples"][o["sample"]]
    if not case["differentiable"] or "geqrf" in sample:
        shift = shift.detach()

    class Shifted(Samples):
        def _float(self, values: Any) -> Any:
            return super()._float(values) + shift.to(m.float32)

    args, kwargs = Shifted(m, sample, m.float32).evaluate()
    result = m._C._all[case["name"]](*args, **kwargs)
    found = [m.view_as_real(y) if y.is_complex() else y for y in tensors(m, result)]
    flat = [y.reshape(-1)[:SHOWN].to(x.dtype) for y in found if y.numel()]
    flat.append((shift + 0.5).reshape(1).to(x.dtype))
    joined = m.cat(flat)
    return joined[m.arange(SHOWN) % joined.shape[0]].tanh()

"""Element by element: PyTorch's functions, most of them under the same name."""

from __future__ import annotations

from tenon import Tensor

SAME = [
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "divide",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log10",
    "log1p",
    "log2",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "matmul",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "positive",
    "pow",
    "real",
    "reciprocal",
    "remainder",
    "round",
    "signbit",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "trunc",
    "where",
]
# Tenon's name, by the standard's.
ELEMENTWISE = {
    **{name: name for name in SAME},
    "bitwise_invert": "bitwise_not",
    "equal": "eq",
    "sign": "sgn",
}

Bound = int | float | Tensor | None


def clip(x: Tensor, /, min: Bound = None, max: Bound = None) -> Tensor:
    """x between two bounds, which broadcast; of x's dtype."""
    if min is None and max is None:
        return x.clone()
    return x.clamp(min, max).to(x.dtype)

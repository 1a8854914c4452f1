"""Whether two results agree: sizes, dtypes, values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import tenon as tn
from tests.opdb.convert import leaves, name_of, numbers

# Relative; absolute errors may be as large in proportion to the largest element.
TOLERANCE = {
    "float16": 4e-3,
    "bfloat16": 3e-2,
    "float32": 1e-4,
    "complex64": 1e-4,
    "float64": 1e-7,
    "complex128": 1e-7,
}


class Differs(Exception):
    """A result is not PyTorch's."""


def _flat(result: Any) -> list[Any]:
    if isinstance(result, (torch.Tensor, tn.Tensor)):
        return [result]
    if isinstance(result, dict):
        return [x for item in result.values() for x in _flat(item)]
    if isinstance(result, (tuple, list)):
        return [x for item in result for x in _flat(item)]
    return [result]


def agree_arrays(a: np.ndarray, b: np.ndarray, tolerance: float, what: str = "values") -> None:
    if a.shape != b.shape:
        raise Differs(f"{what}: shape {a.shape}, not {b.shape}")
    if a.size == 0:
        return
    if tolerance == 0 or a.dtype.kind in "biu":
        same = np.array_equal(a, b)
    else:
        finite = np.abs(b[np.isfinite(b)])
        scale = max(finite.max(initial=0.0), 1e-3 if tolerance < 1e-3 else 1.0)
        same = np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    if not same:
        index = np.unravel_index(
            np.argmax(~np.isclose(a, b, tolerance, 0, equal_nan=True)), a.shape
        )
        raise Differs(f"{what}: {a[index]}, not {b[index]} at {[int(i) for i in index]}")


def agree(found: Any, expected: Any, random: bool = False, loosen: float = 1.0) -> None:
    """Raises Differs unless found (Tenon's) is expected (PyTorch's)."""
    a, b = _flat(found), _flat(expected)
    if len(a) != len(b):
        raise Differs(f"{len(a)} results, not {len(b)}")
    for x, y in zip(a, b, strict=True):
        if isinstance(y, torch.Tensor):
            if not isinstance(x, (tn.Tensor, torch.Tensor)):
                raise Differs(f"a {type(x).__name__}, not a tensor")
            if tuple(x.shape) != tuple(y.shape):
                raise Differs(f"shape {tuple(x.shape)}, not {tuple(y.shape)}")
            if name_of(x.dtype) != name_of(y.dtype):
                raise Differs(f"dtype {name_of(x.dtype)}, not {name_of(y.dtype)}")
            if random:
                tn.eval(*leaves(x))
            else:
                tolerance = TOLERANCE.get(name_of(y.dtype), 0.0) * loosen
                agree_arrays(numbers(x), numbers(y), tolerance)
        elif isinstance(y, (torch.dtype, torch.device, torch.Size)):
            if str(x).split(".")[-1] != str(y).split(".")[-1]:
                raise Differs(f"{x}, not {y}")
        elif isinstance(y, float) and isinstance(x, float):
            agree_arrays(np.asarray(x), np.asarray(y), 1e-4)
        elif x != y and not (x != x and y != y):
            raise Differs(f"{x}, not {y}")


def equal_bits(a: Any, b: Any) -> None:
    """Two results of Tenon's, bit for bit (a NaN is any NaN)."""
    for x, y in zip(leaves(a), leaves(b), strict=True):
        p, q = numbers(x), numbers(y)
        if p.tobytes() != q.tobytes() and not (
            p.dtype.kind in "fc" and np.array_equal(p, q, equal_nan=True)
        ):
            raise Differs("fused and interpreted differ")

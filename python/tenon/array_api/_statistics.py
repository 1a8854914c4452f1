"""Reductions, running reductions and products."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

import tenon as tn
from tenon import Tensor

from ._dtypes import isdtype, result_type

Axis = int | tuple[int, ...] | None


def _axes(x: Tensor, axis: Axis) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    return (axis,) if isinstance(axis, int) else axis


def _sum_dtype(x: Tensor, dtype: tn.dtype | None) -> tn.dtype | None:
    if dtype is None and isdtype(x.dtype, "unsigned integer"):
        return tn.uint64
    return dtype


def sum(
    x: Tensor,
    /,
    *,
    axis: Axis = None,
    dtype: tn.dtype | None = None,
    keepdims: builtins.bool = False,
) -> Tensor:
    """Sum over axes, by default all; integers add in 64 bits."""
    if axis == ():
        return x.clone() if dtype is None else x.to(dtype)
    return tn.sum(x, _axes(x, axis), keepdims, dtype=_sum_dtype(x, dtype))


def prod(
    x: Tensor,
    /,
    *,
    axis: Axis = None,
    dtype: tn.dtype | None = None,
    keepdims: builtins.bool = False,
) -> Tensor:
    """Product over axes, by default all; integers multiply in 64 bits."""
    dtype = _sum_dtype(x, dtype)
    axes = sorted((a % x.ndim for a in _axes(x, axis)), reverse=True)
    if not axes:
        return tn.prod(x, dtype=dtype) if x.ndim == 0 else x.to(dtype or x.dtype)
    for each in axes:
        x = tn.prod(x, each, keepdims, dtype=dtype)
    return x


def mean(x: Tensor, /, *, axis: Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """Mean over axes, by default all."""
    return tn.mean(x, _axes(x, axis), keepdims)


def max(x: Tensor, /, *, axis: Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """Largest element over axes, by default all."""
    return tn.amax(x, _axes(x, axis), keepdims)


def min(x: Tensor, /, *, axis: Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """Smallest element over axes, by default all."""
    return tn.amin(x, _axes(x, axis), keepdims)


def var(
    x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: builtins.bool = False
) -> Tensor:
    """Variance over axes, by default all: squares are divided by N - correction."""
    return tn.var(x, _axes(x, axis), correction=correction, keepdim=keepdims)


def std(
    x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: builtins.bool = False
) -> Tensor:
    """Standard deviation over axes, by default all: squares are divided by N - correction."""
    return tn.std(x, _axes(x, axis), correction=correction, keepdim=keepdims)


def all(x: Tensor, /, *, axis: Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """Whether all elements are true, over axes, by default all."""
    return tn.all(x != 0, _axes(x, axis), keepdims)


def any(x: Tensor, /, *, axis: Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """Whether some element is true, over axes, by default all."""
    return tn.any(x != 0, _axes(x, axis), keepdims)


def _running_axis(x: Tensor, axis: int | None) -> int:
    if axis is None:
        if x.ndim != 1:
            raise ValueError("an array of several dimensions needs an axis")
        return 0
    return axis


def cumulative_sum(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: tn.dtype | None = None,
    include_initial: builtins.bool = False,
) -> Tensor:
    """Sums of the elements up to each, after a 0 with include_initial."""
    axis = _running_axis(x, axis)
    y = tn.cumsum(x, axis, dtype=_sum_dtype(x, dtype))
    return tn.cat([_one(y, axis, 0), y], axis) if include_initial else y


def cumulative_prod(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: tn.dtype | None = None,
    include_initial: builtins.bool = False,
) -> Tensor:
    """Products of the elements up to each, after a 1 with include_initial."""
    axis = _running_axis(x, axis)
    y = tn.cumprod(x, axis, dtype=_sum_dtype(x, dtype))
    return tn.cat([_one(y, axis, 1), y], axis) if include_initial else y


def _one(like: Tensor, axis: int, value: int) -> Tensor:
    """One element along the axis."""
    shape = list(like.shape)
    shape[axis] = 1
    return tn.full(shape, value, dtype=like.dtype)


def diff(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """n-th differences of neighbours along an axis."""
    return tn.diff(x, n, axis, prepend, append)


def tensordot(
    x1: Tensor, x2: Tensor, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2
) -> Tensor:
    """Product summed over the last axes of x1 and the first of x2, or over those named."""
    dtype = result_type(x1, x2)
    named = axes if isinstance(axes, int) else (list(axes[0]), list(axes[1]))
    return tn.tensordot(x1.to(dtype), x2.to(dtype), named)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Inner products along an axis, of x1's conjugate where it is complex."""
    dtype = result_type(x1, x2)
    x1, x2 = tn.broadcast_tensors(x1.to(dtype), x2.to(dtype))
    if isdtype(dtype, "complex floating"):
        x1 = x1.conj()
    return tn.sum(x1 * x2, axis, dtype=dtype)

"""Places of elements: extremes, order, sets, selections."""

from __future__ import annotations

import builtins
from typing import NamedTuple

import tenon as tn
from tenon import Tensor


class UniqueAll(NamedTuple):
    """What `unique_all` gives."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` gives."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` gives."""

    values: Tensor
    inverse_indices: Tensor


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: builtins.bool = False) -> Tensor:
    """Where the first largest element is, along an axis or in x flattened."""
    return tn.argmax(x, axis, keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: builtins.bool = False) -> Tensor:
    """Where the first smallest element is, along an axis or in x flattened."""
    return tn.argmin(x, axis, keepdims)


def sort(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    descending: builtins.bool = False,
    stable: builtins.bool = True,
) -> Tensor:
    """x in order along an axis."""
    return tn.sort(x, axis, descending, stable=stable)[0]


def argsort(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    descending: builtins.bool = False,
    stable: builtins.bool = True,
) -> Tensor:
    """Where the elements in order along an axis come from; equal ones stay in order."""
    return tn.argsort(x, axis, descending, stable=stable)


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """Indices of the elements that are not zero, a vector a dimension."""
    if x.ndim == 0:
        raise ValueError("nonzero(): x has no dimensions")
    return tuple(tn.unbind(tn.nonzero(x), 1))


def count_nonzero(
    x: Tensor, /, *, axis: int | tuple[int, ...] | None = None, keepdims: builtins.bool = False
) -> Tensor:
    """How many elements are not zero."""
    axes = tuple(range(x.ndim)) if axis is None else axis
    return tn.sum(x != 0, axes, keepdims, dtype=tn.int64)


def searchsorted(
    x1: Tensor, x2: Tensor, /, *, side: str = "left", sorter: Tensor | None = None
) -> Tensor:
    """Where elements of x2 would go into the vector x1, which is in order, or is by `sorter`."""
    return tn.searchsorted(x1 if sorter is None else x1[sorter], x2, right=side == "right")


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """Elements along an axis, which only a vector may leave open."""
    if axis is None and x.ndim != 1:
        raise ValueError("take(): an array of several dimensions needs an axis")
    return tn.index_select(x, 0 if axis is None else axis, indices)


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """Elements of x at an index an element along an axis."""
    return tn.take_along_dim(x, indices, axis)


def _unique(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    values, inverse, counts = tn.unique(x.reshape(-1), return_inverse=True, return_counts=True)
    return values, inverse.reshape(x.shape), counts


def unique_all(x: Tensor, /) -> UniqueAll:
    """The different elements, where each is first, which each element is, and how many."""
    values, inverse, counts = _unique(x)
    order = tn.argsort(inverse.reshape(-1), stable=True)
    return UniqueAll(values, order[counts.cumsum(0) - counts], inverse, counts)


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """The different elements, and how many there are of each."""
    values, _, counts = _unique(x)
    return UniqueCounts(values, counts)


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """The different elements, and which of them each element is."""
    values, inverse, _ = _unique(x)
    return UniqueInverse(values, inverse)


def unique_values(x: Tensor, /) -> Tensor:
    """The different elements."""
    return _unique(x)[0]

"""Shapes and places of elements."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

import tenon as tn
from tenon import Tensor

from ._dtypes import result_type

Axes = int | Sequence[int]


def _listed(axes: Axes) -> tuple[int, ...]:
    return (axes,) if isinstance(axes, int) else tuple(axes)


def broadcast_arrays(*arrays: Tensor) -> list[Tensor]:
    """The arrays with their common shape."""
    return list(tn.broadcast_tensors(*arrays))


def broadcast_to(x: Tensor, /, shape: tuple[int, ...]) -> Tensor:
    """x with a larger shape."""
    return tn.broadcast_to(x, shape)


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """The arrays one after the other along an axis; flattened first if that is None."""
    dtype = result_type(*arrays)
    parts = [x.to(dtype) for x in arrays]
    if axis is None:
        return tn.cat([x.reshape(-1) for x in parts], 0)
    return tn.cat(parts, axis)


def expand_dims(x: Tensor, /, *, axis: int = 0) -> Tensor:
    """x with a dimension of 1 at `axis`. Errors: IndexError for an axis out of range."""
    return x.unsqueeze(axis)


def flip(x: Tensor, /, *, axis: Axes | None = None) -> Tensor:
    """x backwards along some axes, or along all."""
    return tn.flip(x, tuple(range(x.ndim)) if axis is None else _listed(axis))


def matrix_transpose(x: Tensor, /) -> Tensor:
    """x with its last two dimensions exchanged. Errors: ValueError for fewer."""
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose(): at least 2 dimensions are needed, got {x.ndim}")
    return x.mT


def moveaxis(x: Tensor, source: Axes, destination: Axes, /) -> Tensor:
    """x with some dimensions at other places, the rest in order."""
    return tn.movedim(x, _listed(source), _listed(destination))


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """x with its dimensions in another order."""
    return x.permute(*axes) if axes else x.clone()


def repeat(x: Tensor, repeats: int | Tensor, /, *, axis: int | None = None) -> Tensor:
    """Each element several times; of x flattened if there is no axis."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    return tn.repeat_interleave(x, repeats, axis)


def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: builtins.bool | None = None) -> Tensor:
    """x's elements in another shape. `copy=False`: a view, else ValueError."""
    if copy is False:
        try:
            return x.view(shape)
        except RuntimeError as error:
            raise ValueError(str(error)) from None
    return x.clone().reshape(shape) if copy else x.reshape(shape)


def roll(x: Tensor, /, shift: Axes, *, axis: Axes | None = None) -> Tensor:
    """x with its elements moved along axes, round the ends; flattened meanwhile without axes."""
    return tn.roll(x, shift) if axis is None else tn.roll(x, shift, axis)


def squeeze(x: Tensor, /, axis: Axes) -> Tensor:
    """x without dimensions of 1. Errors: ValueError for another extent."""
    for each in _listed(axis):
        if x.shape[each] != 1:
            raise ValueError(f"squeeze(): dimension {each} has extent {x.shape[each]}, not 1")
    return x.squeeze(_listed(axis))


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """The arrays beside each other along a new axis."""
    dtype = result_type(*arrays)
    return tn.stack([x.to(dtype) for x in arrays], axis)


def tile(x: Tensor, repetitions: tuple[int, ...], /) -> Tensor:
    """x side by side with itself, so many times along each dimension."""
    return tn.tile(x, repetitions)


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """x at and below the k-th diagonal, else zeros."""
    return tn.tril(x, k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """x at and above the k-th diagonal, else zeros."""
    return tn.triu(x, k)


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The parts of x along an axis."""
    return tuple(tn.unbind(x, axis))

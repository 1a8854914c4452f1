"""Functions whose result's size depends on the data: they read it."""

from __future__ import annotations

import builtins
from typing import Any

from . import _C
from ._C import Tensor

_ops = _C._all


def _groups(ordered: Tensor, order: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Of keys in order: where each group of equal ones begins, the group of each row, and how many
    rows each group has. `order` says where each key stood."""
    n = ordered.numel()
    if n == 0:
        empty = _ops["zeros"](0, dtype=_C.int64)
        return empty, empty, empty
    first = _ops["cat"]([_ops["ones"](1, dtype=_C.bool), ordered[1:] != ordered[:-1]])
    starts = _ops["nonzero"](first).reshape(-1)
    group = first.long().cumsum(0) - 1
    if order is not None:
        group = _ops["zeros"](n, dtype=_C.int64).scatter(0, order, group)
    ends = _ops["cat"]([starts[1:], _C.tensor([n])])
    return starts, group, ends - starts


def _row_keys(rows: Tensor) -> Tensor:
    """A number for each row of a matrix, equal for equal rows and in their order.

    Each column is replaced by the ranks of its elements; then pairs of columns become one until one
    is left: as many sorts as the number of columns has bits.
    """
    count, width = rows.shape
    if width == 0 or count == 0:
        return _ops["zeros"](count, dtype=_C.int64)
    keys = rows
    while True:
        order = keys.argsort(0)
        ordered = keys.gather(0, order)
        new = (ordered[1:] != ordered[:-1]).long().cumsum(0)
        ranks = _ops["cat"]([_ops["zeros"](1, keys.shape[1], dtype=_C.int64), new])
        keys = _ops["zeros"](keys.shape, dtype=_C.int64).scatter(0, order, ranks)
        if keys.shape[1] == 1:
            return keys.reshape(-1)
        if keys.shape[1] % 2:
            keys = _ops["cat"]([keys, _ops["zeros"](count, 1, dtype=_C.int64)], 1)
        keys = keys[:, ::2] * count + keys[:, 1::2]


def _parts(results: list[Tensor]) -> Any:
    return results[0] if len(results) == 1 else tuple(results)


def unique(
    input: Tensor,
    sorted: builtins.bool = True,
    return_inverse: builtins.bool = False,
    return_counts: builtins.bool = False,
    dim: builtins.int | None = None,
) -> Any:
    """The different elements, or parts along dim, in order, and optionally where each went and how
    often it occurs. NaN is different from NaN.

    Reads the input, since the result's size depends on it. Shape: any -> (count), the indices have
    the input's; or count along dim, the indices (extent of dim).

    Example::

        >>> tn.unique(tn.tensor([3, 1, 3]), return_inverse=True, return_counts=True)
        (tensor([1, 3]), tensor([1, 0, 1]), tensor([1, 2]))
        >>> tn.unique(tn.tensor([[1, 2], [0, 5], [1, 2]]), dim=0)
        tensor([[0, 5],
                [1, 2]])
    """
    if dim is None:
        flat = input.reshape(-1)
        order = flat.argsort(0)
        ordered = flat[order]
        starts, inverse, counts = _groups(ordered, order)
        output, inverse = ordered[starts], inverse.reshape(input.shape)
    else:
        rows = _as_rows(input, dim)
        keys = _row_keys(rows)
        order = keys.argsort(0)
        starts, inverse, counts = _groups(keys[order], order)
        output = input.index_select(dim, order[starts])
    return _parts([output, *[inverse] * return_inverse, *[counts] * return_counts])


def _as_rows(input: Tensor, dim: builtins.int) -> Tensor:
    if input.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    extent = input.size(dim)
    if input.numel() == 0 and extent != 0:
        if 0 in [n for d, n in enumerate(input.shape) if d != dim % input.ndim]:
            raise RuntimeError(
                "There are 0 sized dimensions, and they aren't selected, so unique cannot be "
                "applied"
            )
    return _ops["movedim"](input, dim, 0).reshape(extent, -1) if extent else input.reshape(0, 0)


def unique_consecutive(
    input: Tensor,
    return_inverse: builtins.bool = False,
    return_counts: builtins.bool = False,
    dim: builtins.int | None = None,
) -> Any:
    """The elements, or parts along dim, without repetitions of the one before, and optionally where
    each went and how often it is repeated.

    Reads the input, since the result's size depends on it.

    Example::

        >>> tn.unique_consecutive(tn.tensor([1, 1, 2, 1]), return_counts=True)
        (tensor([1, 2, 1]), tensor([2, 1, 1]))
    """
    if dim is None:
        keys = input.reshape(-1)
        starts, inverse, counts = _groups(keys, None)
        output, inverse = keys[starts], inverse.reshape(input.shape)
    else:
        rows = _as_rows(input, dim)
        keys = _row_keys(rows)
        starts, inverse, counts = _groups(keys, None)
        output = input.index_select(dim, starts)
    return _parts([output, *[inverse] * return_inverse, *[counts] * return_counts])


def nonzero(input: Tensor, *, as_tuple: builtins.bool = False, out: Tensor | None = None) -> Any:
    """The indices of nonzero elements, a row each; or, as_tuple, a vector for each dimension. Reads
    the input.

    Shape: (count, dimensions).

    Example::

        >>> tn.nonzero(tn.tensor([[0, 5], [7, 0]]))
        tensor([[0, 1],
                [1, 0]])
        >>> tn.nonzero(tn.tensor([0, 5, 7]), as_tuple=True)
        (tensor([1, 2]),)
    """
    if as_tuple:
        return _ops["nonzero"](input if input.ndim else input.reshape(1)).unbind(1)
    return _ops["nonzero"](input, out=out)


def argwhere(input: Tensor) -> Tensor:
    """The indices of nonzero elements, a row each. Reads the input.

    Shape: (count, dimensions).

    Example::

        >>> tn.argwhere(tn.tensor([[0, 5], [7, 0]]))
        tensor([[0, 1],
                [1, 0]])
    """
    return _ops["nonzero"](input)

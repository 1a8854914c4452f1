"""Counts of elements by intervals, along one or several axes."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import _C
from ._C import Tensor

_ops = _C._all


class Histogram(NamedTuple):
    hist: Tensor
    bin_edges: Tensor


class HistogramDD(NamedTuple):
    hist: Tensor
    bin_edges: tuple[Tensor, ...]


def _check(name: str, input: Tensor) -> None:
    if input.dtype not in (_C.float32, _C.float64):
        raise NotImplementedError(f"{name}: not implemented for {input.dtype}")


def _edges(
    name: str, column: Tensor, bins: builtins.int, limits: Sequence[builtins.float] | None
) -> Tensor:
    """Of equal intervals between limits, or over the range of the data."""
    if bins <= 0:
        raise RuntimeError(f"torch.{name}(): bins must be > 0, but got {bins} for dimension 0")
    low, high = 0.0, 1.0
    if limits is not None:
        low, high = (builtins.float(x) for x in limits)
    elif column.numel() > 0:
        low, high = column.min().item(), column.max().item()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"torch.{name}(): range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"torch.{name}(): min should not exceed max, but got [{low}, {high}]")
    if low == high:
        low, high = low - 0.5, high + 0.5
    return _ops["linspace"](low, high, bins + 1, dtype=column.dtype)


def _counted(columns: Tensor, edges: Sequence[Tensor], weight: Tensor | None) -> Tensor:
    """How many rows of (n, d) columns fall into each box; the last edges belong to the boxes."""
    extents = [edge.numel() - 1 for edge in edges]
    place = _ops["zeros"](columns.size(0), dtype=_C.int64)
    inside = _ops["ones"](columns.size(0), dtype=_C.bool)
    for d, edge in enumerate(edges):
        x = columns[:, d].contiguous()
        at = _ops["searchsorted"](edge, x, right=True) - 1
        place = place * extents[d] + at.clamp(0, extents[d] - 1)
        inside = inside & (x >= edge[0]) & (x <= edge[-1])
    count = math.prod(extents)
    ones = _ops["ones"](columns.size(0), dtype=columns.dtype) if weight is None else weight
    place = _ops["where"](inside, place, count)
    return (
        _ops["zeros"](count + 1, dtype=columns.dtype)
        .index_add(0, place, ones)[:-1]
        .reshape(extents)
    )


def _density(hist: Tensor, edges: Sequence[Tensor]) -> Tensor:
    hist = hist / hist.sum()
    for d, edge in enumerate(edges):
        shape = [1] * hist.ndim
        shape[d] = -1
        hist = hist / edge.diff().reshape(shape)
    return hist


def _flat_weight(name: str, input: Tensor, size: Any, weight: Tensor | None) -> Tensor | None:
    if weight is None:
        return None
    if tuple(weight.shape) != tuple(size):
        raise RuntimeError(
            f"torch.{name}(): if weight tensor is provided it should have the same shape as the "
            f"input tensor excluding its innermost dimension, but got {builtins.list(weight.shape)}"
        )
    if weight.dtype != input.dtype:
        raise TypeError(
            f"torch.{name}(): if weight tensor is provided, input tensor and weight tensor should "
            f"have the same dtype, but got input({input.dtype}) and weight({weight.dtype})"
        )
    return weight.reshape(-1)


def _given_edges(name: str, input: Tensor, edges: Tensor) -> Tensor:
    if edges.dtype != input.dtype:
        raise TypeError(
            f"torch.{name}(): input tensor and bins tensors should have the same dtype, but got "
            f"input with dtype {input.dtype} and bins with dtype {edges.dtype}"
        )
    if edges.ndim != 1 or edges.numel() == 0:
        raise RuntimeError(
            f"torch.{name}(): bins tensor should have one dimension, and not be empty"
        )
    return edges.detach()


def histogram(
    input: Tensor,
    bins: Any,
    *,
    range: Sequence[builtins.float] | None = None,
    weight: Tensor | None = None,
    density: builtins.bool = False,
    out: Any = None,
) -> Histogram:
    """How many elements, or which sum of weights, fall into each interval.

    bins is a number of equal intervals over range (by default the data's, which is read), or a
    vector of rising edges. The last interval holds both its ends. With density the result is over
    its sum and the widths of the intervals.
    Dtypes: float32 and float64. Derivatives don't pass.
    Errors: NotImplementedError for other dtypes; RuntimeError for no bins, a range that falls or is
    not finite, or another size of weight.

    Example::

        >>> tn.histogram(tn.tensor([1.0, 2.0, 1.0]), bins=4, range=(0.0, 3.0)).hist
        tensor([0., 2., 1., 0.])
    """
    _check("histogram", input)
    column = input.detach().reshape(-1)
    flat = _flat_weight("histogram", input, input.shape, weight)
    if isinstance(bins, Tensor):
        edges = _given_edges("histogram", input, bins)
    else:
        edges = _edges("histogram", column, bins, range)
    hist = _counted(column.unsqueeze(1), [edges], flat)
    result = Histogram(_density(hist, [edges]) if density else hist, edges)
    if out is None:
        return result
    for receiver, part in zip(out, result, strict=True):
        if receiver.dtype != part.dtype:
            raise RuntimeError("torch.histogram: input and out must have the same dtype")
        if tuple(receiver.shape) == tuple(part.shape):
            receiver.copy_(part)
        else:
            _C._become(receiver, part.clone())
    return Histogram(*out)


def histogramdd(
    input: Tensor,
    bins: Any,
    *,
    range: Sequence[builtins.float] | None = None,
    weight: Tensor | None = None,
    density: builtins.bool = False,
) -> HistogramDD:
    """How many rows, or which sum of weights, fall into each box of a grid.

    bins is a number of equal intervals for every dimension, one for each, or a vector of rising
    edges for each; range holds the ends for each dimension, one after another.
    Shape: (*, d) -> a dimension for each of d.
    Dtypes: float32 and float64. Derivatives don't pass.
    Errors: as histogram, and RuntimeError for less than two dimensions or other numbers of bins.

    Example::

        >>> x = tn.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
        >>> tn.histogramdd(x, bins=(2, 2)).hist
        tensor([[0., 1.],
                [1., 2.]])
    """
    _check("histogramdd", input)
    if input.ndim < 2:
        raise RuntimeError("torch.histogramdd(): input tensor should have at least 2 dimensions")
    d = input.size(-1)
    columns = input.detach().reshape(-1, d)
    flat = _flat_weight("histogramdd", input, input.shape[:-1], weight)
    given = [bins] * d if isinstance(bins, builtins.int) else builtins.list(bins)
    if len(given) != d:
        raise RuntimeError(
            f"torch.histogramdd(): the size of bins should be equal to the innermost dimension of "
            f"the input tensor, but got {len(given)} and {d}"
        )
    if range is not None and len(range) != 2 * d:
        raise RuntimeError(
            f"torch.histogramdd(): for a {d}-dimensional histogram range should "
            f"have {2 * d} elements, but got {len(range)}"
        )
    edges = []
    for k, of_dimension in enumerate(given):
        if isinstance(of_dimension, Tensor):
            edges.append(_given_edges("histogramdd", input, of_dimension))
        else:
            limits = None if range is None else range[2 * k : 2 * k + 2]
            edges.append(_edges("histogramdd", columns[:, k], of_dimension, limits))
    hist = _counted(columns, edges, flat)
    return HistogramDD(_density(hist, edges) if density else hist, tuple(edges))

"""Reductions of the pieces of a dimension."""

from __future__ import annotations

import builtins
import math
from typing import Any

from . import _C
from ._C import Tensor

_ops = _C._all

# PyTorch's names, with those of scatter_reduce and what nothing gives.
_REDUCTIONS = {
    "sum": ("sum", 0.0),
    "mean": ("sum", 0.0),
    "prod": ("prod", 1.0),
    "max": ("amax", -math.inf),
    "min": ("amin", math.inf),
}


def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: builtins.int = 0,
    unsafe: builtins.bool = False,
    initial: Any = None,
) -> Tensor:
    """The sum, mean, max, min or prod of each segment along axis, by lengths or by offsets.

    initial takes part in every segment; without it an empty one gives 0, NaN, -inf, inf, 1. Unless
    unsafe, lengths are read and checked.
    Shape: data (*, n, ...), lengths (*, k) or offsets (*, k + 1) with axis dimensions before
    -> (*, k, ...).
    Dtypes: floating; lengths and offsets are integers.
    Errors: RuntimeError for neither lengths nor offsets, other sizes, or lengths that are negative
    or don't add up to n; ValueError for another reduction.

    Example::

        >>> tn.segment_reduce(tn.tensor([1.0, 2.0, 3.0]), "max", lengths=tn.tensor([2, 0, 1]))
        tensor([2., -inf, 3.])
    """
    if reduce not in _REDUCTIONS:
        raise ValueError(f"unsupported reduction: {reduce}")
    if indices is not None or (lengths is None and offsets is None):
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    axis = axis + data.ndim if axis < 0 else axis
    n = data.size(axis)
    marks = lengths if lengths is not None else offsets
    assert marks is not None
    if marks.ndim != axis + 1 or tuple(marks.shape[:axis]) != tuple(data.shape[:axis]):
        raise RuntimeError(
            f"segment_reduce(): expected {axis + 1} dimensions of lengths or offsets that begin as "
            f"data's, but got {builtins.list(marks.shape)} for data {builtins.list(data.shape)}"
        )
    if offsets is not None:
        starts, ends = offsets[..., :-1].long(), offsets[..., 1:].long()
    else:
        ends = marks.long().cumsum(-1)
        starts = ends - marks.long()
        if not unsafe and builtins.bool((marks < 0).any()):
            raise RuntimeError("lengths contains negative value!")
        if not unsafe and builtins.bool((marks.sum(-1) != n).any()):
            raise RuntimeError(
                f"segment_reduce(): Expected all rows of lengths along axis to sum to "
                f"data.size(axis), {n}"
            )
    count = ends.size(-1)
    name, nothing = _REDUCTIONS[reduce]
    shape = builtins.list(data.shape)
    shape[axis] = count + 1  # the last takes what is in no segment
    base = _ops["full"](
        shape, nothing if initial is None else initial, dtype=data.dtype, device=data.device
    )
    if count > 0 and n > 0:
        each = _ops["arange"](n, device=data.device).expand(*data.shape[:axis], n)
        place = _ops["searchsorted"](ends.contiguous(), each.contiguous(), right=True)
        place = _ops["where"](each < starts[..., :1], count, place)
        place = place.reshape(*place.shape, *[1] * (data.ndim - axis - 1)).expand(data.shape)
        base = base.scatter_reduce(axis, place, data, name)
    result = base.narrow(axis, 0, count)
    if reduce != "mean":
        return result
    sizes = (ends - starts).reshape(*ends.shape, *[1] * (data.ndim - axis - 1))
    empty = result if initial is not None else math.nan
    return _ops["where"](sizes > 0, result / sizes.clamp(min=1), empty)

"""Arrays from numbers and from each other. Shapes may be one number."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

Shape = int | Sequence[int]
Number = builtins.bool | int | float | complex


def _dims(shape: Shape) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def asarray(
    obj: Any,
    /,
    *,
    dtype: tn.dtype | None = None,
    device: Any = None,
    copy: builtins.bool | None = None,
) -> Tensor:
    """An array of numbers, nested sequences, an array, or what has a buffer or `__dlpack__`.

    `copy=True` always copies, `copy=False` never does; None copies where it must. Errors:
    ValueError where a copy is needed and forbidden.
    """
    if isinstance(obj, Tensor):
        x = obj if dtype is None or obj.dtype == dtype else obj.to(dtype)
    else:
        x = tn.as_tensor(obj, dtype=dtype, device=device)
    is_shared = x is obj or hasattr(obj, "__array_interface__")
    if copy is False and not is_shared:
        raise ValueError("asarray(): this can't be made an array of that dtype without a copy")
    return x.clone() if copy and is_shared else x


def from_dlpack(x: Any, /, *, device: Any = None, copy: builtins.bool | None = None) -> Tensor:
    """An array that shares the memory of another library's; see `tenon.from_dlpack`."""
    return tn.from_dlpack(x, device=device, copy=copy)


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: tn.dtype | None = None,
    device: Any = None,
) -> Tensor:
    """start, start + step, ... below stop; from 0 to start if there is no stop."""
    if stop is None:
        start, stop = 0, start
    if (stop - start) * step <= 0:  # empty: PyTorch raises where the signs differ
        like = tn.arange(start, start, step if step else 1, dtype=dtype, device=device)
        return like[:0]
    return tn.arange(start, stop, step, dtype=dtype, device=device)


def linspace(
    start: float | complex,
    stop: float | complex,
    /,
    num: int,
    *,
    dtype: tn.dtype | None = None,
    device: Any = None,
    endpoint: builtins.bool = True,
) -> Tensor:
    """`num` numbers at equal distances from start to stop, which is left out without endpoint."""
    if not endpoint:
        return tn.linspace(start, stop, num + 1, dtype=dtype, device=device)[:-1]
    return tn.linspace(start, stop, num, dtype=dtype, device=device)


def empty(shape: Shape, *, dtype: tn.dtype | None = None, device: Any = None) -> Tensor:
    """An array of any numbers."""
    return tn.empty(_dims(shape), dtype=dtype, device=device)


def zeros(shape: Shape, *, dtype: tn.dtype | None = None, device: Any = None) -> Tensor:
    """An array of zeros."""
    return tn.zeros(_dims(shape), dtype=dtype, device=device)


def ones(shape: Shape, *, dtype: tn.dtype | None = None, device: Any = None) -> Tensor:
    """An array of ones."""
    return tn.ones(_dims(shape), dtype=dtype, device=device)


def full(
    shape: Shape, fill_value: Number, *, dtype: tn.dtype | None = None, device: Any = None
) -> Tensor:
    """An array of one number, whose kind decides the dtype."""
    return tn.full(_dims(shape), fill_value, dtype=dtype, device=device)


def empty_like(x: Tensor, /, *, dtype: tn.dtype | None = None, device: Any = None) -> Tensor:
    """An array of any numbers, of x's shape and dtype."""
    return tn.empty_like(x, dtype=dtype, device=device)


def zeros_like(x: Tensor, /, *, dtype: tn.dtype | None = None, device: Any = None) -> Tensor:
    """Zeros of x's shape and dtype."""
    return tn.zeros_like(x, dtype=dtype, device=device)


def ones_like(x: Tensor, /, *, dtype: tn.dtype | None = None, device: Any = None) -> Tensor:
    """Ones of x's shape and dtype."""
    return tn.ones_like(x, dtype=dtype, device=device)


def full_like(
    x: Tensor, /, fill_value: Number, *, dtype: tn.dtype | None = None, device: Any = None
) -> Tensor:
    """One number, of x's shape and dtype."""
    return tn.full_like(x, fill_value, dtype=dtype, device=device)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: tn.dtype | None = None,
    device: Any = None,
) -> Tensor:
    """(n_rows, n_cols): ones on the k-th diagonal, else zeros."""
    columns = n_rows if n_cols is None else n_cols
    row = tn.arange(n_rows, device=device).unsqueeze(1)
    is_one = tn.arange(columns, device=device) - row == k
    return is_one.to(tn.get_default_dtype() if dtype is None else dtype)


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> list[Tensor]:
    """Coordinate arrays of a grid; with "xy" the first two dimensions are exchanged."""
    return list(tn.meshgrid(*arrays, indexing=indexing)) if arrays else []

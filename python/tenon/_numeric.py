"""Functions of tensors that are short programs of operations."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

from . import _C
from ._C import Tensor, dtype

_ops = _C._all


def _slope(x: Tensor, dim: builtins.int, spacing: Any, edge_order: builtins.int) -> Tensor:
    """The derivative along a dimension at places that a step or a vector of places gives."""
    n = x.size(dim)

    def part(start: builtins.int, stop: builtins.int) -> Tensor:
        return _ops["narrow"](x, dim, start, stop - start)

    if isinstance(spacing, Tensor):
        shape = [1] * x.ndim
        shape[dim] = n - 1
        steps = (spacing[1:] - spacing[:-1]).reshape(shape)
        before, after = (_ops["narrow"](steps, dim, k, n - 2) for k in (0, 1))
        first, last = (_ops["narrow"](steps, dim, k, 1) for k in (0, n - 2))
        second, next_to_last = first, last
        if n > 2:
            second, next_to_last = (_ops["narrow"](steps, dim, k, 1) for k in (1, n - 3))
    else:
        before = after = first = last = second = next_to_last = spacing
    inner = (
        part(2, n) * (before / (after * (before + after)))
        + part(1, n - 1) * ((after - before) / (before * after))
        - part(0, n - 2) * (after / (before * (before + after)))
    )
    if edge_order == 1:
        left = (part(1, 2) - part(0, 1)) / first
        right = (part(n - 1, n) - part(n - 2, n - 1)) / last
    else:

        def edge(near: Any, far: Any, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            """From the edge inwards: a, b, c."""
            return (
                b * ((near + far) / (near * far))
                - a * ((2 * near + far) / (near * (near + far)))
                - c * (near / (far * (near + far)))
            )

        left = edge(first, second, part(0, 1), part(1, 2), part(2, 3))
        right = -edge(last, next_to_last, part(n - 1, n), part(n - 2, n - 1), part(n - 3, n - 2))
    return _ops["cat"]([left, inner, right], dim)


def gradient(
    input: Tensor, *, spacing: Any = None, dim: Any = None, edge_order: builtins.int = 1
) -> tuple[Tensor, ...]:
    """Derivatives of samples along dimensions (all, unless given), of second order inside; at the
    edges of the order asked for.

    spacing is a step for all dimensions, one for each, or a vector of places for each.
    Dtypes: floating; of integers in the default dtype.
    Errors: RuntimeError for another edge_order, too few elements along a dimension, or spacings
    that don't fit.

    Example::

        >>> tn.gradient(tn.tensor([1.0, 4.0, 9.0]))
        (tensor([3., 4., 5.]),)
    """
    if dim is None:
        dims = builtins.list(range(input.ndim))
    else:
        dims = [dim] if isinstance(dim, builtins.int) else builtins.list(dim)
    for d in dims:
        input.size(d)  # checks it
    dims = [d % input.ndim for d in dims]
    if len(set(dims)) != len(dims):
        raise RuntimeError("dim appears multiple times in the list of dims")
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    if spacing is None or isinstance(spacing, (builtins.int, builtins.float, complex)):
        spacings: Sequence[Any] = [1 if spacing is None else spacing] * len(dims)
    elif isinstance(spacing, Tensor):
        spacings = [spacing]
    else:
        spacings = spacing
    if len(spacings) != len(dims):
        raise RuntimeError(
            f"torch.gradient expected spacing to be unspecified, a scalar, or a list of length "
            f"{len(dims)}, but got a list of length {len(spacings)}"
        )
    if input.dtype == _C.uint8:
        raise RuntimeError("torch.gradient does not support uint8 input.")
    x = (
        input
        if input.is_floating_point() or input.is_complex()
        else input.to(_C.get_default_dtype())
    )
    for d, step in zip(dims, spacings, strict=True):
        if input.size(d) < edge_order + 1:
            raise RuntimeError(
                "torch.gradient expected each dimension size to be at least edge_order+1"
            )
        if isinstance(step, Tensor) and step.ndim > 0:
            if step.ndim != 1 or step.numel() != input.size(d):
                raise RuntimeError(
                    "torch.gradient expected each element of spacing to have one dimension and the "
                    "number of elements along its dim"
                )
    return tuple(_slope(x, d, step, edge_order) for d, step in zip(dims, spacings, strict=True))


def nonzero_static(input: Tensor, *, size: builtins.int, fill_value: builtins.int = -1) -> Tensor:
    """The indices of the first `size` nonzero elements, a row each; missing rows are fill_value.

    It doesn't read the input, since the result's size is known. Shape: (size, dimensions).
    Errors: RuntimeError for a negative size.

    Example::

        >>> tn.nonzero_static(tn.tensor([0, 5, 7]), size=3)
        tensor([[ 1],
                [ 2],
                [-1]])
    """
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, not {size}")
    flags = (input != 0).reshape(-1)
    kept = min(size, flags.numel())
    places = (~flags).byte().argsort(stable=True)[:kept]
    extents = tuple(input.shape)
    columns = [part.unsqueeze(1) for part in _ops["unravel_index"](places, extents)]
    rows = _ops["cat"](columns, 1) if columns else _ops["zeros"](kept, 0, dtype=_C.int64)
    found = _ops["arange"](kept) < flags.sum()
    rows = _ops["where"](found.unsqueeze(1), rows, fill_value)
    rest = _ops["full"]((size - kept, input.ndim), fill_value, dtype=_C.int64)
    return _ops["cat"]([rows, rest], 0)


def as_strided_scatter(
    input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: builtins.int | None = None
) -> Tensor:
    """A copy of input with src in the place of as_strided(input, size, stride, storage_offset).

    Errors: RuntimeError for another size of src, or beyond the memory's end.

    Example::

        >>> tn.as_strided_scatter(tn.zeros(4), tn.ones(2), (2,), (2,))
        tensor([1., 0., 1., 0.])
    """
    copy = input.clone()
    shown = copy.as_strided(size, stride, storage_offset)
    if tuple(shown.shape) != tuple(src.shape):
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = "
            f"{builtins.list(src.shape)}, slice size = {builtins.list(shown.shape)}"
        )
    shown.copy_(src)
    return copy


def empty_permuted(
    size: Any, physical_layout: Any, *, dtype: dtype | None = None, **options: Any
) -> Tensor:
    """A tensor of which only the size and the order of its dimensions in memory matter, from the
    outermost to the innermost. Its elements are zeros.

    Errors: RuntimeError for what is no permutation of the dimensions.

    Example::

        >>> tn.empty_permuted((2, 3), (1, 0)).stride()
        (1, 2)
    """
    order = builtins.list(physical_layout)
    if sorted(order) != builtins.list(range(len(size))):
        raise RuntimeError(f"physical_layout {order} is no permutation of {len(size)} dimensions")
    requires_grad = options.pop("requires_grad", False)
    inner = _ops["empty"]([size[d] for d in order], dtype=dtype, **options)
    return inner.permute([order.index(d) for d in range(len(size))]).requires_grad_(requires_grad)

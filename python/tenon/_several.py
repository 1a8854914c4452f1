"""Functions whose tensors are given separately or as one sequence."""

from __future__ import annotations

import builtins
from typing import Any

from . import _C
from ._C import Tensor

_ops = _C._all


def einsum(equation: str, *operands: Any) -> Tensor:
    """Sums of products in Einstein's notation.

    Errors: RuntimeError for extents that differ under one letter.

    Example::

        >>> tn.einsum("ij,jk->ki", tn.tensor([[1.0, 2.0]]), tn.tensor([[3.0, 4.0], [5.0, 6.0]]))
        tensor([[13.],
                [16.]])
    """
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    return _ops["einsum"](equation, operands)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """Contraction of the last `dims` dimensions of a with the first of b, or of given ones.

    Shape: what is left of a, then of b.
    Dtypes: any, the same of both.

    Example::

        >>> tn.tensordot(tn.tensor([[1, 2], [3, 4]]), tn.tensor([1, 10]), dims=1)
        tensor([21, 43])
        >>> tn.tensordot(tn.ones(2, 3, 4), tn.ones(4, 3, 5), dims=([1, 2], [1, 0])).shape
        tenon.Size([2, 5])
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, builtins.int):
        return _ops["tensordot"](
            a, b, builtins.list(range(a.ndim - dims, a.ndim)), builtins.list(range(dims)), out=out
        )
    left, right = dims
    return _ops["tensordot"](a, b, left, right, out=out)


def _unpack(tensors: tuple[Any, ...]) -> tuple[Tensor, ...]:
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        return tuple(tensors[0])
    return tensors


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Vectors spread over the grid they span.

    Shape: k vectors of extents n1, ..., nk -> k tensors (n1, ..., nk); the first two exchanged for
    indexing="xy".
    Errors: RuntimeError for another indexing.

    Example::

        >>> rows, columns = tn.meshgrid(tn.arange(2), tn.arange(3), indexing="ij")
        >>> columns
        tensor([[0, 1, 2],
                [0, 1, 2]])
    """
    return _ops["meshgrid"](_unpack(tensors), indexing)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Views of the common size.

    Errors: RuntimeError for sizes that don't broadcast.

    Example::

        >>> a, b = tn.broadcast_tensors(tn.arange(2), tn.ones(3, 1))
        >>> a.shape, b.shape
        (tenon.Size([3, 2]), tenon.Size([3, 2]))
    """
    return _ops["broadcast_tensors"](_unpack(tensors))


def _at_least(rank: str, tensors: tuple[Any, ...]) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return _ops[rank](tensors[0])
    return tuple(_ops[rank](x) for x in _unpack(tensors))


def atleast_1d(*tensors: Any) -> Any:
    """Views with at least one dimension; of one tensor a view, of several a tuple.

    Shape: () -> (1).

    Example::

        >>> tn.atleast_1d(tn.tensor(1))
        tensor([1])
    """
    return _at_least("atleast_1d", tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Views with at least two dimensions; of one tensor a view, of several a tuple.

    Shape: () -> (1, 1), (n) -> (1, n).

    Example::

        >>> tn.atleast_2d(tn.tensor([1, 2]))
        tensor([[1, 2]])
    """
    return _at_least("atleast_2d", tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Views with at least three dimensions; of one tensor a view, of several a tuple.

    Shape: () -> (1, 1, 1), (n) -> (1, n, 1), (n, m) -> (n, m, 1).

    Example::

        >>> tn.atleast_3d(tn.tensor([1, 2])).shape
        tenon.Size([1, 2, 1])
    """
    return _at_least("atleast_3d", tensors)


def block_diag(*tensors: Any) -> Tensor:
    """Matrices along the diagonal of a larger one; vectors are rows.

    Shape: (n1, m1), (n2, m2), ... -> (n1 + n2 + ..., m1 + m2 + ...).
    Errors: RuntimeError for more than two dimensions.

    Example::

        >>> tn.block_diag(tn.tensor([[1, 2]]), tn.tensor([[3], [4]]))
        tensor([[1, 2, 0],
                [0, 0, 3],
                [0, 0, 4]])
    """
    return _ops["block_diag"](_unpack(tensors))


def cartesian_prod(*tensors: Any) -> Tensor:
    """All combinations of an element of each vector, a row each; one vector as it is.

    Errors: RuntimeError for what is no vector.

    Example::

        >>> tn.cartesian_prod(tn.tensor([1, 2]), tn.tensor([5, 6]))
        tensor([[1, 5],
                [1, 6],
                [2, 5],
                [2, 6]])
    """
    return _ops["cartesian_prod"](_unpack(tensors))

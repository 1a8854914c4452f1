"""The extension `linalg` of the array API standard: matrices in the last two axes."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any, NamedTuple

import tenon as tn
from tenon import Tensor

from ._manipulation import matrix_transpose
from ._statistics import tensordot, vecdot

__all__ = ["cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul"]
__all__ += ["matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv", "qr"]
__all__ += ["slogdet", "solve", "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm"]


class EighResult(NamedTuple):
    """Of :func:`eigh`."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """Of :func:`qr`."""

    Q: Tensor
    R: Tensor


class SlogdetResult(NamedTuple):
    """Of :func:`slogdet`."""

    sign: Tensor
    logabsdet: Tensor


class SVDResult(NamedTuple):
    """Of :func:`svd`."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def cholesky(x: Tensor, /, *, upper: builtins.bool = False) -> Tensor:
    """L with x = L L^H, or upper U with x = U^H U."""
    return tn.linalg.cholesky(x, upper=upper)


def cross(x1: Tensor, x2: Tensor, /, *, axis: builtins.int = -1) -> Tensor:
    """The vector product along an axis of three."""
    x1, x2 = tn.broadcast_tensors(x1, x2)
    dtype = tn.result_type(x1, x2)
    return tn.linalg.cross(x1.to(dtype), x2.to(dtype), dim=axis)


def det(x: Tensor, /) -> Tensor:
    """The determinant."""
    return tn.linalg.det(x)


def diagonal(x: Tensor, /, *, offset: builtins.int = 0) -> Tensor:
    """The elements whose column is their row plus offset, along the last axis."""
    return tn.diagonal(x, offset, -2, -1)


def eigh(x: Tensor, /) -> EighResult:
    """Ascending eigenvalues of a Hermitian matrix, and its eigenvectors in columns."""
    return EighResult(*tn.linalg.eigh(x))


def eigvalsh(x: Tensor, /) -> Tensor:
    """Ascending eigenvalues of a Hermitian matrix."""
    return tn.linalg.eigvalsh(x)


def inv(x: Tensor, /) -> Tensor:
    """The inverse."""
    return tn.linalg.inv(x)


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The product of matrices, or vectors where there is one axis."""
    dtype = tn.result_type(x1, x2)
    return tn.matmul(x1.to(dtype), x2.to(dtype))


def matrix_norm(
    x: Tensor, /, *, keepdims: builtins.bool = False, ord: builtins.float | str | None = "fro"
) -> Tensor:
    """A norm of matrices: "fro", "nuc", 1, 2, inf and their negatives."""
    return tn.linalg.matrix_norm(x, "fro" if ord is None else ord, keepdim=keepdims)


def matrix_power(x: Tensor, n: builtins.int, /) -> Tensor:
    """x multiplied with itself, or the inverse's power where n is negative."""
    return tn.linalg.matrix_power(x, n)


def matrix_rank(x: Tensor, /, *, rtol: builtins.float | Tensor | None = None) -> Tensor:
    """How many singular values are above rtol times the largest."""
    if isinstance(rtol, Tensor):  # one a matrix
        s = tn.linalg.svdvals(x)
        return tn.sum(s > rtol.unsqueeze(-1) * s[..., :1], -1)
    return tn.linalg.matrix_rank(x, rtol=rtol)


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The product of each element of a vector with each of another."""
    return x1.unsqueeze(1) * x2.unsqueeze(0) if x1.ndim == x2.ndim == 1 else tn.outer(x1, x2)


def pinv(x: Tensor, /, *, rtol: builtins.float | Tensor | None = None) -> Tensor:
    """The pseudoinverse, of singular values above rtol times the largest."""
    if isinstance(rtol, Tensor):  # one a matrix
        u, s, vh = tn.linalg.svd(x, full_matrices=False)
        inverse = tn.where(s > rtol.unsqueeze(-1) * s[..., :1], 1 / s, tn.zeros_like(s))
        v = tn.conj(matrix_transpose(vh)) * inverse.unsqueeze(-2)
        return tn.matmul(v, tn.conj(matrix_transpose(u)))
    return tn.linalg.pinv(x, rtol=rtol)


def qr(x: Tensor, /, *, mode: str = "reduced") -> QRResult:
    """Q with orthonormal columns and upper R, "reduced" or "complete"."""
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr(): mode must be 'reduced' or 'complete', got {mode!r}")
    return QRResult(*tn.linalg.qr(x, mode))


def slogdet(x: Tensor, /) -> SlogdetResult:
    """Sign and logarithm of the magnitude of the determinant."""
    return SlogdetResult(*tn.linalg.slogdet(x))


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """x with x1 x = x2; x2 is a vector if it has one axis, else matrices."""
    dtype = tn.result_type(x1, x2)
    x1, x2 = x1.to(dtype), x2.to(dtype)
    if x2.ndim == 1:
        return tn.linalg.solve(x1, x2.unsqueeze(-1)).squeeze(-1)
    # PyTorch would take a stack of vectors where the axes suggest one.
    batch = tn.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    return tn.linalg.solve(x1, x2.expand(*batch, *x2.shape[-2:]))


def svd(x: Tensor, /, *, full_matrices: builtins.bool = True) -> SVDResult:
    """U, descending S and V^H with x = U S V^H."""
    return SVDResult(*tn.linalg.svd(x, full_matrices))


def svdvals(x: Tensor, /) -> Tensor:
    """Descending singular values."""
    return tn.linalg.svdvals(x)


def trace(x: Tensor, /, *, offset: builtins.int = 0, dtype: tn.dtype | None = None) -> Tensor:
    """The sum of a diagonal; integers add in int64, or uint64 where they have no sign."""
    if dtype is None and not (x.is_floating_point() or x.is_complex()):
        dtype = tn.int64 if x.dtype.is_signed or x.dtype == tn.bool else tn.uint64
    return tn.sum(diagonal(x, offset=offset), -1, dtype=dtype)


def vector_norm(
    x: Tensor,
    /,
    *,
    axis: builtins.int | Sequence[builtins.int] | None = None,
    keepdims: builtins.bool = False,
    ord: builtins.float = 2,
) -> Tensor:
    """A norm of vectors: along an axis, several together, or of all elements."""
    dim: Any = [axis] if isinstance(axis, builtins.int) else axis
    return tn.linalg.vector_norm(x, ord, dim, keepdims)

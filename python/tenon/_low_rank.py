"""Factorizations that are short programs of others: by random projection, and by older names."""

from __future__ import annotations

import builtins
from typing import Any

from . import _C
from ._C import Tensor

_ops = _C._all


def _basis(A: Tensor, q: builtins.int, niter: builtins.int) -> Tensor:
    """(*, m, n) -> (*, m, q): columns near the range of A."""
    R = _ops["randn"](*A.shape[:-2], A.size(-1), q, dtype=A.dtype)
    Q = _ops["linalg_qr"](A @ R)[0]
    for _ in range(niter):
        Q = _ops["linalg_qr"](A.mH @ Q)[0]
        Q = _ops["linalg_qr"](A @ Q)[0]
    return Q


def svd_lowrank(
    A: Tensor,
    q: builtins.int | None = 6,
    niter: builtins.int | None = 2,
    M: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """U, S, V of the largest q singular values of A, or of A - M, by random projection.

    Shape: (*, m, n) -> (*, m, q), (*, q), (*, n, q).
    Dtypes: float32, float64, complex64, complex128.
    Source: Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 2011,
    algorithms 4.4 and 5.1.

    Example::

        >>> tn.svd_lowrank(tn.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 4.0]]), q=2)[1].round()
        tensor([4., 3.])
    """
    q = 6 if q is None else q
    if M is not None:
        A = A - M.expand(A.shape)
    is_wide = A.size(-2) < A.size(-1)
    X = A.mH if is_wide else A
    Q = _basis(X, q, 2 if niter is None else niter)
    U, S, Vh = _ops["linalg_svd"](Q.mH @ X, full_matrices=False)
    U, V = Q @ U, Vh.mH
    return (V, S, U) if is_wide else (U, S, V)


def pca_lowrank(
    A: Tensor, q: builtins.int | None = None, center: builtins.bool = True, niter: builtins.int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """Principal components: svd_lowrank of A, whose columns are brought to mean 0 if center.

    q is at most min(m, n), by default 6 or that. Shape: (*, m, n) -> (*, m, q), (*, q), (*, n, q).
    Errors: ValueError for a q out of range, or a negative niter.

    Example::

        >>> tn.pca_lowrank(tn.tensor([[1.0, 0.0], [1.0, 2.0]]), q=1)[1]
        tensor([1.4142])
    """
    m, n = A.shape[-2:]
    if q is None:
        q = min(6, m, n)
    elif not 0 <= q <= min(m, n):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}"
        )
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, True) if center else A, q, niter)


def lu(
    A: Tensor, pivot: builtins.bool = True, get_infos: builtins.bool = False, out: Any = None
) -> tuple[Tensor, ...]:
    """linalg.lu_factor, or with get_infos linalg.lu_factor_ex; the older name.

    Errors: as there.

    Example::

        >>> tn.lu(tn.tensor([[0.0, 1.0], [2.0, 0.0]]))[1]
        tensor([2, 2], dtype=tenon.int32)
    """
    result = _ops["linalg_lu_factor_ex"](A, pivot=pivot, check_errors=not get_infos)
    parts = tuple(result) if get_infos else tuple(result)[:2]
    if out is None:
        return parts
    for receiver, part in zip(out, parts, strict=True):
        if tuple(receiver.shape) == tuple(part.shape):
            receiver.copy_(part)
        else:
            _C._become(receiver, part)
    return tuple(out)

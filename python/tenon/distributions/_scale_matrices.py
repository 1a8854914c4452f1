"""Parameters given as a covariance, its inverse or its factor; the others when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from .utils import lazy_property

NAMES = ("covariance_matrix", "precision_matrix", "scale_tril")


def given_matrix(*matrices: Tensor | None) -> tuple[str, Tensor]:
    """Which of the three is given, in the order of NAMES. ValueError unless one is."""
    given = {name: matrix for name, matrix in zip(NAMES, matrices) if matrix is not None}
    if len(given) != 1:
        raise ValueError(
            "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
        )
    ((name, matrix),) = given.items()
    if matrix.ndim < 2:
        raise ValueError(
            f"{name} must be at least two-dimensional, with optional leading batch dimensions"
        )
    return name, matrix


def precision_to_scale_tril(precision: Tensor) -> Tensor:
    """The Cholesky factor of the inverse, without the inverse."""
    factor = tn.linalg.cholesky(precision.flip(-2).flip(-1))
    inverse = factor.flip(-2).flip(-1).transpose(-2, -1)
    identity = tn.eye(precision.shape[-1], dtype=precision.dtype)
    return tn.linalg.solve_triangular(inverse, identity.expand(precision.shape), upper=False)


def factor_of(name: str, matrix: Tensor) -> Tensor:
    """The Cholesky factor of the covariance, of what given_matrix gives."""
    if name == "scale_tril":
        return matrix
    if name == "covariance_matrix":
        return tn.linalg.cholesky(matrix)
    return precision_to_scale_tril(matrix)


class ScaleMatrix:
    """Matrices of the batch and the event's last extent, all from one Cholesky factor."""

    _unbroadcasted_scale_tril: Tensor
    _batch_shape: Any
    _event_shape: Any

    def _expanded_matrices(self, batch_shape: Sequence[int]) -> dict[str, Any]:
        n = self._event_shape[-1]
        kept = [name for name in NAMES if name in self.__dict__]
        fields = {name: self.__dict__[name].expand((*batch_shape, n, n)) for name in kept}
        return {"_unbroadcasted_scale_tril": self._unbroadcasted_scale_tril, **fields}

    def _matrix(self, matrix: Tensor) -> Tensor:
        n = self._event_shape[-1]
        return matrix.expand((*self._batch_shape, n, n))

    @lazy_property
    def scale_tril(self) -> Tensor:
        return self._matrix(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        factor = self._unbroadcasted_scale_tril
        return self._matrix(factor @ factor.transpose(-2, -1))

    @lazy_property
    def precision_matrix(self) -> Tensor:
        return self._matrix(tn.cholesky_inverse(self._unbroadcasted_scale_tril))

"""The multivariate normal distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from ._scale_matrices import ScaleMatrix, factor_of, given_matrix
from .distribution import Distribution


def batch_mv(matrix: Tensor, vector: Tensor) -> Tensor:
    """A product of matrices and vectors of any batches."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def solve_lower(factor: Tensor, x: Tensor) -> Tensor:
    """factor^-1 x, of vectors of any batch; the factor's batch broadcasts to theirs."""
    if factor.ndim == 2:  # one factor for all vectors: they are the columns of one matrix
        columns = x.reshape(-1, x.shape[-1]).T
        return tn.linalg.solve_triangular(factor, columns, upper=False).T.reshape(x.shape)
    return tn.linalg.solve_triangular(factor, x.unsqueeze(-1), upper=False).squeeze(-1)


def mahalanobis(factor: Tensor, x: Tensor) -> Tensor:
    """x^T (L L^T)^-1 x."""
    return solve_lower(factor, x).square().sum(-1)


def half_log_det(factor: Tensor) -> Tensor:
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class MultivariateNormal(ScaleMatrix, Distribution):
    """The normal distribution of vectors, by covariance, precision or a Cholesky factor.

    Shape: loc (*, n), matrices (*, n, n); events (n).
    Errors: ValueError unless one of the three is given, of at least two dimensions.

    Example::

        >>> d = tn.distributions.MultivariateNormal(tn.zeros(2), tn.eye(2))
        >>> d.log_prob(tn.zeros(2))
        tensor(-1.8379)
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        name, matrix = given_matrix(covariance_matrix, precision_matrix, scale_tril)
        batch = tn.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        setattr(self, name, matrix.expand((*batch, -1, -1)))
        self.loc = loc.expand((*batch, -1))
        super().__init__(batch, self.loc.shape[-1:], validate_args=validate_args)
        self._unbroadcasted_scale_tril = factor_of(name, matrix)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> MultivariateNormal:
        fields: dict[str, Any] = {
            "loc": self.loc.expand((*batch_shape, *self.event_shape)),
            **self._expanded_matrices(batch_shape),
        }
        return self._expanded(MultivariateNormal, _instance, batch_shape, **fields)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        variance = self._unbroadcasted_scale_tril.square().sum(-1)
        return variance.expand((*self._batch_shape, *self._event_shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        noise = tn.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + batch_mv(self._unbroadcasted_scale_tril, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        factor = self._unbroadcasted_scale_tril
        distance = mahalanobis(factor, value - self.loc)
        constant = self._event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + distance) - half_log_det(factor)

    def entropy(self) -> Tensor:
        constant = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi))
        return (constant + half_log_det(self._unbroadcasted_scale_tril)).expand(self._batch_shape)

"""The multivariate normal distribution of a covariance that is diagonal but for a low rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from .distribution import Distribution
from .multivariate_normal import batch_mv, half_log_det, solve_lower
from .utils import lazy_property


def capacitance_tril(factor: Tensor, diag: Tensor) -> Tensor:
    """The Cholesky factor of I + W^T D^-1 W."""
    scaled = factor.transpose(-2, -1) / diag.unsqueeze(-2)
    return tn.linalg.cholesky(scaled @ factor + tn.eye(factor.shape[-1], dtype=factor.dtype))


def log_det(diag: Tensor, capacitance: Tensor) -> Tensor:
    """log |W W^T + D|, by the matrix determinant lemma."""
    return 2 * half_log_det(capacitance) + diag.log().sum(-1)


def low_rank_mahalanobis(factor: Tensor, diag: Tensor, x: Tensor, capacitance: Tensor) -> Tensor:
    """x^T (W W^T + D)^-1 x, by Woodbury's identity."""
    scaled = batch_mv(factor.transpose(-2, -1) / diag.unsqueeze(-2), x)
    return (x.square() / diag).sum(-1) - solve_lower(capacitance, scaled).square().sum(-1)


class LowRankMultivariateNormal(Distribution):
    """The normal distribution of vectors of covariance cov_factor cov_factor^T + diag(cov_diag).

    Shape: loc (*, n), cov_factor (*, n, k), cov_diag (*, n); events (n).
    Errors: ValueError for sizes that don't fit.

    Example::

        >>> d = tn.distributions.LowRankMultivariateNormal(
        ...     tn.zeros(2), tn.tensor([[1.0], [0.0]]), tn.ones(2))
        >>> d.variance
        tensor([2., 1.])
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None
    ) -> None:
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        event = loc.shape[-1:]
        if cov_factor.ndim < 2:
            raise ValueError(
                "cov_factor must be at least two-dimensional, with optional leading batch "
                "dimensions"
            )
        if cov_factor.shape[-2:-1] != event:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {event[0]} x m")
        if cov_diag.shape[-1:] != event:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {event}")
        try:
            batch = tn.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        except RuntimeError as error:
            raise ValueError(
                f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, "
                f"cov_diag {cov_diag.shape}"
            ) from error
        self.loc = loc.expand((*batch, *event))
        self.cov_factor = cov_factor.expand((*batch, *cov_factor.shape[-2:]))
        self.cov_diag = cov_diag.expand((*batch, *event))
        self._unbroadcasted_cov_factor = cov_factor
        self._unbroadcasted_cov_diag = cov_diag
        self._capacitance_tril = capacitance_tril(cov_factor, cov_diag)
        super().__init__(batch, event, validate_args=validate_args)

    def expand(
        self, batch_shape: Sequence[int], _instance: Any = None
    ) -> LowRankMultivariateNormal:
        shape = (*batch_shape, *self.event_shape)
        fields = {
            "loc": self.loc.expand(shape),
            "cov_diag": self.cov_diag.expand(shape),
            "cov_factor": self.cov_factor.expand((*shape, self.cov_factor.shape[-1])),
            "_unbroadcasted_cov_factor": self._unbroadcasted_cov_factor,
            "_unbroadcasted_cov_diag": self._unbroadcasted_cov_diag,
            "_capacitance_tril": self._capacitance_tril,
        }
        return self._expanded(LowRankMultivariateNormal, _instance, batch_shape, **fields)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> Tensor:  # type: ignore[override]
        variance = self._unbroadcasted_cov_factor.square().sum(-1) + self._unbroadcasted_cov_diag
        return variance.expand((*self._batch_shape, *self._event_shape))

    def _matrix(self, matrix: Tensor) -> Tensor:
        return matrix.expand((*self._batch_shape, *self._event_shape, *self._event_shape))

    @lazy_property
    def scale_tril(self) -> Tensor:
        # D^1/2 times the factor of I + D^-1/2 W W^T D^-1/2, whose eigenvalues are 1 or more.
        root = self._unbroadcasted_cov_diag.sqrt().unsqueeze(-1)
        scaled = self._unbroadcasted_cov_factor / root
        identity = tn.eye(self._event_shape[0], dtype=scaled.dtype)
        factor = tn.linalg.cholesky(scaled @ scaled.transpose(-2, -1) + identity)
        return self._matrix(root * factor)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        factor = self._unbroadcasted_cov_factor
        diagonal = tn.diag_embed(self._unbroadcasted_cov_diag)
        return self._matrix(factor @ factor.transpose(-2, -1) + diagonal)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        diag = self._unbroadcasted_cov_diag
        scaled = self._unbroadcasted_cov_factor.transpose(-2, -1) / diag.unsqueeze(-2)
        part = tn.linalg.solve_triangular(self._capacitance_tril, scaled, upper=False)
        return self._matrix(tn.diag_embed(diag.reciprocal()) - part.transpose(-2, -1) @ part)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        dtype = self.loc.dtype
        low = tn.randn((*shape[:-1], self.cov_factor.shape[-1]), dtype=dtype)
        own = tn.randn(shape, dtype=dtype)
        low = batch_mv(self._unbroadcasted_cov_factor, low)
        return self.loc + low + self._unbroadcasted_cov_diag.sqrt() * own

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        factor, diag = self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag
        distance = low_rank_mahalanobis(factor, diag, value - self.loc, self._capacitance_tril)
        constant = self._event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + log_det(diag, self._capacitance_tril) + distance)

    def entropy(self) -> Tensor:
        half = 0.5 * log_det(self._unbroadcasted_cov_diag, self._capacitance_tril)
        constant = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi))
        return (constant + half).expand(self._batch_shape)

"""The Wishart distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from ._scale_matrices import ScaleMatrix, factor_of, given_matrix
from .distribution import Distribution
from .gamma import Gamma
from .multivariate_normal import half_log_det


def _log_multivariate_gamma(a: Tensor, p: int) -> Tensor:
    shifted = a.unsqueeze(-1) - 0.5 * tn.arange(p).to(a.dtype)
    return tn.lgamma(shifted).sum(-1) + 0.25 * p * (p - 1) * math.log(math.pi)


def _multivariate_digamma(a: Tensor, p: int) -> Tensor:
    return tn.digamma(a.unsqueeze(-1) - 0.5 * tn.arange(p).to(a.dtype)).sum(-1)


class Wishart(ScaleMatrix, Distribution):
    """The distribution of the scatter matrices of df normal vectors of a covariance.

    Samples are by Bartlett's decomposition.
    Shape: df (*), matrices (*, n, n); events (n, n).
    Errors: ValueError unless one of the three matrices is given and df is above n - 1.

    Example::

        >>> d = tn.distributions.Wishart(tn.tensor(4.0), covariance_matrix=tn.eye(2))
        >>> d.mean
        tensor([[4., 0.],
                [0., 4.]])
    """

    support = constraints.positive_definite
    has_rsample = True

    @property
    def arg_constraints(self) -> dict[str, Any]:  # type: ignore[override]
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self._event_shape[-1] - 1),
        }

    def __init__(
        self,
        df: Any,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = given_matrix(covariance_matrix, precision_matrix, scale_tril)
        df = tn.as_tensor(df, dtype=matrix.dtype)
        batch = tn.broadcast_shapes(df.shape, matrix.shape[:-2])
        event = matrix.shape[-2:]
        self.df = df.expand(batch)
        self._batch_shape, self._event_shape = batch, event
        setattr(self, name, matrix.expand((*batch, -1, -1)))
        if bool((self.df <= event[-1] - 1).any()):
            raise ValueError(
                f"Value of df={df} expected to be greater than ndim - 1 = {event[-1] - 1}."
            )
        super().__init__(batch, event, validate_args=validate_args)
        self._unbroadcasted_scale_tril = factor_of(name, matrix)
        self._chi2 = self._diagonals()

    def _diagonals(self) -> Gamma:
        """The squares of the diagonal of Bartlett's factor: chi-squared of df, df - 1, ..."""
        freedom = self.df.unsqueeze(-1) - tn.arange(self._event_shape[-1]).to(self.df.dtype)
        return Gamma(0.5 * freedom, 0.5, validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Wishart:
        fields: dict[str, Any] = {
            "df": self.df.expand(batch_shape),
            **self._expanded_matrices(batch_shape),
        }
        new = self._expanded(Wishart, _instance, batch_shape, **fields)
        new._chi2 = new._diagonals()
        return new

    def _of_df(self, x: Tensor) -> Tensor:
        return x.reshape((*self._batch_shape, 1, 1))

    @property
    def mean(self) -> Tensor:
        return self._of_df(self.df) * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self.df - self._event_shape[-1] - 1
        factor = tn.where(factor <= 0, math.nan, factor)
        return self._of_df(factor) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        outer = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self._of_df(self.df) * (v.square() + outer)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        diagonal = self._chi2.rsample(sample_shape).clamp(min=tn.finfo(self.df.dtype).tiny).sqrt()
        factor = tn.randn(shape, dtype=self.df.dtype).tril(-1) + tn.diag_embed(diagonal)
        product = self._unbroadcasted_scale_tril @ factor
        return product @ product.transpose(-2, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        p, half = self._event_shape[-1], 0.5 * self.df
        factor = self._unbroadcasted_scale_tril
        solved = tn.cholesky_solve(value, factor.expand((*self._batch_shape, p, p)))
        trace = solved.diagonal(dim1=-2, dim2=-1).sum(-1)
        log_det = 2 * half_log_det(tn.linalg.cholesky(value))
        normalizer = self.df * (0.5 * p * math.log(2.0) + half_log_det(factor))
        normalizer = normalizer + _log_multivariate_gamma(half, p)
        return 0.5 * (self.df - p - 1) * log_det - 0.5 * trace - normalizer

    def entropy(self) -> Tensor:
        p, half = self._event_shape[-1], 0.5 * self.df
        scale = half_log_det(self._unbroadcasted_scale_tril)
        return (
            (p + 1) * (0.5 * p * math.log(2.0) + scale)
            + _log_multivariate_gamma(half, p)
            - 0.5 * (self.df - p - 1) * _multivariate_digamma(half, p)
            + half * p
        ).expand(self._batch_shape)

"""Student's t-distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from .chi2 import Chi2
from .distribution import Distribution
from .utils import broadcast_all


class StudentT(Distribution):
    """Student's t-distribution of df degrees of freedom, around loc, times scale.

    Example::

        >>> tn.distributions.StudentT(tn.tensor(2.0)).log_prob(tn.tensor(0.0))
        tensor(-1.0397)
    """

    arg_constraints = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(
        self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df, validate_args=validate_args)
        super().__init__(self.df.shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> StudentT:
        fields: dict[str, Any] = {
            name: getattr(self, name).expand(batch_shape) for name in ("df", "loc", "scale")
        }
        fields["_chi2"] = self._chi2.expand(batch_shape)
        return self._expanded(StudentT, _instance, batch_shape, **fields)

    @property
    def mean(self) -> Tensor:
        return tn.where(self.df > 1, self.loc, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        finite = self.scale.square() * self.df / (self.df - 2)
        return tn.where(self.df > 2, finite, tn.where(self.df > 1, math.inf, math.nan))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        x = tn.randn(self._extended_shape(sample_shape), dtype=self.df.dtype)
        z = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * x * (z / self.df).rsqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        normalizer = (
            self.scale.log()
            + 0.5 * self.df.log()
            + 0.5 * math.log(math.pi)
            + tn.lgamma(0.5 * self.df)
            - tn.lgamma(0.5 * (self.df + 1.0))
        )
        return -0.5 * (self.df + 1.0) * (y.square() / self.df).log1p() - normalizer

    def entropy(self) -> Tensor:
        lbeta = tn.lgamma(0.5 * self.df) + math.lgamma(0.5) - tn.lgamma(0.5 * (self.df + 1))
        half = 0.5 * (self.df + 1)
        spread = half * (tn.digamma(half) - tn.digamma(0.5 * self.df))
        return self.scale.log() + spread + 0.5 * self.df.log() + lbeta

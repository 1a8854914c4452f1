"""The generalized Pareto distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from .distribution import Distribution
from .utils import broadcast_all


class GeneralizedPareto(Distribution):
    """The generalized Pareto distribution from loc on: exponential for a concentration of 0,
    heavy-tailed above, bounded below.

    Example::

        >>> tn.distributions.GeneralizedPareto(0.0, 1.0, 0.5).mean
        tensor(2.)
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True

    def __init__(
        self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> GeneralizedPareto:
        names = ("loc", "scale", "concentration")
        fields = {name: getattr(self, name).expand(batch_shape) for name in names}
        return self._expanded(GeneralizedPareto, _instance, batch_shape, **fields)

    def _is_exponential(self) -> Tensor:
        return tn.isclose(self.concentration, tn.zeros_like(self.concentration))

    def _shape(self) -> Tensor:
        """The concentration, where it is not 0."""
        return tn.where(self._is_exponential(), 1.0, self.concentration)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        top = self.loc - self.scale / self._shape()
        upper = tn.where(self.concentration < 0, top, math.inf)
        return constraints.interval(self.loc, upper)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return self.icdf(tn.rand(shape, dtype=self.loc.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        z = (value - self.loc) / self.scale
        k = self._shape()
        power = (1 + 1 / k) * (k * z).log1p()
        return -self.scale.log() - tn.where(self._is_exponential(), z, power)

    def _log_survival(self, value: Tensor) -> Tensor:
        z = (value - self.loc) / self.scale
        k = self._shape()
        return tn.where(self._is_exponential(), -z, -(k * z).log1p() / k)

    def log_survival_function(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._log_survival(value)

    def log_cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return (-self._log_survival(value).exp()).log1p()

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -self._log_survival(value).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        log_survival = (-value).log1p()
        k = self._shape()
        power = (-k * log_survival).expm1() / k
        return self.loc + self.scale * tn.where(self._is_exponential(), -log_survival, power)

    @property
    def mean(self) -> Tensor:
        k = self.concentration
        return tn.where(k < 1, self.loc + self.scale / (1 - k), math.inf)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        k = self.concentration
        value = self.scale.square() / ((1 - k).square() * (1 - 2 * k))
        return tn.where(k < 0.5, value, math.inf)

    def entropy(self) -> Tensor:
        return self.scale.log() + self.concentration + 1

"""The half-Cauchy distribution."""

from __future__ import annotations

import math

import tenon as tn
from tenon import Tensor

from ._half import Half
from .cauchy import Cauchy


class HalfCauchy(Half):
    """The distribution of |x|, x being Cauchy of median 0 and half-width scale.

    Example::

        >>> tn.distributions.HalfCauchy(tn.tensor(1.0)).log_prob(tn.tensor(0.0))
        tensor(-0.4516)
    """

    _base = Cauchy

    @property
    def mean(self) -> Tensor:
        return tn.full(self._extended_shape(), math.inf, dtype=self.scale.dtype)

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._twice(tn.as_tensor(value, dtype=self.scale.dtype))

"""The half-normal distribution."""

from __future__ import annotations

import math

from tenon import Tensor

from ._half import Half
from .normal import Normal


class HalfNormal(Half):
    """The distribution of |x|, x being normal of mean 0 and standard deviation scale.

    Example::

        >>> tn.distributions.HalfNormal(tn.tensor(1.0)).mean
        tensor(0.7979)
    """

    _base = Normal

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * (1 - 2 / math.pi)

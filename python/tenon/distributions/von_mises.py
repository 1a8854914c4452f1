"""The von Mises distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from .distribution import Distribution
from .utils import broadcast_all

# Abramowitz, Stegun, "Handbook of mathematical functions", 9.8.1 to 9.8.4: polynomials of
# (x / 3.75) ** 2 below 3.75, of 3.75 / x above, errors below 2e-7.
_SMALL = {
    0: (1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.360768e-1, 0.45813e-2),
    1: (0.5, 0.87890594, 0.51498869, 0.15084934, 0.2658733e-1, 0.301532e-2, 0.32411e-3),
}
_LARGE = {
    0: (
        *(0.39894228, 0.1328592e-1, 0.225319e-2, -0.157565e-2, 0.916281e-2),
        *(-0.2057706e-1, 0.2635537e-1, -0.1647633e-1, 0.392377e-2),
    ),
    1: (
        *(0.39894228, -0.3988024e-1, -0.362018e-2, 0.163801e-2, -0.1031555e-1),
        *(0.2282967e-1, -0.2895312e-1, 0.1787654e-1, -0.420059e-2),
    ),
}


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    result = tn.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * x + coefficient
    return result


def _log_modified_bessel(x: Tensor, order: int) -> Tensor:
    """log(I_order(x)) of positive x."""
    y = (x / 3.75).square()
    small = _polynomial(y, _SMALL[order]).log()
    if order == 1:
        small = small + x.abs().log()
    large = x - 0.5 * x.log() + _polynomial(3.75 / x, _LARGE[order]).log()
    return tn.where(x < 3.75, small, large)


class VonMises(Distribution):
    """The von Mises distribution of angles around loc.

    Samples are by rejection from a wrapped Cauchy distribution: the first accepted of 40 tries.
    Source: Best, Fisher, "Efficient simulation of the von Mises distribution", Applied Statistics
    1979.

    Example::

        >>> tn.distributions.VonMises(tn.tensor(0.0), tn.tensor(1.0)).log_prob(tn.tensor(0.0))
        tensor(-1.0738)
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> VonMises:
        fields = {
            "loc": self.loc.expand(batch_shape),
            "concentration": self.concentration.expand(batch_shape),
        }
        return self._expanded(VonMises, _instance, batch_shape, **fields)

    @property
    def mean(self) -> Tensor:
        """The circular mean."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The circular variance."""
        k = self.concentration
        return 1 - (_log_modified_bessel(k, 1) - _log_modified_bessel(k, 0)).exp()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with tn.no_grad():
            k = self.concentration.double()
            tau = 1 + (1 + 4 * k.square()).sqrt()
            rho = (tau - (2 * tau).sqrt()) / (2 * k)
            # For small concentrations the terms cancel: their expansion, and the uniform limit.
            r = tn.where(k < 1e-5, 1 / k + k, (1 + rho.square()) / (2 * rho))
            u1, u2, u3 = tn.rand((3, 40, *shape), dtype=tn.float64).unbind(0)
            z = (math.pi * u1).cos()
            f = ((1 + r * z) / (r + z)).clamp(-1, 1)
            c = k * (r - f)
            accepted = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
            angles = (u3 - 0.5).sign() * f.acos()
            first = accepted.long().argmax(0, keepdim=True)
            angle = angles.gather(0, first).squeeze(0)
            wrapped = (angle + math.pi + self.loc.double()) % (2 * math.pi) - math.pi
            return wrapped.to(self.loc.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        density = self.concentration * (value - self.loc).cos()
        return density - math.log(2 * math.pi) - _log_modified_bessel(self.concentration, 0)

"""The gamma distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from .exp_family import ExponentialFamily
from .utils import broadcast_all


class _StandardGamma(tn.autograd.Function):
    """A gamma random number of rate 1, as a function of its shape."""

    @staticmethod
    def forward(ctx: Any, concentration: Tensor) -> Tensor:
        value = tn.standard_gamma(concentration)
        ctx.save_for_backward(concentration, value)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        concentration, value = ctx.saved_tensors
        return gradient * tn.gamma_shape_derivative(concentration, value)


def standard_gamma(concentration: Tensor) -> Tensor:
    """Gamma random numbers of rate 1; their derivative is the implicit one."""
    if not tn.is_grad_enabled():
        return tn.standard_gamma(concentration)
    return _StandardGamma.apply(concentration)


class Gamma(ExponentialFamily):
    """The gamma distribution of shape concentration and a rate.

    Samples have the implicit derivative (Figurnov, Mohamed, Mnih, "Implicit reparameterization
    gradients", NeurIPS 2018).

    Example::

        >>> tn.distributions.Gamma(tn.tensor([1.0]), tn.tensor([2.0])).log_prob(tn.tensor([1.0]))
        tensor([-1.3069])
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Gamma:
        fields = {
            "concentration": self.concentration.expand(batch_shape),
            "rate": self.rate.expand(batch_shape),
        }
        return self._expanded(Gamma, _instance, batch_shape, **fields)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate.square()

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        value = standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        # Zero is outside the open support.
        tiny = tn.finfo(value.dtype).tiny
        return tn.where(value.detach() < tiny, value - value.detach() + tiny, value)

    def log_prob(self, value: Tensor) -> Tensor:
        value = tn.as_tensor(value, dtype=self.rate.dtype)
        if self._validate_args:
            self._validate_sample(value)
        return (
            tn.xlogy(self.concentration, self.rate)
            + tn.xlogy(self.concentration - 1, value)
            - self.rate * value
            - tn.lgamma(self.concentration)
        )

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return tn.special.gammainc(self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + tn.lgamma(a) + (1.0 - a) * tn.digamma(a)

    @property
    def _natural_params(self) -> tuple[Tensor, Tensor]:
        return self.concentration - 1, -self.rate

    def _log_normalizer(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return tn.lgamma(x + 1) + (x + 1) * (-y.reciprocal()).log()

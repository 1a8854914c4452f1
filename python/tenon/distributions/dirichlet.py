"""The Dirichlet distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from .exp_family import ExponentialFamily
from .gamma import standard_gamma


def sample_simplex(concentration: Tensor) -> Tensor:
    """Points of the simplex, by gamma numbers over their sum; derivatives pass."""
    gammas = standard_gamma(concentration.double())
    gammas = gammas.clamp(min=tn.finfo(tn.float64).tiny)
    return (gammas / gammas.sum(-1, keepdim=True)).to(concentration.dtype)


class Dirichlet(ExponentialFamily):
    """The Dirichlet distribution over the simplex.

    Shape: concentration (*, k), k >= 1; events (k).

    Example::

        >>> tn.distributions.Dirichlet(tn.tensor([0.5, 0.5])).sample().sum()
        tensor(1.)
    """

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        shape = concentration.shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Dirichlet:
        concentration = self.concentration.expand((*batch_shape, *self.event_shape))
        return self._expanded(Dirichlet, _instance, batch_shape, concentration=concentration)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return sample_simplex(self.concentration.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        a = self.concentration
        return tn.xlogy(a - 1, value).sum(-1) + tn.lgamma(a.sum(-1)) - tn.lgamma(a).sum(-1)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Tensor:
        above = (self.concentration - 1).clamp(min=0.0)
        mode = above / above.sum(-1, True)
        largest = tn.nn.functional.one_hot(mode.argmax(-1), above.shape[-1]).to(mode)
        return tn.where((self.concentration < 1).all(-1, True), largest, mode)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        a = self.concentration
        return a * (total - a) / (total.square() * (total + 1))

    def entropy(self) -> Tensor:
        a = self.concentration
        k, total = a.shape[-1], a.sum(-1)
        return (
            tn.lgamma(a).sum(-1)
            - tn.lgamma(total)
            - (k - total) * tn.digamma(total)
            - ((a - 1.0) * tn.digamma(a)).sum(-1)
        )

    @property
    def _natural_params(self) -> tuple[Tensor]:
        return (self.concentration,)

    def _log_normalizer(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.lgamma().sum(-1) - x.sum(-1).lgamma()

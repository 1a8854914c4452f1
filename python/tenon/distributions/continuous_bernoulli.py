"""The continuous Bernoulli distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from ._probabilities import BinaryProbability
from .exp_family import ExponentialFamily
from .utils import broadcast_all, clamp_probs, lazy_property, logits_to_probs


class ContinuousBernoulli(BinaryProbability, ExponentialFamily):
    """The distribution over [0, 1] of density proportional to probs ** x * (1 - probs) ** (1 - x).

    lims: probabilities between them are near 0.5, where formulas give way to their expansions.

    Source: Loaiza-Ganem, Cunningham, "The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders", NeurIPS 2019.

    Example::

        >>> tn.distributions.ContinuousBernoulli(tn.tensor([0.5])).mean
        tensor([0.5000])
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        self._set_probability(probs, logits)
        if probs is not None:
            if validate_args is not None and not bool(
                self.arg_constraints["probs"].check(self.probs).all()
            ):
                raise ValueError("The parameter probs has invalid values")
            self.probs = self._param = clamp_probs(self.probs)
        self._lims = lims
        super().__init__(self._param.shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> ContinuousBernoulli:
        fields = self._expanded_tensors(batch_shape)
        fields["_lims"] = self._lims
        return self._expanded(ContinuousBernoulli, _instance, batch_shape, **fields)

    @lazy_property
    def probs(self) -> Tensor:
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    def _is_far(self) -> Tensor:
        """Whether the formulas hold, which divide by 1 - 2 probs."""
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _far_probs(self) -> Tensor:
        return tn.where(self._is_far(), self.probs, self._lims[0])

    def _log_constant(self) -> Tensor:
        """The log of what the density is to be multiplied by."""
        far = self._far_probs()
        below = tn.where(far <= 0.5, far, 0.0)
        above = tn.where(far >= 0.5, far, 1.0)
        spread = ((-far).log1p() - far.log()).abs().log()
        gap = tn.where(far <= 0.5, (-2.0 * below).log1p(), (2.0 * above - 1.0).log())
        x = (self.probs - 0.5).square()
        near = math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x
        return tn.where(self._is_far(), spread - gap, near)

    @property
    def mean(self) -> Tensor:
        far = self._far_probs()
        value = far / (2.0 * far - 1.0) + 1.0 / ((-far).log1p() - far.log())
        x = self.probs - 0.5
        return tn.where(self._is_far(), value, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.square()) * x)

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()

    @property
    def variance(self) -> Tensor:
        far = self._far_probs()
        value = far * (far - 1.0) / (1.0 - 2.0 * far).square()
        value = value + 1.0 / ((-far).log1p() - far.log()).square()
        x = (self.probs - 0.5).square()
        near = 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x
        return tn.where(self._is_far(), value, near)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return self.icdf(tn.rand(shape, dtype=self.probs.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        binary = tn.nn.functional.binary_cross_entropy_with_logits
        return -binary(logits, value, reduction="none") + self._log_constant()

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        far = self._far_probs()
        powers = far.pow(value) * (1.0 - far).pow(1.0 - value) + far - 1.0
        unbounded = tn.where(self._is_far(), powers / (2.0 * far - 1.0), value)
        inside = tn.where(value >= 1.0, 1.0, unbounded)
        return tn.where(value <= 0.0, 0.0, inside)

    def icdf(self, value: Tensor) -> Tensor:
        far = self._far_probs()
        top = (-far + value * (2.0 * far - 1.0)).log1p() - (-far).log1p()
        return tn.where(self._is_far(), top / (far.log() - (-far).log1p()), value)

    def entropy(self) -> Tensor:
        log_odds = (-self.probs).log1p() - self.probs.log()
        return self.mean * log_odds - self._log_constant() - (-self.probs).log1p()

    @property
    def _natural_params(self) -> tuple[Tensor]:
        return (self.logits,)

    def _log_normalizer(self, x: Tensor) -> Tensor:  # type: ignore[override]
        far = (x <= self._lims[0] - 0.5) | (x > self._lims[1] - 0.5)
        safe = tn.where(far, x, self._lims[0] - 0.5)
        value = (safe.exp() - 1).abs().log() - safe.abs().log()
        near = 0.5 * x + x.square() / 24.0 - x.pow(4) / 2880.0
        return tn.where(far, value, near)

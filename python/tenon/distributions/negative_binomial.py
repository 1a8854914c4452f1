"""The negative binomial distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from ._probabilities import BinaryProbability
from .distribution import Distribution
from .gamma import Gamma


class NegativeBinomial(BinaryProbability, Distribution):
    """Successes, each of a probability probs, before total_count failures.

    Errors: ValueError unless one of probs and logits is given.

    Example::

        >>> tn.distributions.NegativeBinomial(3.0, tn.tensor([0.5])).mean
        tensor([3.])
    """

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self,
        total_count: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        (total_count,) = self._set_probability(probs, logits, total_count)
        self.total_count = total_count.type_as(self._param)
        super().__init__(self._param.shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> NegativeBinomial:
        fields = self._expanded_tensors(batch_shape, "total_count")
        return self._expanded(NegativeBinomial, _instance, batch_shape, **fields)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Tensor:
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with tn.no_grad():
            rate = Gamma(self.total_count, (-self.logits).exp(), validate_args=False)
            return tn.poisson(rate.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log_sigmoid = tn.nn.functional.logsigmoid
        n = self.total_count
        unnormalized = n * log_sigmoid(-self.logits) + value * log_sigmoid(self.logits)
        normalizer = -tn.lgamma(n + value) + tn.lgamma(1.0 + value) + tn.lgamma(n)
        # Without failures to wait for, no success is counted.
        normalizer = normalizer.masked_fill(n + value == 0.0, 0.0)
        return unnormalized - normalizer

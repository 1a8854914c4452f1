"""The binomial distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from ._probabilities import BinaryProbability
from .distribution import Distribution


class Binomial(BinaryProbability, Distribution):
    """Successes of total_count trials of a probability probs, or sigmoid(logits).

    Errors: ValueError unless one of probs and logits is given; NotImplementedError for values of
    enumerate_support where total_count differs.

    Example::

        >>> tn.distributions.Binomial(4, tn.tensor([0.5])).log_prob(tn.tensor([2.0])).exp()
        tensor([0.3750])
    """

    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_enumerate_support = True

    def __init__(
        self,
        total_count: Any = 1,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        (total_count,) = self._set_probability(probs, logits, total_count)
        self.total_count = total_count.type_as(self._param)
        super().__init__(self._param.shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Binomial:
        fields = self._expanded_tensors(batch_shape, "total_count")
        return self._expanded(Binomial, _instance, batch_shape, **fields)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with tn.no_grad():
            return tn.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n, logits = self.total_count, self.logits
        coefficient = tn.lgamma(n + 1) - tn.lgamma(value + 1) - tn.lgamma(n - value + 1)
        # n log(1 + exp(logits)), without overflow.
        norm = n * (logits.clamp(min=0) + (-logits.abs()).exp().log1p())
        return value * logits + coefficient - norm

    def _total(self) -> int:
        total = int(self.total_count.max())
        if int(self.total_count.min()) != total:
            raise NotImplementedError("Inhomogeneous total count not supported by this method.")
        return total

    def entropy(self) -> Tensor:
        self._total()
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(log_prob.exp() * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = tn.arange(1 + self._total(), dtype=self._param.dtype)
        values = values.reshape((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values

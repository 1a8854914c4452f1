"""The geometric distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from ._probabilities import BinaryProbability
from .distribution import Distribution
from .utils import broadcast_all


class Geometric(BinaryProbability, Distribution):
    """The number of failures before the first success of a probability probs, or sigmoid(logits).

    Errors: ValueError unless one of probs and logits is given.

    Example::

        >>> tn.distributions.Geometric(tn.tensor([0.5])).mean
        tensor([1.])
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._set_probability(probs, logits)
        super().__init__(self._param.shape, validate_args=validate_args)
        if self._validate_args and probs is not None and not bool((self.probs > 0).all()):
            raise ValueError(
                f"Expected parameter probs (Tensor of shape {tuple(self.probs.shape)}) of "
                f"distribution {self!r} to be positive but found invalid values:\n{self.probs}"
            )

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Geometric:
        fields = self._expanded_tensors(batch_shape)
        return self._expanded(Geometric, _instance, batch_shape, **fields)

    @property
    def mean(self) -> Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Tensor:
        return tn.zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with tn.no_grad():
            u = 1 - tn.rand(shape, dtype=self.probs.dtype)  # in (0, 1]
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        probs = probs.masked_fill((probs == 1) & (value == 0), 0)
        return value * (-probs).log1p() + self.probs.log()

    def entropy(self) -> Tensor:
        binary = tn.nn.functional.binary_cross_entropy_with_logits
        return binary(self.logits, self.probs, reduction="none") / self.probs

"""The multinomial distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from .binomial import Binomial
from .categorical import Categorical
from .distribution import Distribution
from .utils import broadcast_all


class Multinomial(Distribution):
    """How often each class occurs in total_count draws.

    Shape: probs or logits (*, k); events (k).
    Errors: NotImplementedError for a total_count that is no int.

    Example::

        >>> tn.distributions.Multinomial(5, tn.tensor([1.0, 1.0])).sample().sum()
        tensor(5.)
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    total_count: int

    def __init__(
        self,
        total_count: int = 1,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs=probs, logits=logits)
        self._binomial = Binomial(total_count=total_count, probs=self.probs)
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Multinomial:
        fields: dict[str, Any] = {
            "total_count": self.total_count,
            "_categorical": self._categorical.expand(batch_shape),
            "_binomial": self._binomial.expand((*batch_shape, *self.event_shape)),
        }
        return self._expanded(Multinomial, _instance, batch_shape, **fields)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def param_shape(self) -> Any:
        return self._categorical.param_shape

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with tn.no_grad():
            drawn = self._categorical.sample((self.total_count, *sample_shape))
            counts = tn.zeros(self._extended_shape(sample_shape), dtype=self.probs.dtype)
            at = drawn.movedim(0, -1)
            return counts.scatter_add(-1, at, tn.ones_like(at).to(counts.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        logits = logits.masked_fill((value == 0) & (logits == float("-inf")), 0)
        factorials = tn.lgamma(value.sum(-1) + 1) - tn.lgamma(value + 1).sum(-1)
        return factorials + (logits * value).sum(-1)

    def entropy(self) -> Tensor:
        n = tn.tensor(float(self.total_count))
        support = self._binomial.enumerate_support(expand=False)[1:]
        weighed = self._binomial.log_prob(support).exp() * tn.lgamma(support + 1)
        return (
            self.total_count * self._categorical.entropy() - tn.lgamma(n + 1) + weighed.sum((0, -1))
        )

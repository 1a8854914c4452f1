"""Parameters given as probabilities or as their logits; the other is worked out when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenon import Tensor

from .utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits


class BinaryProbability:
    """The probability of one of two outcomes."""

    _param: Tensor  # as it was given

    def _set_probability(self, probs: Any, logits: Any, *others: Any) -> list[Tensor]:
        """Keeps the one that is given, broadcast with others, which are returned."""
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        *rest, self._param = broadcast_all(*others, logits if probs is None else probs)
        setattr(self, "logits" if probs is None else "probs", self._param)
        return rest

    def _expanded_tensors(self, batch_shape: Sequence[int], *others: str) -> dict[str, Any]:
        kept = [n for n in (*others, "probs", "logits", "_param") if n in self.__dict__]
        return {name: self.__dict__[name].expand(batch_shape) for name in kept}

    @lazy_property
    def logits(self) -> Tensor:
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Tensor:
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def param_shape(self) -> Any:
        return self._param.size()

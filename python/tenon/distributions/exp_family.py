"""ExponentialFamily: entropies and divergences from the log-normalizer's derivative."""

from __future__ import annotations

import tenon as tn
from tenon import Tensor

from .distribution import Distribution


class ExponentialFamily(Distribution):
    """A distribution whose density is exp(<natural parameters, statistics> - log-normalizer).

    Source: Nielsen, Nock, "Entropies and cross-entropies of exponential families", ICIP 2010.

    Example::

        >>> d = tn.distributions.Normal(tn.tensor(0.0), tn.tensor(2.0))
        >>> isinstance(d, tn.distributions.ExponentialFamily)
        True
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> float:
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """By Bregman: the log-normalizer less the natural parameters' product with its gradient."""
        params = [p.detach().requires_grad_() for p in self._natural_params]
        normalizer = self._log_normalizer(*params)
        gradients = tn.autograd.grad(normalizer.sum(), params, create_graph=True)
        result = -self._mean_carrier_measure + normalizer
        for param, gradient in zip(params, gradients, strict=True):
            part = param * gradient
            count = len(self.event_shape)
            result = result - (part.flatten(-count).sum(-1) if count else part)
        return result

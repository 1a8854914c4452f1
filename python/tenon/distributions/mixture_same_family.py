"""Mixtures of components of one family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from .categorical import Categorical
from .distribution import Distribution


class MixtureSameFamily(Distribution):
    """A mixture: a categorical distribution chooses among the last batch dimension's components.

    Errors: ValueError for other distributions, and for batches and numbers of components that
    don't fit.

    Example::

        >>> mix = tn.distributions.Categorical(tn.ones(5))
        >>> components = tn.distributions.Normal(tn.arange(5.0), 1.0)
        >>> tn.distributions.MixtureSameFamily(mix, components).mean
        tensor(2.)
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = False

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Any,
        validate_args: bool | None = None,
    ) -> None:
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                "The Mixture distribution needs to be an instance of distributions.Categorical"
            )
        if not isinstance(component_distribution, Distribution):
            raise ValueError(
                "The Component distribution need to be an instance of distributions.Distribution"
            )
        mixed = mixture_distribution.batch_shape
        components = component_distribution.batch_shape[:-1]
        for size, other in zip(reversed(mixed), reversed(components), strict=False):
            if size != 1 and other != 1 and size != other:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({mixed}) is not compatible with "
                    f"`component_distribution.batch_shape`({components})"
                )
        km = mixture_distribution.logits.shape[-1]
        kc = component_distribution.batch_shape[-1]
        if km != kc:
            raise ValueError(
                f"`mixture_distribution component` ({km}) does not equal "
                f"`component_distribution.batch_shape[-1]` ({kc})"
            )
        self._num_component = km
        self._event_ndims = len(component_distribution.event_shape)
        super().__init__(components, component_distribution.event_shape, validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> MixtureSameFamily:
        fields = {
            "_component_distribution": self.component_distribution.expand(
                (*batch_shape, self._num_component)
            ),
            "_mixture_distribution": self.mixture_distribution.expand(batch_shape),
            "_num_component": self._num_component,
            "_event_ndims": self._event_ndims,
        }
        return self._expanded(MixtureSameFamily, _instance, batch_shape, **fields)

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self) -> Categorical:
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Any:
        return self._component_distribution

    def _weights(self) -> Tensor:
        probs = self.mixture_distribution.probs
        return probs.reshape(*probs.shape, *[1] * self._event_ndims)

    def _over_components(self, x: Tensor) -> Tensor:
        return (self._weights() * x).sum(-1 - self._event_ndims)

    @property
    def mean(self) -> Tensor:
        return self._over_components(self.component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        within = self._over_components(self.component_distribution.variance)
        place = -1 - self._event_ndims
        distance = self.component_distribution.mean - self.mean.unsqueeze(place)
        return within + self._over_components(distance.square())

    def _pad(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1 - self._event_ndims)

    def cdf(self, x: Tensor) -> Tensor:
        below = self.component_distribution.cdf(self._pad(x))
        return (below * self.mixture_distribution.probs).sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(x)
        log_components = self.component_distribution.log_prob(self._pad(x))
        log_mixture = self.mixture_distribution.logits.log_softmax(-1)
        return (log_components + log_mixture).logsumexp(-1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with tn.no_grad():
            chosen = self.mixture_distribution.expand(self.batch_shape).sample(sample_shape)
            samples = self.component_distribution.sample(sample_shape)
            place = samples.ndim - self._event_ndims - 1
            at = chosen.reshape(*chosen.shape, *[1] * (self._event_ndims + 1))
            at = at.expand(*chosen.shape, 1, *self.event_shape)
            return samples.gather(place, at).squeeze(place)

    def __repr__(self) -> str:
        return (
            f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"
        )

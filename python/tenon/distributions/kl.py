"""Kullback-Leibler divergences. See `torch.distributions.kl`.

Between two families, the divergence is minus the entropy of p minus the mean of log q under p,
which takes a few moments of p.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import total_ordering
from typing import Any

import tenon as tn
from tenon import Tensor

from .bernoulli import Bernoulli
from .beta import Beta
from .binomial import Binomial
from .categorical import Categorical
from .cauchy import Cauchy
from .continuous_bernoulli import ContinuousBernoulli
from .dirichlet import Dirichlet
from .distribution import Distribution
from .exp_family import ExponentialFamily
from .exponential import Exponential
from .gamma import Gamma
from .geometric import Geometric
from .gumbel import Gumbel
from .half_normal import HalfNormal
from .independent import Independent
from .laplace import Laplace
from .normal import Normal
from .one_hot_categorical import OneHotCategorical
from .pareto import Pareto
from .poisson import Poisson
from .transformed_distribution import TransformedDistribution
from .uniform import Uniform
from .utils import _sum_rightmost, euler_constant

__all__ = ["kl_divergence", "register_kl"]

Divergence = Callable[[Any, Any], Tensor]
_REGISTRY: dict[tuple[type, type], Divergence] = {}
_memory: dict[tuple[type, type], Divergence | None] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Divergence], Divergence]:
    """A decorator: the function is the divergence from type_p to type_q, and their subclasses.

    Errors: TypeError for what are no classes of distributions.

    Example::

        >>> class Mine(tn.distributions.Normal): ...
        >>> @tn.distributions.register_kl(Mine, Mine)
        ... def none(p, q):
        ...     return tn.zeros_like(p.loc)
        >>> tn.distributions.kl_divergence(Mine(0.0, 1.0), Mine(5.0, 1.0))
        tensor(0.)
    """
    for kind in (type_p, type_q):
        if not isinstance(kind, type) or not issubclass(kind, Distribution):
            raise TypeError(f"Expected a subclass of Distribution but got {kind}")

    def decorator(function: Divergence) -> Divergence:
        _REGISTRY[type_p, type_q] = function
        _memory.clear()
        return function

    return decorator


@total_ordering
class _Match:
    """Pairs of classes, the more special one first."""

    def __init__(self, *types: type) -> None:
        self.types = types

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Match) and self.types == other.types

    def __le__(self, other: _Match) -> bool:
        for x, y in zip(self.types, other.types, strict=True):
            if not issubclass(x, y):
                return False
            if x is not y:
                break
        return True


def _dispatch(type_p: type, type_q: type) -> Divergence | None:
    key = type_p, type_q
    if key not in _memory:
        matches = [
            _Match(*pair)
            for pair in _REGISTRY
            if issubclass(type_p, pair[0]) and issubclass(type_q, pair[1])
        ]
        _memory[key] = _REGISTRY[min(matches).types] if matches else None  # type: ignore[index]
    return _memory[key]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The mean of log(p / q) under p, for each of the batch.

    Errors: NotImplementedError for types without a registered divergence.

    Example::

        >>> p, q = tn.distributions.Normal(0.0, 1.0), tn.distributions.Normal(1.0, 1.0)
        >>> tn.distributions.kl_divergence(p, q)
        tensor(0.5000)
    """
    function = _dispatch(type(p), type(q))
    if function is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {type(p).__name__} and q type "
            f"{type(q).__name__}"
        )
    return function(p, q)


# ---- within a family ----------------------------------------------------------------------------


def _beta_normalizer(a: Tensor, b: Tensor) -> Tensor:
    return tn.lgamma(a) + tn.lgamma(b) - tn.lgamma(a + b)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    softplus = tn.nn.functional.softplus
    first = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    first = tn.where(q.probs == 0, math.inf, first)
    first = tn.where(p.probs == 0, 0.0, first)
    second = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    second = tn.where(q.probs == 1, math.inf, second)
    return first + tn.where(p.probs == 1, 0.0, second)


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Tensor:
    a, b, c, d = p.concentration1, p.concentration0, q.concentration1, q.concentration0
    moved = (a - c) * tn.digamma(a) + (b - d) * tn.digamma(b)
    moved = moved + (c + d - a - b) * tn.digamma(a + b)
    return _beta_normalizer(c, d) - _beta_normalizer(a, b) + moved


@register_kl(Binomial, Binomial)
def _binomial(p: Binomial, q: Binomial) -> Tensor:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError(
            "KL between Binomials where q.total_count > p.total_count is not implemented"
        )
    change = p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p()
    return tn.where(p.total_count > q.total_count, math.inf, p.total_count * change)


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Tensor:
    t = p.probs * (p.logits - q.logits)
    t = tn.where(q.probs == 0, math.inf, t)
    return tn.where(p.probs == 0, 0.0, t).sum(-1)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    constant = p._log_constant() - q._log_constant()
    return p.mean * (p.logits - q.logits) + constant + (-p.probs).log1p() - (-q.probs).log1p()


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    # Chyzak, Nielsen, "A closed-form formula for the Kullback-Leibler divergence between Cauchy
    # distributions", 2019.
    top = (p.scale + q.scale).square() + (p.loc - q.loc).square()
    return top.log() - (4 * p.scale * q.scale).log()


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    change = tn.lgamma(total) - tn.lgamma(b.sum(-1)) + (tn.lgamma(b) - tn.lgamma(a)).sum(-1)
    moved = (a - b) * (tn.digamma(a) - tn.digamma(total).unsqueeze(-1))
    return change + moved.sum(-1)


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(ExponentialFamily, ExponentialFamily)
def _exponential_family(p: ExponentialFamily, q: ExponentialFamily) -> Tensor:
    if type(p) is not type(q):
        raise NotImplementedError(
            "The cross KL-divergence between different exponential families cannot be computed "
            "using Bregman divergences"
        )
    p_params = [x.detach().requires_grad_() for x in p._natural_params]
    normalizer = p._log_normalizer(*p_params)
    gradients = tn.autograd.grad(normalizer.sum(), p_params, create_graph=True)
    result = q._log_normalizer(*q._natural_params) - normalizer
    for of_p, of_q, gradient in zip(p_params, q._natural_params, gradients, strict=True):
        result = result - _sum_rightmost((of_q - of_p) * gradient, len(q.event_shape))
    return result


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Tensor:
    a, b = p.concentration, q.concentration
    change = b * (p.rate / q.rate).log() + tn.lgamma(b) - tn.lgamma(a)
    return change + (a - b) * tn.digamma(a) + (q.rate - p.rate) * (a / p.rate)


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Gumbel, q: Gumbel) -> Tensor:
    ratio = p.scale / q.scale
    shift = (q.loc - p.loc) / q.scale
    change = -ratio.log() + euler_constant * (ratio - 1) - shift
    return change + (shift + tn.lgamma(1 + ratio)).exp() - 1


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio = p.scale / q.scale
    distance = (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale).square()
    distance = ((p.loc - q.loc) / q.scale).square()
    return 0.5 * (ratio + distance - 1 - ratio.log())


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Pareto, Pareto)
def _pareto(p: Pareto, q: Pareto) -> Tensor:
    ratio = q.alpha / p.alpha
    result = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return tn.where(p.scale < q.scale, math.inf, result)


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    extra = len(p.event_shape) - len(p.base_dist.event_shape)
    return _sum_rightmost(kl_divergence(p.base_dist, q.base_dist), extra)


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Tensor:
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return tn.where((q.low > p.low) | (q.high < p.high), math.inf, result)


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    result = kl_divergence(p.base_dist, q.base_dist)
    return _sum_rightmost(result, p.reinterpreted_batch_ndims)


# ---- between families ---------------------------------------------------------------------------


def _mean_log(p: Any) -> Tensor:
    """The mean of log x, of positive x."""
    if isinstance(p, Beta):
        return tn.digamma(p.concentration1) - tn.digamma(p.concentration1 + p.concentration0)
    if isinstance(p, Exponential):
        return -p.rate.log() - euler_constant
    if isinstance(p, Gamma):
        return tn.digamma(p.concentration) - p.rate.log()
    if isinstance(p, Pareto):
        return p.scale.log() + p.alpha.reciprocal()
    return _mean_log_between(p.low, p.high)


def _mean_log_between(low: Tensor, high: Tensor) -> Tensor:
    return (tn.xlogy(high, high) - tn.xlogy(low, low)) / (high - low) - 1


def _mean_log_complement(p: Any) -> Tensor:
    """The mean of log(1 - x), of x in (0, 1)."""
    if isinstance(p, Beta):
        return tn.digamma(p.concentration0) - tn.digamma(p.concentration1 + p.concentration0)
    return _mean_log_between(1 - p.high, 1 - p.low)


def _mean_exp(p: Any, scale: Tensor) -> Tensor:
    """The mean of exp(-x / scale)."""
    if isinstance(p, Exponential):
        return p.rate / (p.rate + scale.reciprocal())
    if isinstance(p, Gamma):
        return (1 + (p.rate * scale).reciprocal()).pow(-p.concentration)
    if isinstance(p, Normal):
        return (-p.loc / scale + 0.5 * (p.scale / scale).square()).exp()
    width = p.high - p.low
    return scale * ((-p.low / scale).exp() - (-p.high / scale).exp()) / width


def _to_normal(p: Any, q: Normal) -> Tensor:
    square = p.variance + (p.mean - q.loc).square()
    cross = 0.5 * square / q.scale.square() + q.scale.log() + 0.5 * math.log(2 * math.pi)
    return cross - p.entropy()


def _to_exponential(p: Any, q: Exponential) -> Tensor:
    return q.rate * p.mean - q.rate.log() - p.entropy()


def _to_gamma(p: Any, q: Gamma) -> Tensor:
    a = q.concentration
    cross = q.rate * p.mean - (a - 1) * _mean_log(p) + tn.lgamma(a) - a * q.rate.log()
    return cross - p.entropy()


def _to_gumbel(p: Any, q: Gumbel) -> Tensor:
    z = (p.mean - q.loc) / q.scale
    cross = z + (q.loc / q.scale).exp() * _mean_exp(p, q.scale) + q.scale.log()
    return cross - p.entropy()


def _to_beta(p: Any, q: Beta) -> Tensor:
    a, b = q.concentration1, q.concentration0
    cross = _beta_normalizer(a, b) - (a - 1) * _mean_log(p) - (b - 1) * _mean_log_complement(p)
    return cross - p.entropy()


def _to_continuous_bernoulli(p: Any, q: ContinuousBernoulli) -> Tensor:
    cross = p.mean * q.logits + (-q.probs).log1p() + q._log_constant()
    return -p.entropy() - cross


def _to_uniform(p: Any, q: Uniform) -> Tensor:
    result = -p.entropy() + (q.high - q.low).log()
    return tn.where((q.low > 0) | (q.high < 1), math.inf, result)  # p is over [0, 1]


def _inside(p: Uniform, outside: Tensor, result: Tensor) -> Tensor:
    return tn.where(outside, math.inf, result)


def _infinite(p: Any, q: Any) -> Tensor:
    """p has values where q has none."""
    return tn.full(tn.broadcast_shapes(p.batch_shape, q.batch_shape), math.inf)


_p: type
_qs: tuple[type, ...]
register_kl(Beta, ContinuousBernoulli)(_to_continuous_bernoulli)
for _p in (Beta, ContinuousBernoulli):
    register_kl(_p, Uniform)(_to_uniform)
for _p in (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Pareto, Uniform):
    register_kl(_p, Normal)(_to_normal)
for _p in (Beta, ContinuousBernoulli, Gamma, Pareto):
    register_kl(_p, Exponential)(_to_exponential)
for _p in (Beta, Exponential, Pareto):
    register_kl(_p, Gamma)(_to_gamma)
for _p in (Exponential, Gamma, Normal, Uniform):
    register_kl(_p, Gumbel)(_to_gumbel)
for _p, _qs in (
    (Beta, (Pareto,)),
    (ContinuousBernoulli, (Pareto,)),
    (Exponential, (Beta, ContinuousBernoulli, Pareto, Uniform)),
    (Gamma, (Beta, ContinuousBernoulli, Pareto, Uniform)),
    (Gumbel, (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    (Laplace, (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    (Normal, (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    (Pareto, (Beta, ContinuousBernoulli, Uniform)),
    (Poisson, (Bernoulli, Binomial)),
):
    for _q in _qs:
        register_kl(_p, _q)(_infinite)


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Bernoulli, q: Poisson) -> Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Normal, Laplace)
def _normal_laplace(p: Normal, q: Laplace) -> Tensor:
    z = (p.loc - q.loc) / p.scale
    distance = math.sqrt(2 / math.pi) * (-0.5 * z.square()).exp() + z * (z / math.sqrt(2)).erf()
    return p.scale * distance / q.scale + (2 * q.scale).log() - p.entropy()


@register_kl(Uniform, Beta)
def _uniform_beta(p: Uniform, q: Beta) -> Tensor:
    return _inside(p, (p.low < 0) | (p.high > 1), _to_beta(p, q))


@register_kl(Uniform, ContinuousBernoulli)
def _uniform_continuous_bernoulli(p: Uniform, q: ContinuousBernoulli) -> Tensor:
    return _inside(p, (p.low < 0) | (p.high > 1), _to_continuous_bernoulli(p, q))


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Uniform, q: Exponential) -> Tensor:
    return _inside(p, p.low < 0, _to_exponential(p, q))


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Uniform, q: Gamma) -> Tensor:
    return _inside(p, p.low < 0, _to_gamma(p, q))


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Uniform, q: Pareto) -> Tensor:
    cross = (q.alpha + 1) * _mean_log(p) - q.alpha.log() - q.alpha * q.scale.log()
    return _inside(p, p.low < q.scale, cross - p.entropy())

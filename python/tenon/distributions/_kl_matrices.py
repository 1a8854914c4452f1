"""Divergences of distributions whose parameters are matrices."""

from __future__ import annotations

import tenon as tn
from tenon import Tensor

from .kl import register_kl
from .lowrank_multivariate_normal import (
    LowRankMultivariateNormal,
    log_det,
    low_rank_mahalanobis,
)
from .multivariate_normal import MultivariateNormal, half_log_det, mahalanobis


def _check(p: object, q: object, event_p: object, event_q: object) -> None:
    if event_p != event_q:
        raise ValueError(
            f"KL-divergence between two {type(p).__name__} and {type(q).__name__} with different "
            "event shapes cannot be computed"
        )


def _squares(factor: Tensor, x: Tensor) -> Tensor:
    """The sum of the squares of factor^-1 x, of matrices."""
    return tn.linalg.solve_triangular(factor, x, upper=False).square().sum((-2, -1))


def _low_rank_trace(q: LowRankMultivariateNormal, x: Tensor) -> Tensor:
    """trace(Sigma_q^-1 X X^T), by Woodbury's identity."""
    diag = q.cov_diag.unsqueeze(-1)
    inner = (q.cov_factor / diag).transpose(-2, -1) @ x
    capacitance = q._capacitance_tril.expand((*q.batch_shape, *q._capacitance_tril.shape[-2:]))
    return (x.square() / diag).sum((-2, -1)) - _squares(capacitance, inner)


@register_kl(MultivariateNormal, MultivariateNormal)
def _normal_normal(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    _check(p, q, p.event_shape, q.event_shape)
    factor = q.scale_tril
    dets = half_log_det(factor) - half_log_det(p.scale_tril)
    batch = tn.broadcast_shapes(p.batch_shape, q.batch_shape)
    matrix = (*batch, *p.event_shape, *p.event_shape)
    trace = _squares(factor.expand(matrix), p.scale_tril.expand(matrix))
    distance = mahalanobis(factor, q.loc - p.loc)
    return dets + 0.5 * (trace + distance - p.event_shape[0])


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _low_low(p: LowRankMultivariateNormal, q: LowRankMultivariateNormal) -> Tensor:
    _check(p, q, p.event_shape, q.event_shape)
    return _to_low(
        p,
        q,
        log_det(p.cov_diag, p._capacitance_tril),
        [
            p.cov_factor,
            tn.diag_embed(p.cov_diag.sqrt()),
        ],
    )


@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _normal_low(p: MultivariateNormal, q: LowRankMultivariateNormal) -> Tensor:
    _check(p, q, p.event_shape, q.event_shape)
    return _to_low(p, q, 2 * half_log_det(p.scale_tril), [p.scale_tril])


def _to_low(
    p: MultivariateNormal | LowRankMultivariateNormal,
    q: LowRankMultivariateNormal,
    log_det_p: Tensor,
    roots: list[Tensor],
) -> Tensor:
    """roots: matrices whose products with their transposes sum to p's covariance."""
    log_det_q = log_det(q.cov_diag, q._capacitance_tril)
    distance = low_rank_mahalanobis(
        q._unbroadcasted_cov_factor, q._unbroadcasted_cov_diag, q.loc - p.loc, q._capacitance_tril
    )
    trace = sum((_low_rank_trace(q, root) for root in roots), tn.zeros(()))
    return 0.5 * (log_det_q - log_det_p + distance + trace - p.event_shape[0])


@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _low_normal(p: LowRankMultivariateNormal, q: MultivariateNormal) -> Tensor:
    _check(p, q, p.event_shape, q.event_shape)
    dets = 2 * half_log_det(q.scale_tril) - log_det(p.cov_diag, p._capacitance_tril)
    batch = tn.broadcast_shapes(p.batch_shape, q.batch_shape)
    n = p.event_shape[0]
    factor = q.scale_tril.expand((*batch, n, n))
    roots = [p.cov_factor, tn.diag_embed(p.cov_diag.sqrt())]
    trace = sum(
        (_squares(factor, root.expand((*batch, *root.shape[-2:]))) for root in roots), tn.zeros(())
    )
    return 0.5 * (dets + trace + mahalanobis(q.scale_tril, q.loc - p.loc) - n)

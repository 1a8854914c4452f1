"""The LKJ distribution of Cholesky factors of correlation matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

from . import constraints
from .beta import Beta
from .distribution import Distribution
from .utils import broadcast_all


class LKJCholesky(Distribution):
    """Cholesky factors of correlation matrices of density proportional to det ** (eta - 1).

    Errors: ValueError for a dim below 2 or no int.
    Source: Lewandowski, Kurowicka, Joe, "Generating random correlation matrices based on vines and
    extended onion method", Journal of Multivariate Analysis 2009.

    Example::

        >>> factor = tn.distributions.LKJCholesky(3, 0.5).sample()
        >>> tn.allclose((factor @ factor.T).diagonal(), tn.ones(3), atol=1e-5)
        True
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(
        self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        if not isinstance(dim, int) or dim < 2:
            raise ValueError(
                f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}."
            )
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        batch = self.concentration.shape
        marginal = self.concentration + 0.5 * (dim - 2)
        offset = tn.arange(dim - 1).to(self.concentration.dtype)
        offset = tn.cat([tn.zeros(1, dtype=offset.dtype), offset])
        self._beta = Beta(offset + 0.5, marginal.unsqueeze(-1) - 0.5 * offset)
        super().__init__(batch, (dim, dim), validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> LKJCholesky:
        fields = {
            "dim": self.dim,
            "concentration": self.concentration.expand(batch_shape),
            "_beta": self._beta.expand((*batch_shape, self.dim)),
        }
        return self._expanded(LKJCholesky, _instance, batch_shape, **fields)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """The onion method: each row is a direction, of a length whose square is of a beta
        distribution."""
        with tn.no_grad():
            y = self._beta.sample(sample_shape).unsqueeze(-1)
            normal = tn.randn(self._extended_shape(sample_shape), dtype=y.dtype).tril(-1)
            length = normal.square().sum(-1, keepdim=True).sqrt()
            first = tn.arange(self.dim).unsqueeze(-1) == 0
            direction = tn.where(first, 0.0, normal / tn.where(first, 1.0, length))
            w = y.sqrt() * direction
            rest = (1 - w.square().sum(-1)).clamp(min=tn.finfo(w.dtype).tiny).sqrt()
            return w + tn.diag_embed(rest)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        order = tn.arange(2, self.dim + 1).to(value.dtype)
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - order
        unnormalized = (order * diagonal.log()).sum(-1)
        count = self.dim - 1
        alpha = self.concentration + 0.5 * count
        denominator = tn.lgamma(alpha) * count
        k = tn.arange(1, self.dim).to(value.dtype)
        numerator = tn.lgamma(alpha.unsqueeze(-1) - 0.5 * k).sum(-1)
        constant = 0.5 * sum(range(1, self.dim)) * math.log(math.pi)
        return unnormalized - (constant + numerator - denominator)

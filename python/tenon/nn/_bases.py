"""What some generated layers have in Python only, beyond their entry in spec/layers.toml: the bases
that PyTorch's programs ask about with isinstance, and a constructor.
"""

from __future__ import annotations

from typing import Any

import tenon as _tn
from tenon._C import Tensor

from .module import Module

__all__ = ["EmbeddingBase", "Module"]


class EmbeddingBase(Module):
    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, **options: Any
    ) -> EmbeddingBase:
        """An embedding whose table is the given matrix; `freeze`: it gets no gradient."""
        if embeddings.ndim != 2:
            raise ValueError("Embeddings parameter is expected to be 2-dimensional")
        rows, columns = embeddings.shape
        layer = cls(rows, columns, padding_idx=padding_idx, **options)
        with _tn.no_grad():
            layer.weight.data = embeddings.detach()
        layer.weight.requires_grad_(not freeze)
        return layer


class _ConvNd(Module):
    """Convolutions, transposed ones included."""


class _ConvTransposeNd(_ConvNd):
    """Transposed convolutions."""


class _NormBase(Module):
    """Normalizations with running statistics."""

    num_features: int

    def reset_running_stats(self) -> None:
        """Means of 0, variances of 1, no batch seen."""
        for name, value in (("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0)):
            statistic = getattr(self, name, None)
            if statistic is not None:
                with _tn.no_grad():
                    statistic.fill_(value)


class _BatchNorm(_NormBase):
    """BatchNorm1d, 2d and 3d."""


class _InstanceNorm(_NormBase):
    """InstanceNorm1d, 2d and 3d."""


class _DropoutNd(Module):
    """Dropouts of every kind."""

    p: float
    inplace: bool


class _Loss(Module):
    """Losses."""

    reduction: str


class _WeightedLoss(_Loss):
    """Losses with a weight a class."""

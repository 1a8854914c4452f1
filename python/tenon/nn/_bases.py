"""What some generated layers have in Python only, beyond their entry in spec/layers.toml."""

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

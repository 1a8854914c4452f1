"""Embeddings. The names of `torch.nn.modules.sparse`."""

from .. import Embedding, EmbeddingBag

__all__ = ["Embedding", "EmbeddingBag"]

"""Normalizations of examples. The names of `torch.nn.modules.normalization`."""

from .. import GroupNorm, LayerNorm, LocalResponseNorm, RMSNorm

__all__ = ["GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]

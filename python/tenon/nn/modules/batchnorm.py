"""Batch normalization. The names of `torch.nn.modules.batchnorm`."""

from .. import BatchNorm1d, BatchNorm2d, BatchNorm3d
from .._bases import _BatchNorm, _NormBase

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "_BatchNorm", "_NormBase"]

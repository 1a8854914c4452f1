"""Instance normalization. The names of `torch.nn.modules.instancenorm`."""

from .. import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from .._bases import _InstanceNorm

__all__ = ["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "_InstanceNorm"]

"""Upsampling. The names of `torch.nn.modules.upsampling`."""

from .. import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]

"""Channels and places exchanged. The names of `torch.nn.modules.pixelshuffle`."""

from .. import PixelShuffle, PixelUnshuffle

__all__ = ["PixelShuffle", "PixelUnshuffle"]

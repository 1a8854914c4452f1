"""The base class. The names of `torch.nn.modules.module`."""

from .. import Module

__all__ = ["Module"]

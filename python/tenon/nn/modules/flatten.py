"""Flatten and its inverse. The names of `torch.nn.modules.flatten`."""

from .. import Flatten, Unflatten

__all__ = ["Flatten", "Unflatten"]

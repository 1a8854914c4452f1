"""Layers whose sizes the first input tells. The names of `torch.nn.modules.lazy`."""

from ..lazy import LazyModuleMixin

__all__ = ["LazyModuleMixin"]

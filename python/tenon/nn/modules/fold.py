"""Patches. The names of `torch.nn.modules.fold`."""

from .. import Fold, Unfold

__all__ = ["Fold", "Unfold"]

"""DLPack under the names of torch.utils.dlpack."""

from __future__ import annotations

from typing import Any

from .._C import Tensor
from .._dlpack import from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule of the tensor's memory, without a version: `tensor.__dlpack__()`."""
    return tensor.__dlpack__()

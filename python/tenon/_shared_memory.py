"""Tensors in memory that forked processes share."""

from __future__ import annotations

import builtins

from . import _C
from ._C import Tensor


def share_memory_(self: Tensor) -> Tensor:
    """Moves the tensor, with all that shares its storage, into memory that processes forked later
    share: what one of them writes, the others read.

    Returns the tensor. Without effect on one that lies there already, or holds nothing.
    Errors: RuntimeError inside of a transform.

    Example::

        >>> x = tn.zeros(3).share_memory_()
        >>> x.is_shared(), x[1:].is_shared(), x.clone().is_shared()
        (True, True, False)
    """
    _C._share_memory(self)
    return self


def is_shared(self: Tensor) -> builtins.bool:
    """Whether the tensor lies in memory that forked processes share; see `share_memory_`.

    Example::

        >>> tn.ones(2).is_shared()
        False
    """
    return _C._is_in_shared_memory(self)


METHODS = {"share_memory_": share_memory_, "is_shared": is_shared}

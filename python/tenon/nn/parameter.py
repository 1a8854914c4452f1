"""Parameters: tensors that a module registers when they are assigned to it."""

from __future__ import annotations

from typing import Any

import tenon as _tn
from tenon import _C
from tenon._C import Tensor


class Parameter(Tensor):
    """A tensor that is a parameter of the module it is assigned to, and requires grad.

    Example::

        >>> nn.Parameter(tn.zeros(2)).requires_grad
        True
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        empty = _tn.empty(0) if data is None else data
        return _C._make_parameter(cls, empty, requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) in memo:
            return memo[id(self)]
        copied = type(self)(self.detach().clone(), self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _rebuild_parameter, (self.detach(), self.requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


def _rebuild_parameter(data: Tensor, requires_grad: bool) -> Parameter:
    return Parameter(data, requires_grad)


class Buffer:
    """`Buffer(tensor)` marks a tensor that a module registers as a buffer when it is assigned.

    persistent: whether the module's state_dict holds it.

    Example::

        >>> layer = nn.Module()
        >>> layer.mean = nn.Buffer(tn.zeros(2))
        >>> layer.state_dict()["mean"]
        tensor([0., 0.])
    """

    def __init__(self, data: Tensor, *, persistent: bool = True) -> None:
        self.data = data
        self.persistent = persistent

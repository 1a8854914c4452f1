"""`Variable`, PyTorch's old name for a tensor that may require grad."""

from __future__ import annotations

from typing import Any

from .._C import Tensor

__all__ = ["Variable"]


class _Meta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_Meta):
    """`Variable(tensor, requires_grad)` is the tensor apart from what it was computed from.

    Every tensor is an instance.

    Example::

        >>> x = tn.autograd.Variable(tn.ones(2), requires_grad=True)
        >>> type(x).__name__, x.requires_grad, isinstance(tn.ones(2), tn.autograd.Variable)
        ('Tensor', True, True)
    """

    def __new__(  # type: ignore[misc]
        cls, data: Tensor, requires_grad: bool = False, volatile: bool = False
    ) -> Tensor:
        return data.detach().requires_grad_(requires_grad)

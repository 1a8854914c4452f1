"""`permute_copy` and its like: what a view shows, in memory of its own."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from . import _C
from ._C import Tensor

_ops = _C._all

# Of each view: arguments of an example, and the size of what it gives.
_VIEWS = {
    "as_strided": ("tn.ones(4), (2, 2), (1, 1)", (2, 2)),
    "detach": ("tn.ones(2)", (2,)),
    "diagonal": ("tn.ones(2, 2)", (2,)),
    "expand": ("tn.ones(2, 1), (2, 3)", (2, 3)),
    "narrow": ("tn.ones(3), 0, 1, 2", (2,)),
    "permute": ("tn.ones(2, 3), (1, 0)", (3, 2)),
    "select": ("tn.ones(2, 3), 0, 1", (3,)),
    "squeeze": ("tn.ones(2, 1)", (2,)),
    "t": ("tn.ones(2, 3)", (3, 2)),
    "transpose": ("tn.ones(2, 3), 0, 1", (3, 2)),
    "unfold": ("tn.ones(4), 0, 2, 1", (3, 2)),
    "unsqueeze": ("tn.ones(2), 0", (1, 2)),
    "view": ("tn.ones(2, 2), (4,)", (4,)),
}
_LISTS = ("split", "split_with_sizes", "unbind")


def _receive(result: Tensor, out: Tensor | None) -> Tensor:
    if out is None:
        return result
    if tuple(out.shape) == tuple(result.shape):
        return out.copy_(result)
    return _C._become(out, result.to(out.dtype))


def _copy(name: str) -> Callable[..., Tensor]:
    view = _ops[name] if name in _ops else getattr(Tensor, name)

    def function(input: Tensor, *args: Any, out: Tensor | None = None, **kwargs: Any) -> Tensor:
        if name == "narrow" and args and isinstance(args[0], builtins.int):
            if args[0] >= input.ndim > 0:  # PyTorch's narrow_copy has this error of its own
                raise RuntimeError(f"Expected dim < {input.ndim}, but got {args[0]}")
        return _receive(view(input, *args, **kwargs).clone(), out)

    arguments, size = _VIEWS[name]
    function.__name__ = f"{name}_copy"
    function.__doc__ = (
        f"{name} with memory of its own.\n\n"
        f"Example::\n\n    >>> tn.{name}_copy({arguments}).shape\n"
        f"    tenon.Size({list(size)})\n"
    )
    return function


def _copy_list(name: str) -> Callable[..., tuple[Tensor, ...]]:
    def function(input: Tensor, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        parts = tuple(part.clone() for part in _ops[name](input, *args, **kwargs))
        if out is None:
            return parts
        for receiver, part in zip(out, parts, strict=True):
            _receive(part, receiver)
        return None

    example = {"split": "2, 1", "split_with_sizes": "(1, 2), 1", "unbind": "1"}[name]
    count = {"split": 2, "split_with_sizes": 2, "unbind": 3}[name]
    function.__name__ = f"{name}_copy"
    function.__doc__ = (
        f"{name} with memory of its own.\n\n"
        f"Example::\n\n    >>> len(tn.{name}_copy(tn.ones(2, 3), {example}))\n    {count}\n"
    )
    return function


def detach(input: Tensor) -> Tensor:
    """The tensor without its derivative: a view of the same memory.

    Example::

        >>> tn.detach(tn.ones(2, requires_grad=True)).requires_grad
        False
    """
    return input.detach()


FUNCTIONS: dict[str, Any] = {
    **{f"{name}_copy": _copy(name) for name in _VIEWS},
    **{f"{name}_copy": _copy_list(name) for name in _LISTS},
    "detach": detach,
}

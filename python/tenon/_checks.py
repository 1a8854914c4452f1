"""Assertions, what things are called, and switches that programs ask for."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from ._C import Tensor


def _assert(condition: Any, message: str) -> None:
    """assert as a function. Reads the condition where it is a tensor."""
    assert condition, message


def _assert_async(condition: Tensor, message: str = "Assertion is false") -> None:
    """Fails unless the one-element tensor is nonzero. Reads it: recorded work runs."""
    if not builtins.bool(condition):
        raise RuntimeError(message)


def _check(cond: Any, message: Callable[[], str] | None = None) -> None:
    """Raises RuntimeError unless a condition holds."""
    if not cond:
        raise RuntimeError(message() if message else "Expected cond to be True, but got False.")


def _check_index(cond: Any, message: Callable[[], str] | None = None) -> None:
    """Raises IndexError unless a condition holds."""
    if not cond:
        raise IndexError(message() if message else "Expected cond to be True, but got False.")


def _check_value(cond: Any, message: Callable[[], str] | None = None) -> None:
    """Raises ValueError unless a condition holds."""
    if not cond:
        raise ValueError(message() if message else "Expected cond to be True, but got False.")


def _check_type(cond: Any, message: Callable[[], str] | None = None) -> None:
    """Raises TypeError unless a condition holds."""
    if not cond:
        raise TypeError(message() if message else "Expected cond to be True, but got False.")


def _check_not_implemented(cond: Any, message: Callable[[], str] | None = None) -> None:
    """Raises NotImplementedError unless a condition holds."""
    if not cond:
        raise NotImplementedError(
            message() if message else "Expected cond to be True, but got False."
        )


def _check_is_size(
    i: builtins.int, message: Callable[[], str] | None = None, *, max: Any = None
) -> None:
    """Raises RuntimeError unless a number is a size."""
    _check(i >= 0 and (max is None or i <= max), message)


def typename(obj: Any) -> str:
    """The name of a type or of an object's type, with its module.

    Example::

        >>> tn.typename(tn.ones(2)), tn.typename(1)
        ('tenon.FloatTensor', 'int')
    """
    if isinstance(obj, Tensor):
        return str(obj.type())
    kind = obj if isinstance(obj, type) or callable(obj) else type(obj)
    module = getattr(kind, "__module__", None)
    name = getattr(kind, "__qualname__", type(kind).__qualname__)
    return name if module in (None, "builtins") else f"{module}.{name}"


def is_nonzero(input: Tensor) -> builtins.bool:
    """Whether a one-element tensor is nonzero. Reads it.

    Errors: RuntimeError for another number of elements.

    Example::

        >>> tn.is_nonzero(tn.tensor([0.0]))
        False
    """
    return builtins.bool(input)


def is_same_size(input: Tensor, other: Tensor) -> builtins.bool:
    """Whether two tensors have the same size.

    Example::

        >>> tn.is_same_size(tn.ones(2), tn.zeros(2))
        True
    """
    return tuple(input.shape) == tuple(other.shape)


def is_signed(input: Tensor) -> builtins.bool:
    """Whether the dtype has a sign.

    Example::

        >>> tn.is_signed(tn.ones(2)), tn.is_signed(tn.tensor([True]))
        (True, False)
    """
    return builtins.bool(input.dtype.is_signed)


_deterministic = {"mode": "default"}
_MODES = ("default", "warn", "error")


def use_deterministic_algorithms(mode: builtins.bool, *, warn_only: builtins.bool = False) -> None:
    """Accepted: every operation gives the same bits each time, whatever is said here.

    Example::

        >>> tn.use_deterministic_algorithms(True)
        >>> tn.are_deterministic_algorithms_enabled()
        True
        >>> tn.use_deterministic_algorithms(False)
    """
    _deterministic["mode"] = ("warn" if warn_only else "error") if mode else "default"


def are_deterministic_algorithms_enabled() -> builtins.bool:
    """What use_deterministic_algorithms was told; results are deterministic anyway.

    Example::

        >>> tn.are_deterministic_algorithms_enabled()
        False
    """
    return _deterministic["mode"] != "default"


def is_deterministic_algorithms_warn_only_enabled() -> builtins.bool:
    """Whether use_deterministic_algorithms was told to warn only.

    Example::

        >>> tn.is_deterministic_algorithms_warn_only_enabled()
        False
    """
    return _deterministic["mode"] == "warn"


def set_deterministic_debug_mode(debug_mode: builtins.int | str) -> None:
    """use_deterministic_algorithms by number or name: 0 "default", 1 "warn", 2 "error".

    Errors: RuntimeError for another one.

    Example::

        >>> tn.set_deterministic_debug_mode("warn")
        >>> tn.get_deterministic_debug_mode()
        1
        >>> tn.set_deterministic_debug_mode(0)
    """
    if isinstance(debug_mode, builtins.int) and 0 <= debug_mode < len(_MODES):
        debug_mode = _MODES[debug_mode]
    if debug_mode not in _MODES:
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, 2 or {_MODES}")
    _deterministic["mode"] = str(debug_mode)


def get_deterministic_debug_mode() -> builtins.int:
    """What set_deterministic_debug_mode was told, as a number.

    Example::

        >>> tn.get_deterministic_debug_mode()
        0
    """
    return _MODES.index(_deterministic["mode"])

"""`_foreach_*`: one operation on each tensor of lists, as optimizers write them.

Each call records the operation once a tensor; they run in the same program, equal ones side by
side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import _C
from ._C import Tensor

_ops = _C._all
_UNARY = (
    *("abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1"),
    *("floor", "frac", "lgamma", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round"),
    *("rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh", "trunc"),
)
_BINARY = (
    *("add", "sub", "mul", "div", "pow", "clamp_max", "clamp_min", "maximum", "minimum"),
    *("lerp", "addcmul", "addcdiv"),
)
# What takes numbers, too.
_LENIENT = {"maximum": "clamp_min", "minimum": "clamp_max"}
_IN_PLACE_ONLY = ("zero", "copy")


def _each(values: Any, count: int) -> list[Any]:
    """A number or tensor for all, or one for each."""
    if isinstance(values, (list, tuple)):
        if len(values) != count:
            raise RuntimeError(
                f"Tensor lists must have the same number of tensors, got {count} and {len(values)}"
            )
        return list(values)
    if isinstance(values, Tensor) and values.ndim == 1 and values.numel() == count:
        return list(values.unbind(0))
    return [values] * count


def _apply(name: str, operation: Callable[..., Any], self: Sequence[Tensor], args: Any) -> Any:
    columns = [_each(values, len(self)) for values in args]
    if name in ("addcmul", "addcdiv") and len(columns) == 3:  # `value` has only a keyword
        pairs = zip(self, *columns, strict=True)
        return [operation(x, a, b, value=value) for x, a, b, value in pairs]
    return [operation(x, *rest) for x, *rest in zip(self, *columns, strict=True)]


def _scaled(name: str, alpha: Any, args: Any) -> Any:
    if alpha == 1 or name not in ("add", "sub"):
        return args
    (other,) = args
    if isinstance(other, (list, tuple)):
        return ([x * alpha for x in other],)
    return (other * alpha,)


def _function(name: str) -> Callable[..., tuple[Tensor, ...]]:
    operation = _ops[_LENIENT.get(name, name)]

    def run(
        self: Sequence[Tensor], *args: Any, alpha: Any = 1, **kwargs: Any
    ) -> tuple[Tensor, ...]:
        given = _scaled(name, alpha, (*args, *kwargs.values()))
        return tuple(_apply(name, operation, self, given))

    run.__name__ = f"_foreach_{name}"
    run.__doc__ = f"{name} of each tensor of a list, with numbers or lists of the same length."
    return run


def _in_place(name: str) -> Callable[..., None]:
    method = getattr(Tensor, f"{_LENIENT.get(name, name)}_")

    def run(
        self: Sequence[Tensor],
        *args: Any,
        alpha: Any = 1,
        non_blocking: Any = None,
        **kwargs: Any,
    ) -> None:
        _apply(name, method, self, _scaled(name, alpha, (*args, *kwargs.values())))

    run.__name__ = f"_foreach_{name}_"
    run.__doc__ = f"{name} of each tensor of a list, in place."
    return run


def _foreach_norm(self: Sequence[Tensor], ord: Any = 2, dtype: Any = None) -> tuple[Tensor, ...]:
    """The norm of each tensor of a list."""
    return tuple(_ops["linalg_vector_norm"](x, ord, dtype=dtype) for x in self)


def _foreach_max(self: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The largest element of each tensor of a list."""
    return tuple(x.max() for x in self)


FUNCTIONS: dict[str, Any] = {
    **{f"_foreach_{name}": _function(name) for name in (*_UNARY, *_BINARY)},
    **{f"_foreach_{name}_": _in_place(name) for name in (*_UNARY, *_BINARY, *_IN_PLACE_ONLY)},
    "_foreach_norm": _foreach_norm,
    "_foreach_max": _foreach_max,
}

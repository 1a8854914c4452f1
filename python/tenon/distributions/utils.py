"""What distributions share: broadcasting, probabilities and logits, lazy attributes."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from numbers import Number
from typing import Any

import tenon as tn
from tenon import Tensor
from tenon.nn.functional import binary_cross_entropy_with_logits

euler_constant = 0.57721566490153286060


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Tensors and numbers as tensors of one size.

    Numbers take the dtype of the first tensor, the default one where there is none.
    Errors: ValueError for what is neither.

    Example::

        >>> from tenon.distributions.utils import broadcast_all
        >>> broadcast_all(tn.zeros(2), 1.0)
        (tensor([0., 0.]), tensor([1., 1.]))
    """
    if not all(isinstance(v, (Tensor, Number)) for v in values):
        raise ValueError("Input arguments must all be instances of Number, or Tensor.")
    first = next((v for v in values if isinstance(v, Tensor)), None)
    dtype = tn.get_default_dtype() if first is None else first.dtype
    tensors = [v if isinstance(v, Tensor) else tn.tensor(v, dtype=dtype) for v in values]
    return tuple(tn.broadcast_tensors(*tensors))


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """sigmoid of binary logits, softmax of others."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities within the open interval (0, 1)."""
    eps = tn.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """The logits of probabilities, those at 0 and 1 moved in by an epsilon."""
    inside = clamp_probs(probs)
    return inside.log() - (-inside).log1p() if is_binary else inside.log()


def binary_nll(logits: Tensor, value: Tensor) -> Tensor:
    """Minus the log-probability of Bernoulli values, elementwise."""
    return binary_cross_entropy_with_logits(logits, value, reduction="none")


def _sum_rightmost(value: Tensor, dim: int) -> Tensor:
    """The sum over the last `dim` dimensions."""
    if dim == 0:
        return value
    return value.reshape(*value.shape[:-dim], -1).sum(-1)


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The lower triangle's elements, row by row.

    Shape: (*, n, n) -> (*, m).
    """
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    return mat.flatten(-2)[..., _triangle(n, diag)]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """The inverse of tril_matrix_to_vec, zeros above.

    Shape: (*, m) -> (*, n, n).
    """
    count = vec.shape[-1]
    n = (
        -(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * count + 4 * abs(diag) * (diag + 1)) ** 0.5
    ) / 2
    if not round(n, 6).is_integer():
        raise ValueError(
            f"The size of last dimension is {count} which cannot be expressed as the lower "
            "triangular part of a square D x D matrix."
        )
    size = round(n)
    at = _triangle(size, diag)
    flat = vec.new_zeros((*vec.shape[:-1], size * size))
    flat = flat.index_copy(-1, at, vec)
    return flat.unflatten(-1, (size, size))


def _triangle(n: int, diag: int) -> Tensor:
    return tn.tensor([i * n + j for i in range(n) for j in range(min(n, i + diag + 1))])


class lazy_property:
    """An attribute computed when it is first read; derivatives pass whatever mode that is in."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        update_wrapper(self, wrapped)  # type: ignore[arg-type]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return _lazy_property_and_property(self.wrapped)
        with tn.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


class _lazy_property_and_property(lazy_property, property):
    """What the class shows: a property, for tools that document it."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        property.__init__(self, wrapped)

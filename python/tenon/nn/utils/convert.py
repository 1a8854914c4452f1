"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

import tenon as _tn
from tenon._C import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    return _tn.cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Stores consecutive stretches of `vec` in the parameters."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected tenon.Tensor, but got: {type(vec).__name__}")
    start = 0
    for p in parameters:
        p.data = vec[start : start + p.numel()].reshape(p.shape)
        start += p.numel()

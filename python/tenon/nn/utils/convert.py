"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

import tenon as _tn
from tenon._C import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements as one vector, in the order of the parameters.

    Example::

        >>> nn.utils.parameters_to_vector([tn.tensor([[1.0, 2.0]]), tn.tensor([3.0])])
        tensor([1., 2., 3.])
    """
    return _tn.cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Stores consecutive stretches of `vec` in the parameters.

    Errors: TypeError for a vec that is no tensor, RuntimeError for one that is too short.

    Example::

        >>> p = nn.Parameter(tn.zeros(1, 2))
        >>> nn.utils.vector_to_parameters(tn.tensor([1.0, 2.0]), [p])
        >>> p.detach()
        tensor([[1., 2.]])
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected tenon.Tensor, but got: {type(vec).__name__}")
    start = 0
    for p in parameters:
        p.data = vec[start : start + p.numel()].reshape(p.shape)
        start += p.numel()

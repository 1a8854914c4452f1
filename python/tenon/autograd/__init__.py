"""Derivatives of what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _C
from .._C import Tensor
from ..grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled
from . import function as function
from . import functional as functional
from . import variable as variable
from .function import Function
from .variable import Variable

__all__ = [
    "Function",
    "Variable",
    "backward",
    "enable_grad",
    "grad",
    "inference_mode",
    "no_grad",
    "set_grad_enabled",
]


def _sequence(tensors: Any) -> list[Any]:
    if tensors is None:
        return []
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Accumulates the derivatives of the tensors' sum into .grad of the leaves.

    grad_tensors: cotangents, by default ones; needed where a tensor has more than one element.
    inputs: the leaves to accumulate in, by default all.
    Errors: RuntimeError for as many gradients as not tensors, for a tensor that requires no grad,
    and for a second pass over what the first one forgot (see retain_graph).

    Example::

        >>> x = tn.tensor([1.0, 2.0], requires_grad=True)
        >>> tn.autograd.backward(x**2, tn.tensor([1.0, 10.0]))
        >>> x.grad
        tensor([ 2., 40.])
    """
    roots = _sequence(tensors)
    gradients = _sequence(grad_tensors) or [None] * len(roots)
    if len(gradients) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(gradients)} gradients")
    retain = create_graph if retain_graph is None else retain_graph
    _C._backward(roots, gradients, retain, create_graph, _sequence(inputs))


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]:
    """The gradients of the outputs' sum with respect to the inputs.

    Errors: RuntimeError where an output does not depend on an input, unless allow_unused (then
    None) or materialize_grads (then zeros).

    Example::

        >>> x = tn.tensor([1.0, 2.0], requires_grad=True)
        >>> (first,) = tn.autograd.grad((x**3).sum(), x, create_graph=True)
        >>> tn.autograd.grad(first.sum(), x)
        (tensor([ 6., 12.]),)
    """
    roots = _sequence(outputs)
    gradients = _sequence(grad_outputs) or [None] * len(roots)
    if len(gradients) != len(roots):
        raise RuntimeError(f"got {len(roots)} outputs and {len(gradients)} gradients")
    retain = create_graph if retain_graph is None else retain_graph
    unused = materialize_grads if allow_unused is None else allow_unused
    if is_grads_batched:
        from ..func import vmap

        present = [g is not None for g in gradients]

        def one(*given: Tensor) -> tuple[Tensor, ...]:
            rest = iter(given)
            full = [next(rest) if p else None for p in present]
            return tuple(_C._grad(roots, _sequence(inputs), full, True, create_graph, unused, True))

        return vmap(one)(*[g for g in gradients if g is not None])  # type: ignore[no-any-return]
    return tuple(
        _C._grad(
            roots, _sequence(inputs), gradients, retain, create_graph, unused, materialize_grads
        )
    )

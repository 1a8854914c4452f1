"""Derivatives of what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _C
from .._C import Tensor
from ..grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled
from . import function as function
from .function import Function

__all__ = [
    "Function",
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
    """Accumulates the derivatives of the tensors' sum into .grad of the leaves."""
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

    RuntimeError where an output does not depend on an input, unless allow_unused (then None) or
    materialize_grads (then zeros).
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

"""Bounds on gradients. Nothing is read: the norm and the scaling join the step's program."""

from __future__ import annotations

from collections.abc import Iterable

import tenon as _tn
from tenon._C import Tensor


def _grads(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    all_of_them = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in all_of_them if p.grad is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all elements of all tensors, as if they were one vector.

    Errors: RuntimeError for a norm that is not finite, with error_if_nonfinite (then it is read).

    Example::

        >>> nn.utils.get_total_norm([tn.tensor([3.0]), tn.tensor([[4.0]])])
        tensor(5.)
    """
    listed = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not listed:
        return _tn.tensor(0.0)
    with _tn.no_grad():
        norms = [_tn.linalg.vector_norm(t.detach(), norm_type) for t in listed]
        total = norms[0] if len(norms) == 1 else _tn.linalg.vector_norm(_tn.stack(norms), norm_type)
    if error_if_nonfinite and not bool(_tn.isfinite(total)):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, "
            "so it "
            "cannot be clipped. To disable this error and scale the gradients by the non-finite "
            "norm "
            "anyway, set `error_if_nonfinite=False`"
        )
    return total


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales all gradients so that their common norm is at most max_norm. The norm before.

    Errors: RuntimeError for a norm that is not finite, with error_if_nonfinite.
    Source: Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013.

    Example::

        >>> p = nn.Parameter(tn.zeros(2))
        >>> p.grad = tn.tensor([3.0, 4.0])
        >>> nn.utils.clip_grad_norm_([p], max_norm=1.0)
        tensor(5.)
        >>> p.grad
        tensor([0.6000, 0.8000])
    """
    grads = _grads(parameters)
    total = get_total_norm(grads, norm_type, error_if_nonfinite)
    _scale(grads, max_norm, total)
    return total


def _scale(grads: list[Tensor], max_norm: float, total: Tensor) -> None:
    with _tn.no_grad():
        scale = (float(max_norm) / (total + 1e-6)).clamp(max=1.0)
        for grad in grads:
            grad.mul_(scale.to(grad.dtype))


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Scales all gradients as clip_grad_norm_ does, for a norm that is known.

    Example::

        >>> p = nn.Parameter(tn.zeros(2))
        >>> p.grad = tn.tensor([3.0, 4.0])
        >>> nn.utils.clip_grads_with_norm_([p], 1.0, tn.tensor(10.0))
        >>> p.grad
        tensor([0.3000, 0.4000])
    """
    _scale(_grads(parameters), max_norm, total_norm)


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Brings every element of the gradients into [-clip_value, clip_value].

    Example::

        >>> p = nn.Parameter(tn.zeros(2))
        >>> p.grad = tn.tensor([3.0, -0.5])
        >>> nn.utils.clip_grad_value_([p], 1.0)
        >>> p.grad
        tensor([ 1.0000, -0.5000])
    """
    clip_value = float(clip_value)
    with _tn.no_grad():
        for grad in _grads(parameters):
            grad.clamp_(-clip_value, clip_value)

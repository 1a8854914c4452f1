"""Pruning: parameters of which a mask keeps some elements and makes others zero.

A pruned parameter `name` becomes the parameter `name_orig` and the buffer `name_mask`; `name` is
their product, computed anew before each forward. See `torch.nn.utils.prune`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tenon as _tn
from tenon._C import Tensor
from tenon.nn.module import Module

from ._pruning import (
    Amount,
    BasePruningMethod,
    CustomFromMask,
    Identity,
    L1Unstructured,
    LnStructured,
    PruningContainer,
    RandomStructured,
    RandomUnstructured,
    pruning_hooks,
)
from .convert import parameters_to_vector

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]


def identity(module: Module, name: str) -> Module:
    """Gives a parameter a mask of ones; returns the module.

    Example::

        >>> nn.utils.prune.identity(nn.Linear(2, 1), "bias").bias_mask
        tensor([1.])
    """
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: Amount) -> Module:
    """Drops that many elements of a parameter (or that part of them) at random.

    Errors: ValueError and TypeError for an amount that is none.

    Example::

        >>> nn.utils.prune.random_unstructured(nn.Linear(4, 2), "weight", 3).weight_mask.sum()
        tensor(5.)
    """
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(
    module: Module, name: str, amount: Amount, importance_scores: Tensor | None = None
) -> Module:
    """Drops the elements of a parameter of the least magnitude, or the least important.

    Errors: ValueError and TypeError for an amount that is none.

    Example::

        >>> layer = nn.Linear(2, 1)
        >>> scores = tn.tensor([[0.5, -0.1]])
        >>> prune = nn.utils.prune
        >>> prune.l1_unstructured(layer, "weight", 1, importance_scores=scores).weight_mask
        tensor([[1., 0.]])
    """
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: Amount, dim: int) -> Module:
    """Drops channels of a parameter along a dimension at random.

    Errors: ValueError and TypeError for an amount that is none, IndexError for the dimension.

    Example::

        >>> layer = nn.utils.prune.random_structured(nn.Linear(4, 2), "weight", 1, dim=0)
        >>> layer.weight_mask.sum()
        tensor(4.)
    """
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module,
    name: str,
    amount: Amount,
    n: Any,
    dim: int,
    importance_scores: Tensor | None = None,
) -> Module:
    """Drops the channels of a parameter along a dimension whose norm of order n is least.

    Errors: ValueError and TypeError for an amount that is none, IndexError for the dimension.

    Example::

        >>> layer = nn.Linear(3, 2)
        >>> scores = tn.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
        >>> prune = nn.utils.prune
        >>> prune.ln_structured(layer, "weight", 1, 2, 0, scores).weight_mask
        tensor([[1., 1., 1.],
                [0., 0., 0.]])
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Keeps the elements of a parameter where the mask is 1.

    Example::

        >>> layer = nn.utils.prune.custom_from_mask(nn.Linear(2, 2), "bias", tn.tensor([0, 1]))
        >>> layer.bias[0] == 0
        tensor(True)
    """
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: dict[tuple[Module, str], Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prunes several parameters together, so that the amount is of all their elements.

    importance_scores: of some parameters, by (module, name), what is judged in place of them.
    Errors: TypeError for a method that is not "unstructured", for what is no iterable, and for
    scores that are no dictionary.

    Example::

        >>> net = nn.Sequential(nn.Linear(10, 4), nn.Linear(4, 1))
        >>> chosen = [(net[0], "weight"), (net[1], "weight")]
        >>> prune = nn.utils.prune
        >>> prune.global_unstructured(chosen, prune.L1Unstructured, amount=10)
        >>> sum(int((mask == 0).sum()) for mask in net.buffers())
        10
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    chosen = list(parameters)
    tensors = [getattr(module, name) for module, name in chosen]
    judged = [scores.get(pair, own) for pair, own in zip(chosen, tensors, strict=True)]
    before = [
        getattr(module, name + "_mask", _tn.ones_like(own.detach()))
        for (module, name), own in zip(chosen, tensors, strict=True)
    ]
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    method._tensor_name = "all"
    with _tn.no_grad():
        mask = PruningContainer(method).compute_mask(
            parameters_to_vector(judged), parameters_to_vector(before)
        )
    start = 0
    for (module, name), own in zip(chosen, tensors, strict=True):
        part = mask[start : start + own.numel()].view_as(own)
        custom_from_mask(module, name, part.clone())
        start += own.numel()


def remove(module: Module, name: str) -> Module:
    """Makes the pruned values the parameter's own, for good; returns the module.

    Errors: ValueError for a parameter that is not pruned.

    Example::

        >>> layer = nn.utils.prune.custom_from_mask(nn.Linear(2, 2), "bias", tn.tensor([0, 1]))
        >>> sorted(dict(nn.utils.prune.remove(layer, "bias").named_parameters()))
        ['bias', 'weight']
    """
    for key, hook in pruning_hooks(module, name):
        hook.remove(module)
        del module._forward_pre_hooks[key]
        return module
    raise ValueError(
        f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
    )


def is_pruned(module: Module) -> bool:
    """Whether the module, or one inside it, has a pruned parameter.

    Example::

        >>> nn.utils.prune.is_pruned(nn.Linear(2, 2))
        False
    """
    return any(
        isinstance(hook, BasePruningMethod)
        for inner in module.modules()
        for hook in inner._forward_pre_hooks.values()
    )

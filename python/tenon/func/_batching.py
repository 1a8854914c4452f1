"""Functions of one example as functions of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .. import _C
from .._C import Tensor
from ..utils._pytree import TreeSpec, broadcast_prefix, tree_flatten, tree_unflatten

Function = Callable[..., Any]


def vmap(
    func: Function,
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Function:
    """The function of one example as a function of a batch.

    in_dims says which dimension of each argument counts the examples (None: shared by all);
    out_dims where results have it. randomness: "error", "different" or "same" random numbers for
    the examples. chunk_size bounds the examples computed at a time.
    Errors: ValueError for arguments that don't fit in_dims or whose counts differ; RuntimeError
    where the function reads a value that differs between the examples, or draws random numbers
    under "error".

    Example::

        >>> tn.func.vmap(tn.dot)(tn.tensor([[1, 2], [3, 4]]), tn.tensor([[1, 1], [0, 1]]))
        tensor([3, 4])
        >>> tn.func.vmap(tn.sum, in_dims=1)(tn.tensor([[1, 2], [3, 4]]))
        tensor([4, 6])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            "Only allowed values for randomness are 'error', 'different', or 'same'. "
            f"Got {randomness}"
        )

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        leaves, spec = tree_flatten(args)
        try:
            # A list or number stands for all arguments, a tuple for each.
            dims = broadcast_prefix(in_dims, args)
        except ValueError as error:
            raise ValueError(
                f"vmap({getattr(func, '__name__', func)}, in_dims={in_dims}, ...)(<inputs>): "
                "in_dims is "
                f"not compatible with the structure of inputs: {error}"
            ) from None
        extent = _batch_size(func, leaves, dims)
        if chunk_size is not None and chunk_size < extent:
            return _in_chunks(
                func, leaves, spec, dims, out_dims, randomness, chunk_size, extent, kwargs
            )
        return _batched(func, leaves, spec, dims, out_dims, randomness, extent, kwargs)

    return wrapper


def _batch_size(func: Function, leaves: list[Any], dims: list[Any]) -> int:
    sizes = set()
    for leaf, dim in zip(leaves, dims, strict=True):
        if dim is None:
            continue
        if not isinstance(dim, int):
            raise ValueError(f"vmap: in_dims must be ints or None, got {dim!r}")
        if not isinstance(leaf, Tensor):
            raise ValueError(
                f"vmap: Got in_dim={dim} for an input that is of type {type(leaf).__name__} and so "
                "cannot be vmapped over; use None as its in_dim"
            )
        if not -leaf.ndim <= dim < leaf.ndim:
            raise ValueError(
                f"vmap: Got in_dim={dim} for some input, but that input is a Tensor of "
                "dimensionality "
                f"{leaf.ndim}"
            )
        sizes.add(leaf.shape[dim])
    if not sizes:
        raise ValueError("vmap: at least one input must have an in_dim that is not None")
    if len(sizes) > 1:
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sorted(sizes)} for the mapped dimension"
        )
    return int(sizes.pop())


def _batched(
    func: Function,
    leaves: list[Any],
    spec: TreeSpec,
    dims: list[Any],
    out_dims: Any,
    randomness: str,
    extent: int,
    kwargs: dict[str, Any],
) -> Any:
    transform = _C._Vmap(extent, randomness)
    try:
        entered = [
            leaf if dim is None else transform.enter(leaf, dim)
            for leaf, dim in zip(leaves, dims, strict=True)
        ]
        result = func(*tree_unflatten(entered, spec), **kwargs)
        outputs, output_spec = tree_flatten(result)
        for output in outputs:
            if not isinstance(output, Tensor):
                raise ValueError(
                    f"vmap: the function must only return Tensors, got type {type(output)}. Did "
                    "you "
                    "mean to set out_dims=None for output?"
                )
        return tree_unflatten(
            transform.exit(outputs, broadcast_prefix(out_dims, result)), output_spec
        )
    finally:
        transform.close()


def _in_chunks(
    func: Function,
    leaves: list[Any],
    spec: TreeSpec,
    dims: list[Any],
    out_dims: Any,
    randomness: str,
    chunk_size: int,
    extent: int,
    kwargs: dict[str, Any],
) -> Any:
    parts: list[list[Tensor]] = []
    output_spec = None
    places: list[Any] = []
    for start in range(0, extent, chunk_size):
        length = min(chunk_size, extent - start)
        chunk = [
            leaf if dim is None else leaf.narrow(dim, start, length)
            for leaf, dim in zip(leaves, dims, strict=True)
        ]
        result = _batched(func, chunk, spec, dims, out_dims, randomness, length, kwargs)
        outputs, output_spec = tree_flatten(result)
        places = broadcast_prefix(out_dims, result)
        parts.append(outputs)
    joined = [
        group[0] if place is None else _C._all["cat"](list(group), place)
        for group, place in zip(zip(*parts, strict=True), places, strict=True)
    ]
    assert output_spec is not None
    return tree_unflatten(joined, output_spec)

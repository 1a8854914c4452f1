"""Samples of PyTorch's operation database as Tenon's arguments: the same tree with our tensors."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import tenon as tn


def name_of(thing: Any) -> str:
    """`float32` of a dtype of either package."""
    return str(thing).rsplit(".", 1)[-1]


def numbers(x: Any) -> np.ndarray:
    """The elements of a tensor of either package; half types as float32, which holds them."""
    if isinstance(x, torch.Tensor):
        x = x.detach().resolve_conj().resolve_neg()
    else:
        x = x.detach()
    return (x.float() if name_of(x.dtype) == "bfloat16" else x).numpy(force=True)


def is_partial(x: torch.Tensor) -> bool:
    """Whether a contiguous tensor shows a part of its memory only."""
    held = x.untyped_storage().nbytes() // x.element_size()
    return x.is_contiguous() and 0 < x.numel() < held


def memory_of(x: torch.Tensor) -> torch.Tensor:
    """All elements of the memory behind a tensor, copied."""
    held = x.untyped_storage().nbytes() // x.element_size()
    return x.as_strided((held,), (1,), 0).clone()


def _dense(x: torch.Tensor) -> Any:
    """x's elements as a tensor of ours, contiguous."""
    dtype = getattr(tn, name_of(x.dtype))
    if x.numel() == 0:
        return tn.empty(tuple(x.shape), dtype=dtype)
    return (
        tn.tensor(np.ascontiguousarray(numbers(x.contiguous()))).reshape(tuple(x.shape)).to(dtype)
    )


def tensor(x: torch.Tensor) -> Any:
    """x as a tensor of ours, with its strides."""
    x = x.detach().resolve_conj().resolve_neg()
    if x.layout != torch.strided:
        raise NotImplementedError(f"a tensor of layout {x.layout}")
    if is_partial(x):
        return _shown(_dense(memory_of(x)), x)
    if x.is_contiguous() or x.numel() == 0:
        return _dense(x)
    order = sorted(range(x.dim()), key=lambda d: (-x.stride(d), d))
    stretched = [d for d in range(x.dim()) if x.stride(d) == 0 and x.shape[d] > 1]
    core = x
    for d in stretched:
        core = core.narrow(d, 0, 1)
    inverse = [order.index(d) for d in range(x.dim())]
    if core.permute(order).is_contiguous():
        result = _dense(core.permute(order)).permute(inverse)
    else:  # gaps: every second element of a tensor twice as long
        wide = torch.stack([core, core], dim=-1).reshape(*core.shape[:-1], 2 * core.shape[-1])
        result = _dense(wide)[..., ::2]
    return result.expand(tuple(x.shape)) if stretched else result


def _shown(memory: Any, x: torch.Tensor) -> Any:
    return memory.as_strided(x.shape, x.stride(), x.storage_offset())


def rebound(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of PyTorch's tests that says `torch` and means us."""
    if not isinstance(function, types.FunctionType) or "torch" not in function.__globals__:
        return function
    space = {**function.__globals__, "torch": tn}
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(types.CellType(ours(cell.cell_contents)))
        except ValueError:  # empty
            cells.append(cell)
    copy = types.FunctionType(
        function.__code__, space, function.__name__, function.__defaults__, tuple(cells)
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def ours(tree: Any, made: dict[int, Any] | None = None) -> Any:
    """The tree with tensors, dtypes, devices and the like as Tenon's. With `made`, tensors
    that share memory still do."""
    if isinstance(tree, torch.Tensor):
        if made is None or tree.layout != torch.strided or tree.numel() == 0:
            return tensor(tree)
        memory = made.setdefault(tree.untyped_storage().data_ptr(), _dense(memory_of(tree)))
        whole = tuple(memory.shape) == tuple(tree.shape)
        return memory if whole else _shown(memory, tree)
    if isinstance(tree, torch.Size):
        return tn.Size(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return tuple(ours(x, made) for x in tree)
    if isinstance(tree, (tuple, list)):
        return type(tree)(ours(x, made) for x in tree)
    if isinstance(tree, dict):
        return {key: ours(x, made) for key, x in tree.items()}
    if isinstance(tree, slice):
        return slice(ours(tree.start), ours(tree.stop), ours(tree.step))
    if isinstance(tree, (torch.dtype, torch.memory_format, torch.layout)):
        return getattr(tn, name_of(tree))
    if isinstance(tree, torch.device):
        return tn.device(str(tree))
    if isinstance(tree, torch.nn.PairwiseDistance):
        return tn.nn.PairwiseDistance(tree.norm, tree.eps, tree.keepdim)
    return rebound(tree) if callable(tree) else tree


def leaves(tree: Any) -> list[Any]:
    """Every tensor of a tree, in order."""
    if isinstance(tree, (torch.Tensor, tn.Tensor)):
        return [tree]
    if isinstance(tree, dict):
        return [x for item in tree.values() for x in leaves(item)]
    if isinstance(tree, (tuple, list)):
        return [x for item in tree for x in leaves(item)]
    return []


def with_leaves(tree: Any, tensors: list[Any]) -> Any:
    """The tree with its tensors replaced, in order."""
    rest = iter(tensors)

    def walk(node: Any) -> Any:
        if isinstance(node, (torch.Tensor, tn.Tensor)):
            return next(rest)
        if isinstance(node, dict):
            return {key: walk(x) for key, x in node.items()}
        if isinstance(node, tuple) and hasattr(node, "_fields"):
            return tuple(walk(x) for x in node)
        if isinstance(node, (tuple, list)) and not isinstance(node, torch.Size | tn.Size):
            return type(node)(walk(x) for x in node)
        return node

    return walk(tree)

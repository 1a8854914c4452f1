"""Single nodes of a step, computed by PyTorch."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import torch

from tenon._C import Tensor, uint8

_SAME = (
    ("neg abs sign exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh")
    + (" asinh acosh atanh sqrt rsqrt erf erfc erfinv lgamma digamma floor ceil round trunc")
    + (" logical_not bitwise_not sub mul fmod atan2 maximum minimum bitwise_and bitwise_or")
    + (" bitwise_xor eq ne lt le gt ge copysign remainder pow")
).split()
_RENAMED: dict[str, Callable[..., Any]] = {
    "add": torch.add,
    "div": torch.true_divide,
    "floor_div": torch.floor_divide,
    "is_nan": torch.isnan,
    "is_inf": torch.isinf,
    "select": torch.where,
    "shift_left": torch.bitwise_left_shift,
    "shift_right": torch.bitwise_right_shift,
    "next_after": torch.nextafter,
    "alias": lambda x: x,
    "redirect": lambda x, *_: x,
}


def _reduce(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def run(node: Any, x: Any) -> Any:
        for axis in sorted(node["axes"], reverse=True):
            x = function(x, axis)
        return x

    return run


def _slice(node: Any, x: Any) -> Any:
    rank = len(node["dims"])
    starts, steps = node["sizes"][:rank], node["sizes"][rank:]
    for axis in range(rank):
        index = torch.arange(node["dims"][axis]) * steps[axis] + starts[axis]
        x = x.index_select(axis, index)
    return x


def _dot_general(node: Any, a: Any, b: Any) -> Any:
    axes = node["axes"]
    batch = axes[0]
    batch_a, batch_b = axes[1 : 1 + batch], axes[1 + batch : 1 + 2 * batch]
    contracted = axes[1 + 2 * batch]
    rest = axes[2 + 2 * batch :]
    contract_a, contract_b = rest[:contracted], rest[contracted : 2 * contracted]
    letters = iter(range(52))
    in_a, in_b = [-1] * a.ndim, [-1] * b.ndim
    out = []
    for i, j in zip(batch_a, batch_b, strict=True):
        in_a[i] = in_b[j] = next(letters)
        out.append(in_a[i])
    for i, j in zip(contract_a, contract_b, strict=True):
        in_a[i] = in_b[j] = next(letters)
    for axes_of in (in_a, in_b):
        for i, letter in enumerate(axes_of):
            if letter < 0:
                axes_of[i] = next(letters)
                out.append(axes_of[i])
    return torch.einsum(a, in_a, b, in_b, out)


_STRUCTURAL: dict[str, Callable[..., Any]] = {
    "expand": lambda node, x: x.expand(node["dims"]),
    "reshape": lambda node, x: x.reshape(node["dims"]),
    "permute": lambda node, x: x.permute(node["axes"]),
    "concatenate": lambda node, *parts: torch.cat(parts, node["axes"][0]),
    "slice": _slice,
    "dot_general": _dot_general,
    "gather": lambda node, x, index: x.index_select(node["axes"][0], index.reshape(-1)).reshape(
        node["dims"]
    ),
    "take_along": lambda node, x, index: x.gather(node["axes"][0], index),
    "put_along_add": lambda node, x, index, v: x.scatter_add(node["axes"][0], index, v),
    "put_along_set": lambda node, x, index, v: x.scatter(node["axes"][0], index, v),
    "reduce_sum": _reduce(lambda x, axis: x.sum(axis)),
    "reduce_prod": _reduce(lambda x, axis: x.prod(axis)),
    "reduce_max": _reduce(lambda x, axis: x.amax(axis)),
    "reduce_min": _reduce(lambda x, axis: x.amin(axis)),
    "reduce_any": _reduce(lambda x, axis: x.any(axis)),
    "reduce_all": _reduce(lambda x, axis: x.all(axis)),
    "argmax": lambda node, x: x.argmax(node["axes"][0]),
    "argmin": lambda node, x: x.argmin(node["axes"][0]),
    "cumsum": lambda node, x: x.cumsum(node["axes"][0]),
    "cumprod": lambda node, x: x.cumprod(node["axes"][0]),
}


def _to_torch(x: Tensor) -> Any:
    dtype = getattr(torch, x.dtype.name)
    if dtype in (torch.bfloat16, torch.float16):
        return torch.from_numpy(x.detach().float().numpy()).to(dtype)
    if x.dtype.name.startswith("float8"):
        return torch.from_numpy(x.detach().contiguous().view(uint8).numpy().copy()).view(dtype)
    return torch.from_numpy(x.detach().contiguous().numpy().copy())


def _constant(node: Any) -> Any:
    is_literal = bool(node["axes"][0])
    bits = (node["axes"][1:] if is_literal else node["sizes"])[:1]
    dtype = getattr(torch, node["dtype"].name)
    if not bits or dtype.is_complex:
        return None
    if dtype.is_floating_point:
        return torch.tensor(struct.unpack("<d", struct.pack("<q", bits[0]))[0], dtype=dtype)
    return torch.tensor(bits[0]).to(dtype)


def compute(node: dict[str, Any], operands: list[Tensor]) -> Any:
    """The node's value by PyTorch; None where there is no such function."""
    op = node["op"]
    dtype = getattr(torch, node["dtype"].name, None)
    if dtype is None:
        return None
    if op == "constant":
        return _constant(node)
    try:
        values = [_to_torch(operand) for operand in operands]
        if op == "cast":
            return values[0].to(dtype)
        if op == "bitcast":
            return values[0].view(dtype)
        if op in _STRUCTURAL:
            return _STRUCTURAL[op](node, *values).to(dtype)
        function = _RENAMED.get(op) or (getattr(torch, op) if op in _SAME else None)
        return None if function is None else function(*values).to(dtype)
    except (RuntimeError, TypeError):  # for want of a rule for this dtype
        return None


def tolerances(expected: Any, value: Tensor) -> str:
    """How the value differs beyond tolerance; empty: it doesn't."""
    got = _to_torch(value)
    if not expected.dtype.is_floating_point:
        wrong = got != expected
    else:
        relative = {torch.float64: 1e-10, torch.float32: 2e-5}.get(expected.dtype, 2e-2)
        finite = expected[torch.isfinite(expected)]
        scale = float(finite.abs().max()) if finite.numel() else 1.0
        wrong = ~torch.isclose(
            got.double(), expected.double(), rtol=relative, atol=relative * scale, equal_nan=True
        )
    if not bool(wrong.any()):
        return ""
    first = int(wrong.reshape(-1).int().argmax())
    pair = got.reshape(-1)[first].item(), expected.reshape(-1)[first].item()
    return (
        f"{int(wrong.sum())} of {wrong.numel()} elements, the first, {first}, is {pair[0]}, in "
        f"PyTorch {pair[1]}"
    )

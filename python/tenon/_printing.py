"""Tensors as text, as PyTorch prints them (torch/_tensor_str.py)."""

from __future__ import annotations

import builtins
import math
from typing import Any

from . import _C
from ._C import Tensor


class _Options:  # no dataclass: their module costs half of the time that importing tenon may take
    def __init__(self) -> None:
        self.precision: builtins.int = 4
        self.threshold: builtins.float = 1000
        self.edgeitems: builtins.int = 3
        self.linewidth: builtins.int = 80
        self.sci_mode: builtins.bool | None = None


_options = _Options()


def set_printoptions(
    precision: builtins.int | None = None,
    threshold: builtins.float | None = None,
    edgeitems: builtins.int | None = None,
    linewidth: builtins.int | None = None,
    profile: str | None = None,
    sci_mode: builtins.bool | None = None,
) -> None:
    """How tensors are printed: digits, when and how to abbreviate, width, exponents.

    profile: "default", "short" or "full".

    Example::

        >>> tn.set_printoptions(precision=2)
        >>> tn.tensor([1 / 3])
        tensor([0.33])
        >>> tn.set_printoptions(profile="default")
    """
    if profile == "default":
        _options.__init__()  # type: ignore[misc]
    elif profile == "short":
        _options.__init__(2, 1000, 2, 80)  # type: ignore[misc]
    elif profile == "full":
        _options.__init__(4, math.inf, 3, 80)  # type: ignore[misc]
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    for name, value in given.items():
        if value is not None:
            setattr(_options, name, value)
    _options.sci_mode = sci_mode


class _Formatter:
    """One format for all the numbers of a tensor: width, and which of three notations."""

    def __init__(self, values: builtins.list[Any], floating: builtins.bool) -> None:
        self.floating = floating
        self.int_mode = True
        self.sci_mode = False
        self.width = 1
        if not floating:
            self.width = max([self.width, *(len(str(value)) for value in values)])
            return
        shown = [v for v in values if math.isfinite(v) and v != 0]
        if not shown:
            return
        self.int_mode = all(v == math.ceil(v) for v in shown)
        sizes = [abs(v) for v in shown]
        largest, smallest = max(sizes), min(sizes)
        wide = largest / smallest > 1000.0 or largest > 1.0e8 or smallest < 1.0e-4
        self.sci_mode = wide if _options.sci_mode is None else _options.sci_mode
        self.width = max(self.width, *(len(self._one(v)) for v in shown))

    def _one(self, value: builtins.float) -> str:
        if self.sci_mode:
            return f"{value:.{_options.precision}e}"
        if self.int_mode:
            text = f"{value:.0f}"
            return text if not math.isfinite(value) else text + "."
        return f"{value:.{_options.precision}f}"

    def format(self, value: Any) -> str:
        text = self._one(value) if self.floating else str(value)
        return text.rjust(self.width)


def _summarized(data: Tensor) -> Tensor:
    """The elements that are shown, of a tensor too large to be shown whole."""
    edge = _options.edgeitems
    if data.ndim == 0:
        return data
    if data.shape[0] > 2 * edge:
        parts = [data[:edge], data[-edge:]]
        data = _C._all["cat"](parts)
    if data.ndim == 1:
        return data
    return _C._all["stack"]([_summarized(row) for row in data])


def _vector(
    items: builtins.list[Any],
    length: builtins.int,
    indent: builtins.int,
    summarize: builtins.bool,
    formatter: Any,
) -> str:
    width = formatter.width + 2
    per_line = max(1, (_options.linewidth - indent) // width)
    edge = _options.edgeitems
    texts = [formatter.format(item) for item in items]
    if summarize and length > 2 * edge:
        texts = [*texts[:edge], " ...", *texts[-edge:]]
    lines = [texts[i : i + per_line] for i in range(0, len(texts), per_line)]
    separator = ",\n" + " " * (indent + 1)
    return "[" + separator.join(", ".join(line) for line in lines) + "]"


def _nested(
    items: Any,
    shape: tuple[builtins.int, ...],
    indent: builtins.int,
    summarize: builtins.bool,
    formatter: Any,
) -> str:
    if not shape:
        return formatter.format(items)  # type: ignore[no-any-return]
    if len(shape) == 1:
        return _vector(items, shape[0], indent, summarize, formatter)
    rows = [_nested(row, shape[1:], indent + 1, summarize, formatter) for row in items]
    edge = _options.edgeitems
    if summarize and shape[0] > 2 * edge:
        rows = [*rows[:edge], "...", *rows[-edge:]]
    separator = "," + "\n" * (len(shape) - 1) + " " * (indent + 1)
    return "[" + separator.join(rows) + "]"


class _Complex:
    """Real and imaginary parts in formats of their own."""

    def __init__(self, values: builtins.list[complex]) -> None:
        self.real = _Formatter([v.real for v in values], True)
        self.imaginary = _Formatter([v.imag for v in values], True)
        self.width = self.real.width + self.imaginary.width + 1

    def format(self, value: complex) -> str:
        imaginary = self.imaginary.format(value.imag).lstrip()
        sign = "" if imaginary.startswith("-") else "+"
        return f"{self.real.format(value.real)}{sign}{imaginary}j"


def _flat(items: Any) -> builtins.list[Any]:
    if not isinstance(items, builtins.list):
        return [items]
    flat: builtins.list[Any] = []
    for item in items:
        flat += _flat(item)
    return flat


def format_tensor(self: Tensor) -> str:
    """`tensor([...], dtype=..., requires_grad=True)`."""
    prefix = "tensor("
    data = self.detach()
    suffixes: builtins.list[str] = []
    default = _C.get_default_dtype()
    pair = _C.complex128 if default == _C.float64 else _C.complex64
    usual = (default, pair, _C.int64, _C.bool)
    if self.device.type != "cpu":
        suffixes.append(f"device='{self.device}'")
    if self.numel() == 0 and self.ndim != 1:
        suffixes.append(f"size={tuple(self.shape)}")
    if self.dtype not in usual or (self.numel() == 0 and self.dtype != _C.get_default_dtype()):
        suffixes.append(f"dtype={self.dtype}")
    if self.numel() == 0:
        body = "[]"
    else:
        summarize = self.numel() > _options.threshold
        items = (_summarized(data) if summarize else data).tolist()
        flat = _flat(items)
        formatter: Any
        if self.dtype.is_complex:
            formatter = _Complex(flat)
        else:
            formatter = _Formatter(flat, self.dtype.is_floating_point)
        body = _nested(items, tuple(self.shape), len(prefix), summarize, formatter)
    if self.requires_grad:
        suffixes.append("requires_grad=True" if self.is_leaf else "grad_fn=<RecordedOperation>")
    text = prefix + body
    length = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if length + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * len(prefix) + suffix
            length = len(prefix) + len(suffix)
        else:
            text += ", " + suffix
            length += len(suffix) + 2
    return text + ")"

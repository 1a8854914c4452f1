"""Dtypes: conversion, promotion, kinds and limits."""

from __future__ import annotations

import builtins
from typing import Any

import tenon as tn
from tenon import Tensor

KINDS: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "signed integer": ("int8", "int16", "int32", "int64"),
    "unsigned integer": ("uint8", "uint16", "uint32", "uint64"),
    "real floating": ("float32", "float64"),
    "complex floating": ("complex64", "complex128"),
}
KINDS["integral"] = KINDS["signed integer"] + KINDS["unsigned integer"]
KINDS["numeric"] = KINDS["integral"] + KINDS["real floating"] + KINDS["complex floating"]


def _named(names: tuple[str, ...]) -> dict[str, tn.dtype]:
    return {name: getattr(tn, name) for name in names}


def astype(
    x: Tensor, dtype: tn.dtype, /, *, copy: builtins.bool = True, device: Any = None
) -> Tensor:
    """x with another dtype; without copy, x itself where it has that dtype."""
    y = x.to(dtype)
    return y.clone() if copy and y is x else y


def isdtype(dtype: tn.dtype, kind: tn.dtype | str | tuple[tn.dtype | str, ...]) -> builtins.bool:
    """Whether a dtype is of a kind: a dtype, a name of the standard's, or one of several."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, each) for each in kind)
    if isinstance(kind, str):
        if kind not in KINDS:
            raise ValueError(f"isdtype(): no kind {kind!r}; there are {', '.join(KINDS)}")
        return dtype in _named(KINDS[kind]).values()
    return dtype == kind


def _dtype_of(x: Any) -> Any:
    return x.dtype if isinstance(x, Tensor) else x


def result_type(*arrays_and_dtypes: Any) -> tn.dtype:
    """The dtype that operands are promoted to. Python's numbers take part by their kind."""
    dtypes = [_dtype_of(x) for x in arrays_and_dtypes]
    known = [d for d in dtypes if isinstance(d, tn.dtype)]
    if not known:
        raise ValueError("result_type(): at least one array or dtype is needed")
    result = known[0]
    for dtype in known[1:]:
        result = tn.promote_types(result, dtype)
    for number in dtypes:
        if not isinstance(number, tn.dtype):
            result = tn.result_type(tn.empty((1,), dtype=result), number)
    return result


def can_cast(from_: tn.dtype | Tensor, to: tn.dtype, /) -> builtins.bool:
    """Whether promotion of the two gives `to`."""
    try:
        return tn.promote_types(_dtype_of(from_), to) == to
    except RuntimeError:
        return False


def finfo(type: tn.dtype | Tensor, /) -> Any:
    """Limits of a floating dtype, or of a complex one's parts."""
    return tn.finfo(_dtype_of(type))


def iinfo(type: tn.dtype | Tensor, /) -> Any:
    """Limits of an integer dtype."""
    return tn.iinfo(_dtype_of(type))

"""What is compared of an operation: a function a column.

Each takes an entry, Tenon's function and a limit of samples, and yields nothing. It raises
NotApplicable where PyTorch has nothing to compare with, else whatever is wrong with the first
sample that fails.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

import tenon as tn
from tests.opdb.compare import Differs, agree, equal_bits
from tests.opdb.convert import leaves, numbers, ours, rebound
from tests.opdb.database import (
    UNINITIALIZED,
    Sample,
    copies,
    dtypes_of,
    is_random,
    judge,
    samples,
)


class NotApplicable(Exception):
    """The column says nothing of this operation."""


def at(sample: Sample, number: int, dtype: str) -> str:
    def short(x: Any) -> str:
        if isinstance(x, torch.Tensor):
            name = str(x.dtype).removeprefix("torch.")
            return f"{name}{list(x.shape)}" + ("" if x.is_contiguous() else "'")
        if isinstance(x, (tuple, list)):
            return "(" + ", ".join(map(short, x)) + ")"
        return repr(x)

    given = [short(x) for x in sample.args]
    given += [f"{key}={short(x)}" for key, x in sample.kwargs.items()]
    return f"{dtype} sample {number} ({', '.join(given)[:160]})"


def first_dtype(op: Any) -> str:
    """float32 where there is one."""
    found = dtypes_of(op)
    if not found:
        raise NotApplicable
    return found[0]


def expected_of(op: Any, sample: Sample) -> Any:
    """PyTorch's result, or what judges it."""
    args, kwargs = copies(sample.tree)
    return judge(op)(*args, **kwargs)


# Which of equal elements an index names is left open; the place of `dim` among the arguments.
TIES = {"sort": 1, "argsort": 1, "topk": 2, "kthvalue": 2, "median": 1, "nanmedian": 1, "mode": 1}


PHASES = ("linalg.eig", "linalg.eigh")  # whose eigenvectors have one of their own


def _by_one_phase(vectors: Any) -> Any:
    """Columns with the phase that makes the largest element of each positive."""
    v = torch.as_tensor(numbers(vectors))
    if v.numel() == 0:
        return v
    largest = v.abs().argmax(-2, keepdim=True)
    at = v.gather(-2, largest)
    return v * (at.conj() / at.abs())


def untied(op: Any, sample: Sample, result: Any) -> Any:
    """The result with indices of either package replaced by the elements that they name, and
    eigenvectors by their multiples of one phase."""
    if op.name in PHASES:
        values, vectors = leaves(result)
        return [values, _by_one_phase(vectors)]
    if op.name not in TIES or (
        isinstance(result, tn.Tensor | torch.Tensor) and op.name != "argsort"
    ):
        return result
    place = TIES[op.name]
    dim = sample.kwargs.get("dim", sample.args[place] if len(sample.args) > place else -1)
    dim = -1 if isinstance(dim, bool) else dim
    *rest, index = leaves(result)
    index = torch.as_tensor(index.numpy())
    given = sample.args[0].detach()
    if given.dim() == 0:
        return [*rest, index * 0]
    if index.dim() < given.dim():
        return [*rest, torch.take_along_dim(given, index.unsqueeze(dim), dim)]
    return [*rest, torch.take_along_dim(given, index, dim)]


class Note(Exception):
    """A failure with the sample that shows it."""


def each(
    op: Any, dtype: str, limit: int, check: Callable[[Sample], None], requires_grad: bool = False
) -> int:
    """Runs a check on every sample; returns how many there were."""
    count = 0
    for number, sample in enumerate(samples(op, dtype, requires_grad, limit)):
        try:
            check(sample)
        except NotApplicable:
            continue
        except Exception as error:
            text = str(error).strip().split("\n")[0][:200]
            kind = "" if isinstance(error, Differs) else f"{type(error).__name__}: "
            raise Note(f"{at(sample, number, dtype)}: {kind}{text}") from error
        count += 1
    return count


def _compare(op: Any, function: Any, dtype: str, limit: int) -> int:

    def check(sample: Sample) -> None:
        expected = expected_of(op, sample)
        args, kwargs = ours(sample.tree)
        found = function(*args, **kwargs)
        agree(untied(op, sample, found), untied(op, sample, expected), is_random(op, sample))

    return each(op, dtype, limit, check)


def values(op: Any, function: Any, limit: int) -> None:
    """The result in float32, or in the first dtype that the operation takes."""
    if not _compare(op, function, first_dtype(op), limit):
        raise NotApplicable


def dtypes(op: Any, function: Any, limit: int) -> None:
    """The result in every real dtype that PyTorch takes."""
    real = [dtype for dtype in dtypes_of(op) if not dtype.startswith("complex")]
    if not sum(_compare(op, function, dtype, limit) for dtype in real[1:]):
        raise NotApplicable


def complex_dtypes(op: Any, function: Any, limit: int) -> None:
    """The result in complex64 and complex128."""
    found = [dtype for dtype in dtypes_of(op) if dtype.startswith("complex")]
    if not sum(_compare(op, function, dtype, limit) for dtype in found):
        raise NotApplicable


def fused(op: Any, function: Any, limit: int) -> None:
    """Fused, a kernel an operation, and interpreted: the same bits."""
    dtype = first_dtype(op)
    before = tn.jit.get_mode()

    def run(tree: Any, mode: str) -> Any:
        tn.jit.set_mode(mode)
        tn.manual_seed(0)
        args, kwargs = ours(tree)
        result = function(*args, **kwargs)
        tn.eval(*leaves(result))
        return result

    def check(sample: Sample) -> None:
        results = [run(sample.tree, mode) for mode in ("fused", "unfused", "interpret")]
        if not leaves(results[0]):
            raise NotApplicable
        if not op.name.startswith(UNINITIALIZED):
            for other in results[1:]:
                equal_bits(results[0], other)

    try:
        if not each(op, dtype, limit, check):
            raise NotApplicable
    finally:
        tn.jit.set_mode(before)


def methods(op: Any, function: Any, limit: int) -> None:
    """The method of the same name."""
    name = getattr(op.method_variant, "__name__", op.name)
    method = getattr(tn.Tensor, name, None)
    if name == "<lambda>":
        method = rebound(op.method_variant)
    if method is None:
        raise Note("no such method")
    dtype = first_dtype(op)

    def check(sample: Sample) -> None:
        if not isinstance(sample.args[0], torch.Tensor):
            raise NotApplicable
        args, kwargs = ours(sample.tree)
        found = untied(op, sample, method(*args, **kwargs))
        agree(found, untied(op, sample, expected_of(op, sample)), is_random(op, sample))

    each(op, dtype, limit, check)


def in_place(op: Any, function: Any, limit: int) -> None:
    """The in-place form: what it writes, and that it returns what it wrote."""
    variant = op.inplace_variant
    method = rebound(variant)
    if isinstance(variant, functools.partial):
        method = functools.partial(function, *variant.args, **variant.keywords)
    elif method is variant:
        method = getattr(tn.Tensor, variant.__name__, None)
    if method is None:
        raise Note("no in-place form")
    dtype = first_dtype(op)

    def check(sample: Sample) -> None:
        args, kwargs = ours(sample.tree)
        target = args[0]
        peer_args, peer_kwargs = copies(sample.tree)
        try:
            expected = variant(*peer_args, **peer_kwargs)
        except RuntimeError:  # does not fit into the operand
            raise NotApplicable from None
        result = method(*args, **kwargs)
        if result is not target:
            raise Differs("does not return its operand")
        agree(target, expected, is_random(op, sample))

    if not each(op, dtype, limit, check):
        raise NotApplicable


def out(op: Any, function: Any, limit: int) -> None:
    """`out=`: the result is written there, and is what is returned."""
    dtype = first_dtype(op)

    def check(sample: Sample) -> None:
        if "out" in sample.kwargs:
            raise NotApplicable
        expected = expected_of(op, sample)
        found = leaves(expected)
        if not found or len(found) != len(leaves([expected])):
            raise NotApplicable
        try:
            peers = [torch.empty_like(x) for x in found]
            given = peers[0] if isinstance(expected, torch.Tensor) else type_of(expected)(peers)
            returned = op.op(*sample.args, **sample.kwargs, out=given)
        except (TypeError, RuntimeError):
            raise NotApplicable from None
        args, kwargs = ours(sample.tree)
        places = [tn.empty(tuple(x.shape), dtype=getattr(tn, str(x.dtype)[6:])) for x in found]
        single = isinstance(expected, torch.Tensor)
        result = function(*args, **kwargs, out=places[0] if single else tuple(places))
        first = result if single or returned is None else next(iter(result))
        if returned is not None and first is not places[0]:
            raise Differs("does not return out")
        agree(untied(op, sample, places), untied(op, sample, found), is_random(op, sample))

    if not each(op, dtype, limit, check):
        raise NotApplicable


def type_of(result: Any) -> Any:
    return list if isinstance(result, list) else tuple


def errors(op: Any, function: Any, limit: int) -> None:
    """The exceptions of the database's wrong inputs."""
    torch.manual_seed(0)
    count = 0
    for number, wrong in enumerate(op.error_inputs("cpu")):
        sample = Sample(
            (wrong.sample_input.input, *wrong.sample_input.args), wrong.sample_input.kwargs, id
        )
        try:
            args, kwargs = ours(sample.tree, {})
        except (AttributeError, NotImplementedError, ValueError):
            continue  # dtypes and layouts that Tenon has not, more dimensions than NumPy has
        try:
            op.op(*sample.args, **sample.kwargs)
        except Exception:
            count += 1
        else:
            continue  # an entry that is not wrong here
        place = at(sample, number, "error")
        try:
            result = function(*args, **kwargs)
            tn.eval(*leaves(result))
        except Exception as error:
            if not isinstance(error, wrong.error_type):
                kind, text = type(error).__name__, str(error).split("\n")[0][:80]
                wanted = wrong.error_type
                raise Note(f"{place}: {kind} ({text}), not {wanted}") from error
        else:
            raise Note(f"{place}: no error, where PyTorch says {wrong.error_regex[:80]}")
    if not count:
        raise NotApplicable

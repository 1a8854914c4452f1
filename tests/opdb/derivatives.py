"""Columns of derivatives and of vmap; see columns.py."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.autograd.forward_ad as forward_ad

import tenon as tn
from tests.opdb.columns import PHASES, NotApplicable, each, untied
from tests.opdb.compare import Differs, agree, agree_arrays
from tests.opdb.convert import leaves, name_of, numbers, ours, rebound, with_leaves
from tests.opdb.database import Sample, dtypes_of, is_random, judge

LOOSE = {"float64": 1e-6, "complex128": 1e-6}


def _weights(shapes: list[Any], dtypes: list[Any]) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    made = []
    for shape, dtype in zip(shapes, dtypes, strict=True):
        w = rng.uniform(0.5, 1.5, tuple(shape))
        if name_of(dtype).startswith("complex"):
            w = w + 1j * rng.uniform(0.5, 1.5, tuple(shape))
        made.append(np.asarray(w))
    return made


def _is_differentiable(x: Any) -> bool:
    return name_of(x.dtype) in ("float64", "complex128")


class _Side:
    """One of the two packages, with the places of the sample's differentiable tensors."""

    def __init__(self, package: Any, function: Any, process: Any, tree: Any, places: list[int]):
        self.package, self.function, self.process = package, function, process
        self.tree, self.places = tree, places

    def apply(self, inputs: list[Any]) -> list[Any]:
        full = leaves(self.tree)
        for place, x in zip(self.places, inputs, strict=True):
            full[place] = x
        args, kwargs = with_leaves(self.tree, full)
        result = self.process(self.function(*args, **kwargs))
        return [y for y in leaves(result) if _is_differentiable(y)]

    def inputs(self) -> list[Any]:
        all_leaves = leaves(self.tree)
        return [all_leaves[k].detach().clone().requires_grad_(True) for k in self.places]

    def weighted(self, outputs: list[Any]) -> Any:
        weights = _weights([y.shape for y in outputs], [y.dtype for y in outputs])
        total = None
        for y, w in zip(outputs, weights, strict=True):
            if not y.requires_grad:
                continue
            term = (y * self.package.tensor(w).to(y.dtype)).sum()
            if name_of(term.dtype).startswith("complex"):
                term = self.package.real(term)
            total = term if total is None else total + term
        return total

    def gradients(self, order: int) -> list[Any]:
        inputs = self.inputs()
        loss = self.weighted(self.apply(inputs))
        if loss is None or not loss.requires_grad:
            raise NotApplicable
        for k in range(order):
            last = k == order - 1
            found = self.package.autograd.grad(
                loss, inputs, create_graph=not last, allow_unused=True
            )
            if not last:
                loss = self.weighted([g for g in found if g is not None and g.requires_grad])
                if loss is None:
                    return [None for _ in inputs]
        return list(found)

    def zeros(self, x: Any) -> np.ndarray:
        return np.zeros(tuple(x.shape))


def _sides(op: Any, function: Any, sample: Sample) -> tuple[_Side, _Side]:
    all_leaves = leaves(sample.tree)
    places = [k for k, x in enumerate(all_leaves) if x.requires_grad]
    if not places or is_random(op, sample):
        raise NotApplicable
    theirs = _Side(torch, op.op, sample.process, sample.tree, places)
    mine = _Side(tn, function, rebound(sample.process), ours(sample.tree), places)
    return theirs, mine


# ---- where the two differ, PyTorch's function itself decides, by central differences -------------

STEP, CLOSE = 1e-6, 1e-4


def _moved(points: list[Any], directions: list[np.ndarray], by: float) -> list[Any]:
    return [
        (x.detach() + by * torch.as_tensor(d, dtype=x.dtype)).requires_grad_(True)
        for x, d in zip(points, directions, strict=True)
    ]


def _is_gradient(theirs: _Side, gradients: list[np.ndarray]) -> bool:
    """Whether these are the derivatives of PyTorch's weighted sum, along three directions."""
    points, rng = theirs.inputs(), np.random.default_rng(11)
    for _ in range(3):
        directions = [rng.normal(size=g.shape) for g in gradients]
        if any(x.is_complex() for x in points):
            directions = [d + 1j * rng.normal(size=d.shape) for d in directions]
        ends = [
            float(theirs.weighted(theirs.apply(_moved(points, directions, by))))
            for by in (STEP, -STEP)
        ]
        slope = (ends[0] - ends[1]) / (2 * STEP)
        terms = [
            float(np.real(np.conj(g) * d).sum()) for g, d in zip(gradients, directions, strict=True)
        ]
        if abs(sum(terms) - slope) > CLOSE * max(1.0, abs(slope), *map(abs, terms)):
            return False
    return True


def _is_tangent(theirs: _Side, directions: list[np.ndarray], tangents: list[Any]) -> bool:
    """Whether these are the derivatives of PyTorch's results in these directions."""
    points = theirs.inputs()
    after, before = (theirs.apply(_moved(points, directions, by)) for by in (STEP, -STEP))
    for x, y, tangent in zip(after, before, tangents, strict=True):
        slope = numbers(x - y) / (2 * STEP)
        scale = max(1.0, np.abs(slope).max(initial=0.0))
        if not np.allclose(numbers(tangent), slope, rtol=CLOSE, atol=CLOSE * scale):
            return False
    return True


def _gradient(op: Any, function: Any, dtype: str, order: int, limit: int) -> None:
    def check(sample: Sample) -> None:
        theirs, mine = _sides(op, function, sample)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expected = theirs.gradients(order)
            except (RuntimeError, TypeError, AttributeError):
                raise NotApplicable from None
        try:
            found = mine.gradients(order)
        except NotApplicable:
            found = [None for _ in expected]
        inputs = theirs.inputs()
        ours, others = (
            [theirs.zeros(x) if g is None else numbers(g) for x, g in zip(inputs, all, strict=True)]
            for all in (found, expected)
        )
        try:
            for p, q in zip(ours, others, strict=True):
                agree_arrays(p, q, LOOSE[dtype], "gradient")
        except Differs:
            if order > 1 or not _is_gradient(theirs, ours) or _is_gradient(theirs, others):
                raise

    if not each(op, dtype, limit, check, requires_grad=True):
        raise NotApplicable


def gradient(op: Any, function: Any, limit: int) -> None:
    """Gradients of a weighted sum of the results, in float64."""
    _gradient(op, function, "float64", 1, limit)


def complex_gradient(op: Any, function: Any, limit: int) -> None:
    """The same in complex128."""
    _gradient(op, function, "complex128", 1, limit)


def second(op: Any, function: Any, limit: int) -> None:
    """Gradients of a weighted sum of gradients, in float64."""
    _gradient(op, function, "float64", 2, limit)


def forward(op: Any, function: Any, limit: int) -> None:
    """Directional derivatives by forward mode, in float64."""
    dtype = "float64"

    def check(sample: Sample) -> None:
        theirs, mine = _sides(op, function, sample)
        primals = theirs.inputs()
        directions = _weights([x.shape for x in primals], [x.dtype for x in primals])
        try:
            with forward_ad.dual_level():
                duals = [
                    forward_ad.make_dual(x.detach(), torch.tensor(d).to(x.dtype))
                    for x, d in zip(primals, directions, strict=True)
                ]
                pairs = [forward_ad.unpack_dual(y) for y in theirs.apply(duals)]
                expected = [
                    torch.zeros_like(p.primal) if p.tangent is None else p.tangent.clone()
                    for p in pairs
                ]
        except (RuntimeError, TypeError, NotImplementedError):
            raise NotApplicable from None
        if not expected:
            raise NotApplicable
        tangents = tuple(
            tn.tensor(d).to(getattr(tn, name_of(x.dtype)))
            for x, d in zip(primals, directions, strict=True)
        )
        points = tuple(x.detach() for x in mine.inputs())
        _, found = tn.func.jvp(lambda *x: tuple(mine.apply(list(x))), points, tangents)
        tangents_found = list(leaves(found))
        try:
            agree(tangents_found, expected, loosen=10)
        except Differs:
            if not _is_tangent(theirs, directions, tangents_found):
                raise
            if _is_tangent(theirs, directions, expected):
                raise

    if not each(op, dtype, limit, check, requires_grad=True):
        raise NotApplicable


def vmap(op: Any, function: Any, limit: int) -> None:
    """A batch of two in every tensor, and in the first alone, against a loop over PyTorch's."""
    found = dtypes_of(op)
    if not found:
        raise NotApplicable
    dtype = "float64" if "float64" in found else found[0]

    def check(sample: Sample) -> None:
        tensors = leaves(sample.tree)
        if not tensors or any(x.layout != torch.strided for x in tensors) or is_random(op, sample):
            raise NotApplicable
        everywhere = list(range(len(tensors)))
        for places in [everywhere, [0]] if len(tensors) > 1 else [everywhere]:
            _vmap(op, function, sample, tensors, places)

    if not each(op, dtype, limit, check):
        raise NotApplicable


def _vmap(op: Any, function: Any, sample: Sample, tensors: list[Any], places: list[int]) -> None:
    def scaled(x: Any) -> Any:
        return x * 0.75 if x.is_floating_point() or x.is_complex() else x

    batches = [torch.stack([tensors[k], scaled(tensors[k])]) for k in places]

    def one(call: Callable[..., Any], tree: Any, all_leaves: list[Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            full = list(all_leaves)
            for place, x in zip(places, given, strict=True):
                full[place] = x
            args, kwargs = with_leaves(tree, full)
            return tuple(leaves(call(*args, **kwargs)))

        return run

    theirs = one(judge(op), sample.tree, tensors)
    rows = [theirs(*(b[k].clone() for b in batches)) for k in range(2)]
    if not rows[0] or [x.shape for x in rows[0]] != [x.shape for x in rows[1]]:
        raise NotApplicable
    expected = [torch.stack(row) for row in zip(*rows, strict=True)]
    tree = ours(sample.tree)
    try:
        found = tn.func.vmap(one(function, tree, leaves(tree)))(*(ours(b) for b in batches))
        tn.eval(*leaves(found))
    except Exception:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.vmap(theirs)(*(b.clone() for b in batches))
        except Exception:
            raise NotApplicable from None  # PyTorch can't either
        raise
    results = [list(leaves(found)), expected]
    if op.name in PHASES:
        results = [untied(op, sample, result) for result in results]
    agree(*results)

"""What the spec declares of each operation, held against PyTorch, finite differences and loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from spec_cases import Samples, load_cases

import tenon as tn
import tenon.nn.functional
from tenon import _C

torch = pytest.importorskip("torch")

CASES = load_cases()
# Results whose size depends on data, by name or key.
READS = {"nonzero", "masked_select", "bincount"}
READS |= {"repeat_interleave.places", "repeat_interleave.tensor"}
READS |= {"tensor_split.tensor", "narrow.tensor", "masked_median"}


def pairs(wanted=lambda case: True):
    chosen = [(case, sample) for case in CASES if wanted(case) for sample in case["samples"]]
    return pytest.mark.parametrize(
        ("case", "sample"), chosen, ids=[f"{case['key']}({sample})" for case, sample in chosen]
    )


def ours(case: dict[str, Any]) -> Any:
    return _C._all[case["name"]]


def theirs(case: dict[str, Any]) -> Any:
    if case["reference"]:
        found: Any = torch
        for name in case["reference"].split(".")[1:]:
            found = getattr(found, name)
        return found
    places = [torch, torch.nn.functional, torch.Tensor, torch.special]
    if not case["function"]:
        places.insert(0, torch.nn.functional if case["functional"] else torch.Tensor)
    for place in places:
        if hasattr(place, case["name"]):
            return getattr(place, case["name"])
    pytest.skip(f"PyTorch has no {case['name']}")


def flat(result: Any) -> list[Any]:
    if isinstance(result, (tuple, list)):
        return [x for item in result for x in flat(item)]
    return [result]


def numbers(x: Any) -> np.ndarray:
    if isinstance(x, (bool, int, float)):
        return np.asarray(x)
    if str(x.dtype).endswith("bfloat16"):
        x = x.float() if hasattr(x, "float") else x
    return x.detach().resolve_conj().numpy()


def name_of(dtype: Any) -> str:
    return str(dtype).split(".")[-1]


TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-5, "float64": 1e-7}
TOLERANCE |= {"complex64": 2e-5, "complex128": 1e-7}


def agree(a: Any, b: Any) -> None:
    """Tenon's result against PyTorch's: size, dtype, values."""
    for x, y in zip(flat(a), flat(b), strict=True):
        if isinstance(x, tn.Tensor):
            assert tuple(x.shape) == tuple(y.shape)
            assert name_of(x.dtype) == name_of(y.dtype)
            tolerance = TOLERANCE.get(name_of(x.dtype), 0)
            np.testing.assert_allclose(numbers(x), numbers(y), rtol=tolerance, atol=tolerance)
        else:
            assert x == y


def spread(case: dict[str, Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """PyTorch wants some lists as separate arguments."""
    if case["name"] in ("einsum",):
        return (args[0], *args[1])
    if case["name"] in ("meshgrid", "broadcast_tensors", "block_diag", "cartesian_prod"):
        return tuple(args[0])
    if case["name"] == "tensordot":
        return (*args[:2], tuple(args[2:]))
    return args


@pairs()
def test_value(case, sample):
    args, kwargs = Samples(tn, sample).evaluate()
    result = ours(case)(*args, **kwargs)
    args, kwargs = Samples(torch, sample).evaluate()
    agree(result, theirs(case)(*spread(case, args), **kwargs))


@pairs(lambda case: case["inplace"])
def test_in_place(case, sample):
    args, kwargs = Samples(tn, sample).evaluate()
    if not isinstance(args[0], tn.Tensor):
        pytest.skip("no tensor to write to")
    expected = ours(case)(*args, **kwargs)
    target = args[0].clone()
    name = case["name"] + "_"
    method = getattr(target, name, None)
    if method is None:
        pytest.skip("no method")
    try:
        fits = tn.broadcast_shapes(expected.shape, target.shape) == tuple(target.shape)
    except RuntimeError:
        fits = False
    if not fits or not tn.can_cast(expected.dtype, target.dtype):
        with pytest.raises(RuntimeError):
            method(*args[1:], **kwargs)
        return
    assert method(*args[1:], **kwargs) is target
    want = np.broadcast_to(numbers(expected.to(target.dtype)), tuple(target.shape))
    np.testing.assert_array_equal(numbers(target), want)
    assert target._version == 1


@pairs(lambda case: case["differentiable"] and not READS & {case["name"], case["key"]})
def test_gradient(case, sample):
    """Directional derivatives in float64 against central differences."""
    function = ours(case)
    samples = Samples(tn, sample, tn.float64)
    args, kwargs = samples.evaluate()
    inputs = [x for x in flat([*args, *kwargs.values()]) if isinstance(x, tn.Tensor)]
    inputs = [x for x in inputs if x.is_floating_point()]
    if not inputs:
        pytest.skip("no floating input")
    for x in inputs:
        if not x.is_leaf:
            pytest.skip("an input that is computed")
        x.requires_grad_(True)
    outputs = [y for y in flat(function(*args, **kwargs)) if y.is_floating_point()]
    if not any(y.requires_grad for y in outputs):
        pytest.skip("no output depends on an input")
    rng = np.random.default_rng(1)
    weights = [tn.tensor(rng.normal(size=tuple(y.shape))) for y in outputs]
    loss = sum((y * w).sum() for y, w in zip(outputs, weights, strict=True))
    loss.backward()
    if not np.isfinite(float(loss)):
        pytest.skip("no difference of infinities")
    directions = [rng.normal(size=tuple(x.shape)) for x in inputs]
    expected = sum(
        float((numbers(x.grad) * d).sum())
        for x, d in zip(inputs, directions, strict=True)
        if x.grad is not None
    )
    step = 1e-6

    def value(sign: float) -> float:
        with tn.no_grad():
            for x, d in zip(inputs, directions, strict=True):
                x.add_(tn.tensor(d) * (sign * step))
            results = [y for y in flat(function(*args, **kwargs)) if y.is_floating_point()]
            total = sum(float((y * w).sum()) for y, w in zip(results, weights, strict=True))
            for x, d in zip(inputs, directions, strict=True):
                x.sub_(tn.tensor(d) * (sign * step))
        return total

    difference = (value(1.0) - value(-1.0)) / (2 * step)
    assert expected == pytest.approx(difference, rel=1e-5, abs=1e-6)


@pairs(lambda case: case["returns"] == "Tensor" and not READS & {case["name"], case["key"]})
def test_vmap(case, sample):
    """Each tensor with a batch of three in front, against a loop."""
    function = ours(case)
    runs = [Samples(tn, sample).evaluate() for _ in range(3)]
    args, kwargs = runs[0]
    places = [i for i, x in enumerate(args) if isinstance(x, tn.Tensor)]
    if not places:
        pytest.skip("no tensor among the arguments")
    if case["name"] in ("one_hot",) and len(args) < 2:
        pytest.skip("reads its input")
    batches = []
    for i in places:
        scale = [1.0, 0.5, 0.25] if args[i].is_floating_point() else [1, 1, 1]
        batches.append(tn.stack([args[i] * s if s != 1 else args[i] for s in scale]))

    def one(*given):
        full = list(args)
        for i, x in zip(places, given, strict=True):
            full[i] = x
        return function(*full, **kwargs)

    result = tn.func.vmap(one)(*batches)
    looped = [one(*(b[k].clone() for b in batches)) for k in range(3)]
    for got, *expected in zip(flat(result), *(flat(x) for x in looped), strict=True):
        want = np.stack([numbers(x) for x in expected])
        np.testing.assert_allclose(numbers(got), want, rtol=1e-5, atol=1e-6)


# What PyTorch computes and Tenon refuses.
MISSING = {("complex", "float16"), ("view_as_complex", "float16")}  # of half precision
# What Tenon computes and PyTorch refuses: indices of any integers, pools and convolutions of them.
INDEXED = (
    "gather",
    "take_along_dim",
    "scatter_add",
    "index_select",
    "index_add",
    "embedding",
    "take",
    "scatter_reduce",
    "index_reduce",
)
MORE = {(name, dtype) for name in INDEXED for dtype in ("uint8", "int32")}
MORE |= {(f"conv_transpose{n}d", dtype) for n in (1, 2, 3) for dtype in ("uint8", "int32")}
MORE |= {
    (name, dtype)
    for name in (
        "max_pool1d",
        *(f"adaptive_max_pool{n}d{s}" for n in "123" for s in ("", "_with_indices")),
    )
    for dtype in ("uint8", "int32", "int64")
}
MOVING = ("interpolate", "im2col", "fold", "max_unpool1d", "max_unpool2d", "max_unpool3d")
MORE |= {(name, dtype) for name in MOVING for dtype in ("bool", "uint8", "int32", "int64")}
# What PyTorch gets wrong: its coefficients are too large for half types, and infinities come out.
WRONG = {(f"{p}matrix_exp", dtype) for p in ("", "linalg_") for dtype in ("float16", "bfloat16")}
DTYPES = ("bool", "uint8", "int32", "int64", "float16", "bfloat16", "float64")


FIRST = [case for case in CASES if case["key"] == case["name"] and case["samples"]]


@pytest.mark.parametrize("case", FIRST, ids=[case["key"] for case in FIRST])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype(case, dtype):
    """The same dtype and values as PyTorch; of integers and bools also the same errors."""
    sample = case["samples"][0]
    floating = dtype in ("float16", "bfloat16", "float64")
    options = (getattr(torch, dtype), None) if floating else (getattr(torch, dtype),) * 2
    sample = sample if floating else sample.replace("F(", "I(")
    try:
        args, kwargs = Samples(torch, sample, *options).evaluate()
        expected = theirs(case)(*spread(case, args), **kwargs)
    except (RuntimeError, NotImplementedError, TypeError, IndexError, ValueError) as error:
        if floating or (case["name"], dtype) in MORE:
            pytest.skip(f"PyTorch: {str(error)[:60]}")
        with pytest.raises(type(error)):
            args, kwargs = Samples(tn, sample, *((getattr(tn, dtype),) * 2)).evaluate()
            tn.eval(ours(case)(*args, **kwargs))
        return
    options = (getattr(tn, dtype), None) if floating else (getattr(tn, dtype),) * 2
    args, kwargs = Samples(tn, sample, *options).evaluate()
    result = ours(case)
    if (case["name"], dtype) in MISSING:
        with pytest.raises(NotImplementedError):
            result(*args, **kwargs)
        return
    result = result(*args, **kwargs)
    if (case["name"], dtype) in WRONG:
        args, kwargs = Samples(torch, sample, getattr(torch, dtype)).evaluate()
        expected = theirs(case)(args[0].float()).to(getattr(torch, dtype))
    if case["name"] in ("topk", "kthvalue"):  # PyTorch leaves open which of equal elements it takes
        result, expected = result[0], expected[0]
    agree(result, expected)


ERRORS = [(case, error) for case in CASES for error in case["errors"]]
KINDS = {
    "RuntimeError": RuntimeError,
    "IndexError": IndexError,
    "ValueError": ValueError,
    "TypeError": TypeError,
    "NotImplementedError": NotImplementedError,
    "ZeroDivisionError": ZeroDivisionError,
}


@pytest.mark.parametrize(("case", "error"), ERRORS, ids=[e["call"] for _, e in ERRORS])
def test_bad_input(case, error):
    """The declared exception, at the call, or at the run where only the data tells."""
    name, text = error["call"].split("(", 1)
    args, kwargs = Samples(tn, text[:-1]).evaluate()
    if error.get("run"):
        result = _C._all[name](*args, **kwargs)
        with pytest.raises(KINDS[error["raises"]]):
            tn.eval(result)
    else:
        with pytest.raises(KINDS[error["raises"]]):
            _C._all[name](*args, **kwargs)
    assert tn.tensor([1.0]).add(1).item() == 2.0  # the next call works


METHODS = [case["name"] for case in CASES if case["method"]]


@pytest.mark.parametrize("name", sorted(set(METHODS)))
def test_method_and_documentation(name):
    method = getattr(tn.Tensor, name)
    assert method.__doc__
    assert name in method.__doc__


def test_functional_names():
    for case in CASES:
        if case["functional"]:
            assert callable(getattr(tenon.nn.functional, case["name"]))

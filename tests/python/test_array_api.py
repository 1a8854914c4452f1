"""tenon.array_api against array-api-strict, on arrays that hypothesis draws."""

from __future__ import annotations

import numpy as np
import pytest

import tenon as tn

strict = pytest.importorskip("array_api_strict")
hypothesis = pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.array_api import make_strategies_namespace  # noqa: E402

from tenon import array_api as xp  # noqa: E402

xps = make_strategies_namespace(xp, api_version="2024.12")
ours = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
FLOATS = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NUMERIC = [*INTEGERS, *FLOATS, *COMPLEX]
BOOL = ["bool"]


def theirs(x):
    """The same array in array-api-strict."""
    if isinstance(x, tn.Tensor):
        return strict.asarray(np.array(x.numpy()))
    if isinstance(x, (list, tuple)):
        return type(x)(theirs(each) for each in x)
    return getattr(strict, repr(x).split(".")[-1]) if isinstance(x, tn.dtype) else x


def agree(found, expected):
    if isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for x, y in zip(found, expected):
            agree(x, y)
        return
    y = np.asarray(expected)
    assert tuple(found.shape) == y.shape
    assert str(found.dtype).split(".")[-1] == str(y.dtype)
    tolerance = {"f": 1e-5, "c": 1e-4}.get(y.dtype.kind, 0) * (1 if y.itemsize < 8 else 1e-3)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(found.numpy(), y, rtol=max(tolerance, 1e-4), atol=1e-5)


def check(name, *args, **kwargs):
    with np.errstate(all="ignore"):
        expected = getattr(strict, name)(*theirs(args), **{k: theirs(v) for k, v in kwargs.items()})
    agree(getattr(xp, name)(*args, **kwargs), expected)


def arrays(dtypes, **options):
    shapes = xps.array_shapes(
        min_dims=options.pop("min_dims", 0), max_dims=3, min_side=0, max_side=4
    )
    return st.sampled_from(dtypes).flatmap(
        lambda name: xps.arrays(getattr(xp, name), shapes, elements=elements(name))
    )


def elements(name):
    if name == "bool":
        return st.booleans()
    if name in INTEGERS:
        return st.integers(0 if name.startswith("u") else -5, 5)
    halves = st.integers(-6, 6).map(lambda n: n / 2)
    if name in COMPLEX:
        return st.tuples(halves, halves).map(lambda parts: complex(*parts))
    return halves


UNARY = {
    **dict.fromkeys(["abs", "negative", "positive", "square", "sign"], NUMERIC),
    **dict.fromkeys(["sin", "cos", "tanh", "sinh", "cosh", "exp", "sqrt"], FLOATS + COMPLEX),
    **dict.fromkeys(["atan", "asinh", "expm1", "log", "log2", "log10", "log1p"], FLOATS),
    **dict.fromkeys(["ceil", "floor", "trunc", "round"], FLOATS + INTEGERS),
    **dict.fromkeys(["isfinite", "isinf", "isnan"], NUMERIC),
    **dict.fromkeys(["bitwise_invert"], INTEGERS + BOOL),
    **dict.fromkeys(["real", "imag", "conj"], COMPLEX),
    **dict.fromkeys(["logical_not"], BOOL),
    "reciprocal": FLOATS,
    "signbit": FLOATS,
}
BINARY = {
    **dict.fromkeys(["add", "subtract", "multiply", "equal", "not_equal"], NUMERIC),
    **dict.fromkeys(["less", "less_equal", "greater", "greater_equal"], INTEGERS + FLOATS),
    **dict.fromkeys(["maximum", "minimum"], INTEGERS + FLOATS),
    **dict.fromkeys(["divide", "atan2", "hypot", "copysign", "logaddexp", "nextafter"], FLOATS),
    **dict.fromkeys(["bitwise_and", "bitwise_or", "bitwise_xor"], INTEGERS + BOOL),
    **dict.fromkeys(["logical_and", "logical_or", "logical_xor"], BOOL),
}


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    @ours
    @given(arrays(UNARY[name]))
    def test(x):
        check(name, x)

    test()


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    @ours
    @given(
        st.sampled_from(BINARY[name]),
        xps.mutually_broadcastable_shapes(2, max_dims=3, max_side=3),
        st.data(),
    )
    def test(dtype, shapes, data):
        x, y = (
            data.draw(xps.arrays(getattr(xp, dtype), shape, elements=elements(dtype)))
            for shape in shapes.input_shapes
        )
        check(name, x, y)

    test()


REDUCTIONS = {
    **dict.fromkeys(["sum", "prod"], NUMERIC),
    **dict.fromkeys(["max", "min"], INTEGERS + FLOATS),
    **dict.fromkeys(["mean", "std", "var"], FLOATS),
    **dict.fromkeys(["all", "any"], NUMERIC + BOOL),
    "count_nonzero": NUMERIC + BOOL,
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    @ours
    @given(arrays(REDUCTIONS[name]), st.booleans(), st.data())
    def test(x, keepdims, data):
        if name not in ("sum", "prod", "all", "any", "count_nonzero") and 0 in x.shape:
            return
        axes = [None, *range(-x.ndim, x.ndim)]
        if x.ndim > 1:
            axes.append((0, -1))
        check(name, x, axis=data.draw(st.sampled_from(axes)), keepdims=keepdims)

    test()


@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
def test_running(name):
    @ours
    @given(arrays(NUMERIC, min_dims=1), st.booleans(), st.data())
    def test(x, initial, data):
        axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
        check(name, x, axis=axis, include_initial=initial)

    test()


@ours
@given(arrays(INTEGERS + FLOATS, min_dims=1), st.booleans(), st.data())
def test_order(x, descending, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    check("sort", x, axis=axis, descending=descending)
    check("argsort", x, axis=axis, descending=descending)
    if 0 not in x.shape:
        check("argmax", x, axis=axis, keepdims=descending)
        check("argmin", x, axis=None, keepdims=descending)
    check("nonzero", x)
    check("diff", x, axis=axis)


@ours
@given(arrays(INTEGERS + FLOATS))
def test_sets(x):
    for name in ("unique_all", "unique_counts", "unique_inverse", "unique_values"):
        check(name, x)


@ours
@given(arrays(NUMERIC + BOOL, min_dims=1), st.data())
def test_manipulation(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    for name in ("flip", "unstack"):
        check(name, x, axis=axis)
    check("roll", x, 2, axis=axis)
    check("roll", x, -1)
    check("expand_dims", x, axis=axis)
    check("permute_dims", x, tuple(reversed(range(x.ndim))))
    check("moveaxis", x, axis, 0)
    check("concat", [x, x], axis=axis)
    check("concat", [x, x], axis=None)
    check("stack", [x, x], axis=axis)
    check("repeat", x, 2, axis=axis)
    check("repeat", x, 3)
    check("tile", x, (2, 1))
    check("reshape", x, (-1,) if 0 not in x.shape else (0,))
    check("broadcast_to", x, (2, *x.shape))
    if x.shape[axis] > 0:
        indices = xp.asarray([0, x.shape[axis] - 1, 0])
        check("take", x, indices, axis=axis)
        check("take_along_axis", x, xp.argsort(xp.astype(x != 0, xp.int64), axis=axis), axis=axis)
    if x.ndim > 1:
        for name in ("matrix_transpose", "tril", "triu"):
            check(name, x)


@ours
@given(arrays(FLOATS, min_dims=2), st.integers(-2, 2))
def test_products(x, k):
    check("matmul", x, xp.matrix_transpose(x))
    check("tensordot", x, x, axes=((0,), (0,)))
    check("vecdot", x, x)
    check("eye", 3, 4, k=k, dtype=x.dtype)
    check("clip", x, -1.0, 1.0)
    check("where", x > 0, x, xp.zeros_like(x))


def extension(space, name, *args, **kwargs):
    given = {k: theirs(v) for k, v in kwargs.items()}
    expected = getattr(getattr(strict, space), name)(*theirs(args), **given)
    agree(getattr(getattr(xp, space), name)(*args, **kwargs), expected)


def drawn(*shape, dtype="float64"):
    rng = np.random.default_rng(len(shape) + sum(shape))
    values = rng.normal(size=shape)
    if dtype.startswith("complex"):
        values = values + 1j * rng.normal(size=shape)
    return xp.asarray(values.astype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_linalg(dtype):
    a, b, wide = drawn(2, 3, 3, dtype=dtype), drawn(2, 3, 2, dtype=dtype), drawn(3, 5, dtype=dtype)
    real = xp.asarray(a.numpy().real.copy())
    square = xp.linalg.matmul(a, tn.conj(xp.matrix_transpose(a)).resolve_conj())
    positive = square + xp.eye(3, dtype=square.dtype)
    for upper in (False, True):
        extension("linalg", "cholesky", positive, upper=upper)
    for name in ("det", "inv", "svdvals", "slogdet", "matrix_rank", "pinv", "trace", "diagonal"):
        extension("linalg", name, a)
    for name in ("trace", "diagonal"):
        extension("linalg", name, wide, offset=2)
        extension("linalg", name, wide, offset=-1)
    extension("linalg", "matrix_rank", wide, rtol=0.5)
    extension("linalg", "pinv", wide, rtol=0.1)
    several = xp.asarray([0.5, 1e-3], dtype=real.dtype)
    extension("linalg", "matrix_rank", a, rtol=several)
    extension("linalg", "pinv", a, rtol=several)
    extension("linalg", "eigvalsh", positive)
    extension("linalg", "matrix_power", a, 3)
    extension("linalg", "matrix_power", a, -2)
    extension("linalg", "solve", a, b)
    extension("linalg", "solve", a, drawn(3, dtype=dtype))
    extension("linalg", "solve", drawn(3, 3, 3, dtype=dtype), drawn(3, 3, dtype=dtype))
    extension("linalg", "outer", drawn(3, dtype=dtype), drawn(4, dtype=dtype))
    extension("linalg", "cross", a, drawn(3, dtype=dtype))
    extension("linalg", "cross", drawn(3, 2, dtype=dtype), drawn(3, 2, dtype=dtype), axis=-2)
    for order in ("fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf")):
        extension("linalg", "matrix_norm", a, ord=order, keepdims=order == 1)
    for order in (0, 1, 2, 3.5, float("inf"), -float("inf")):
        extension("linalg", "vector_norm", a, ord=order)
        extension("linalg", "vector_norm", a, ord=order, axis=-1, keepdims=True)
        extension("linalg", "vector_norm", a, ord=order, axis=(0, 2))
    extension("linalg", "trace", xp.ones((3, 3), dtype=xp.int8))
    agree(xp.linalg.eigh(positive).eigenvalues, strict.linalg.eigvalsh(theirs(positive)))
    values, vectors = xp.linalg.eigh(positive)
    agree(xp.linalg.matmul(positive, vectors), theirs(vectors * values.unsqueeze(-2)))
    for mode in ("reduced", "complete"):
        q, r = xp.linalg.qr(b, mode=mode)
        agree(xp.linalg.matmul(q, r), theirs(b))
        assert q.shape == ((2, 3, 2) if mode == "reduced" else (2, 3, 3))
    u, s, vh = xp.linalg.svd(wide)
    assert u.shape == (3, 3) and vh.shape == (5, 5)
    u, s, vh = xp.linalg.svd(wide, full_matrices=False)
    agree(xp.linalg.matmul(u * s, vh), theirs(wide))
    assert xp.linalg.slogdet(real).sign.shape == (2,)
    with pytest.raises(ValueError, match="mode"):
        xp.linalg.qr(a, mode="r")


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_fft(dtype):
    x, real = drawn(3, 4, 5, dtype=dtype), drawn(3, 4, 5)
    real = real.to(xp.float32 if dtype == "complex64" else xp.float64)
    for norm in ("backward", "ortho", "forward"):
        for name, z in (
            *(("fft", x), ("ifft", x), ("irfft", x), ("hfft", x)),
            *(("rfft", real), ("ihfft", real)),
        ):
            extension("fft", name, z, norm=norm)
            extension("fft", name, z, n=4, axis=1, norm=norm)
            extension("fft", name, z, n=7, axis=0)
        for name, z in (("fftn", x), ("ifftn", x), ("irfftn", x), ("rfftn", real)):
            extension("fft", name, z, norm=norm)
            extension("fft", name, z, s=(3, 6), axes=(0, 2), norm=norm)
    for name in ("fftshift", "ifftshift"):
        extension("fft", name, real)
        extension("fft", name, real, axes=(1, 2))
    for name in ("fftfreq", "rfftfreq"):
        for n in (4, 7):
            extension("fft", name, n, d=0.5, dtype=xp.float64)


def test_creation():
    for args in ((5,), (2, 7, 2), (5, 1, -1), (5, 1, 1), (0.5, 3.0, 0.25)):
        check("arange", *args, dtype=xp.float64)
    check("linspace", 0.0, 1.0, 7, dtype=xp.float64, endpoint=False)
    check("full", (2, 3), 4, dtype=xp.int64)
    check("meshgrid", xp.asarray([1, 2, 3]), xp.asarray([4, 5]))
    check("searchsorted", xp.asarray([1.0, 2, 4]), xp.asarray([2.0, 3, 0]), side="right")


def test_dtypes():
    for x in NUMERIC + BOOL:
        a = getattr(xp, x)
        for kind in ("bool", "integral", "signed integer", "real floating", "numeric"):
            assert xp.isdtype(a, kind) == strict.isdtype(getattr(strict, x), kind)
        for y in NUMERIC + BOOL:
            try:
                expected = strict.result_type(getattr(strict, x), getattr(strict, y))
            except TypeError:  # the standard leaves it open
                continue
            if {x, y} & {"uint16", "uint32", "uint64"} and x != y:
                continue  # PyTorch promotes those with themselves alone
            assert (
                str(xp.result_type(a, getattr(xp, y))).split(".")[-1]
                == str(expected).split(".")[-1]
            )


def test_the_namespace():
    info = xp.__array_namespace_info__()
    assert info.default_dtypes()["integral"] == xp.int64
    assert set(info.dtypes(kind=("integral", "bool"))) == {*INTEGERS, "bool"}
    assert tn.ones(2).__array_namespace__(api_version="2023.12") is xp
    with pytest.raises(ValueError, match="2019"):
        tn.ones(2).__array_namespace__(api_version="2019.01")
    missing = [n for n in strict.__all__ if n not in dir(xp) and n[0] != "_"]
    assert missing == EXTENSIONS
    for extension in ("linalg", "fft"):
        missing = set(getattr(strict, extension).__all__) - set(getattr(xp, extension).__all__)
        assert {name for name in missing if name[0] != "_"} == set()
    for name in dir(xp):
        assert getattr(xp, name) is not None or name == "newaxis"


# What later versions add, and names of array-api-strict's own.
EXTENSIONS = ["broadcast_shapes", "isin", "Device", "set_array_api_strict_flags"]
EXTENSIONS += ["get_array_api_strict_flags", "reset_array_api_strict_flags", "ArrayAPIStrictFlags"]

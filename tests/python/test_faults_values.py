"""What only the data tells, and results that languages and processors differ on."""

import numpy as np
import pytest

import tenon as tn
import tenon.nn.functional as F

MODES = [tn._C._jit.Mode.fused, tn._C._jit.Mode.unfused, tn._C._jit.Mode.interpret]


@pytest.fixture(params=MODES, ids=lambda mode: str(mode).split(".")[-1])
def mode(request):
    before = tn._C._jit.mode()
    tn._C._jit.set_mode(request.param)
    yield
    tn._C._jit.set_mode(before)


def indexed(x, index):
    one = tn.ones(1)
    return {
        "get": lambda: x[index],
        "index_select": lambda: x.index_select(0, index),
        "gather": lambda: x.gather(0, index),
        "take": lambda: x.take(index),
        "take_along_dim": lambda: tn.take_along_dim(x, index, 0),
        "scatter": lambda: x.scatter(0, index, 1.0),
        "scatter_add": lambda: x.scatter_add(0, index, one),
        "index_add": lambda: x.index_add(0, index, one),
        "index_copy": lambda: x.index_copy(0, index, one),
        "index_fill": lambda: x.index_fill(0, index, 1.0),
        "embedding": lambda: F.embedding(index, x.reshape(4, 1)),
        "one_hot": lambda: F.one_hot(index, 4),
        "cross_entropy": lambda: F.cross_entropy(x.reshape(1, 4), index),
        "nll_loss": lambda: F.nll_loss(x.reshape(1, 4), index),
    }


@pytest.mark.parametrize("name", sorted(indexed(None, None)))
@pytest.mark.parametrize("bad", [4, -5, 2**31, 2**40, -(2**63)])
def test_an_index_out_of_bounds(name, bad):
    x = tn.arange(4.0)
    other = tn.ones(3) * 2
    result = indexed(x, tn.tensor([bad]))[name]()
    with pytest.raises(IndexError, match=r"test_faults_values.py:\d+"):
        result.sum().item()
    with pytest.raises(IndexError):  # still wrong when asked again
        result.sum().item()
    assert other.tolist() == [2, 2, 2]
    assert x.tolist() == [0, 1, 2, 3]
    assert indexed(x, tn.tensor([2]))["get"]().tolist() == [2]
    with tn.sync_errors(), pytest.raises(IndexError):
        indexed(x, tn.tensor([bad]))[name]()


def test_a_write_out_of_bounds_leaves_the_rest():
    x = tn.arange(4.0)
    y = x.clone()
    y[tn.tensor([1, 4])] = 9.0
    with pytest.raises(IndexError):
        y.numpy()
    assert x.tolist() == [0, 1, 2, 3]
    memory = np.zeros(4, np.float32)
    shared = tn.from_numpy(memory)
    with pytest.raises(IndexError):  # memory known outside is written before the call returns
        shared[tn.tensor([0, 4])] = 1.0
    assert memory.tolist() == [0, 0, 0, 0]
    assert shared.tolist() == [0, 0, 0, 0]
    shared.add_(2)
    assert memory.tolist() == [2, 2, 2, 2]


def test_an_index_into_nothing():
    with pytest.raises(IndexError):
        tn.zeros(0)[tn.tensor([0])].numpy()
    assert tn.zeros(0)[tn.zeros(0, dtype=tn.int64)].tolist() == []


DIVISIONS = {
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "fmod": lambda a, b: tn.fmod(a, b),
    "trunc": lambda a, b: tn.div(a, b, rounding_mode="trunc"),
    "floor": lambda a, b: tn.div(a, b, rounding_mode="floor"),
    "in place": lambda a, b: a.clone().floor_divide_(b),
}
SIGNED = ["int8", "int16", "int32", "int64"]


@pytest.mark.parametrize("dtype", [*SIGNED, "uint8"])
@pytest.mark.parametrize("name", sorted(DIVISIONS))
def test_integer_division_by_zero(name, dtype):
    a = tn.tensor([5, 6, 7], dtype=getattr(tn, dtype))
    for zero in (tn.tensor([1, 0, 3], dtype=getattr(tn, dtype)), 0):
        with pytest.raises(RuntimeError, match="zero") as error:
            DIVISIONS[name](a, zero).numpy()
        assert isinstance(error.value, ZeroDivisionError)
        assert isinstance(error.value, tn.ZeroDivisionError)
    with tn.sync_errors(), pytest.raises(ZeroDivisionError, match=r"test_faults_values.py:\d+"):
        DIVISIONS[name](a, 0)
    assert DIVISIONS[name](a, 1).tolist() == ([0, 0, 0] if name in ("%", "fmod") else [5, 6, 7])


def test_floating_division_by_zero_is_no_error():
    x, zero = tn.tensor([1.0, 0.0, -1.0]), tn.zeros(3)
    np.testing.assert_array_equal((x // zero).numpy(), [np.inf, np.nan, -np.inf])
    assert np.isnan((x % zero).numpy()).all()


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("dtype", SIGNED)
def test_the_least_integer_wraps(dtype):
    least = np.iinfo(dtype).min
    for n in (1, 7, 67):  # scalar, tail and whole vectors
        x = tn.full((n,), least, dtype=getattr(tn, dtype))
        minus = tn.full((n,), -1, dtype=getattr(tn, dtype))
        assert (x // minus).tolist() == [least] * n
        assert (x % minus).tolist() == [0] * n
        assert tn.fmod(x, minus).tolist() == [0] * n
        assert x.abs().tolist() == [least] * n
        assert (-x).tolist() == [least] * n
        assert (x - 1).tolist() == [np.iinfo(dtype).max] * n


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("dtype", [*SIGNED, "uint8"])
def test_shifts_by_any_count(dtype):
    bits = np.iinfo(dtype).bits
    counts = [0, 1, bits - 1, bits, 64 if bits < 64 else 100]
    if dtype != "uint8":
        counts += [-1, -bits]
    values = [5, 127] if dtype == "uint8" else [5, 127, -5, -1]
    for value in values:
        x = tn.full((len(counts),), value, dtype=getattr(tn, dtype))
        by = tn.tensor(counts, dtype=getattr(tn, dtype))
        inside = [0 <= c < bits for c in counts]
        left = (
            [
                np.array(value << c if ok else 0).astype(dtype).item()
                for c, ok in zip(counts, inside, strict=True)
            ]
            if bits < 64
            else [
                ((value << c) + 2**63) % 2**64 - 2**63 if ok else 0
                for c, ok in zip(counts, inside, strict=True)
            ]
        )
        right = [
            value >> c if ok else (-1 if value < 0 else 0)
            for c, ok in zip(counts, inside, strict=True)
        ]
        assert (x << by).tolist() == left
        assert (x >> by).tolist() == right


FLOATS = [np.nan, np.inf, -np.inf, 3e10, -3e10, 1e20, 300.7, -1.5]
LEAST32, LEAST64 = -(2**31), -(2**63)


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("int32", [LEAST32] * 6 + [300, -1]),
        ("int64", [LEAST64] * 3 + [30000001024, -30000001024, LEAST64, 300, -1]),
        ("int16", [0] * 6 + [300, -1]),
        ("int8", [0] * 6 + [44, -1]),
        ("uint8", [0] * 6 + [44, 255]),
        ("bool", [True] * 8),
    ],
)
def test_conversions_of_what_does_not_fit(dtype, expected):
    for copies in (1, 9):
        x = tn.tensor(FLOATS * copies)
        assert x.to(getattr(tn, dtype)).tolist() == expected * copies
        assert (x * 1).to(getattr(tn, dtype)).tolist() == expected * copies
    each = [tn.tensor(value).to(getattr(tn, dtype)).item() for value in FLOATS]
    assert each == expected


NAN = float("nan")
DATA = [[1.0, NAN, 3.0], [NAN, -1.0, 2.0], [0.0, 5.0, 4.0]]
WITH_NAN = {
    "max": lambda m, x: x.max(),
    "min": lambda m, x: x.min(),
    "max 1": lambda m, x: tuple(x.max(1)),
    "min 1": lambda m, x: tuple(x.min(1)),
    "amax": lambda m, x: x.amax(1),
    "amin": lambda m, x: x.amin(0),
    "argmax": lambda m, x: x.argmax(1),
    "argmin": lambda m, x: x.argmin(0),
    "argmax all": lambda m, x: x.argmax(),
    "sort": lambda m, x: tuple(x.sort(1)),
    "sort down": lambda m, x: tuple(x.sort(1, descending=True)),
    "argsort": lambda m, x: x.argsort(1),
    "topk": lambda m, x: tuple(x.topk(2, 1)),
    "cummax": lambda m, x: tuple(x.cummax(1)),
    "cummin": lambda m, x: tuple(x.cummin(1)),
    "clamp": lambda m, x: x.clamp(0, 2),
    "clamp bounds": lambda m, x: m.ones(3).clamp(m.tensor([NAN, 0, 0]), m.tensor([3, NAN, 0.5])),
    "maximum": lambda m, x: m.maximum(x, x.t()),
    "minimum": lambda m, x: m.minimum(x, x.t()),
    "fmax": lambda m, x: m.fmax(x, x.t()),
    "fmin": lambda m, x: m.fmin(x, x.t()),
    "eq": lambda m, x: x == x,
    "ne": lambda m, x: x != x,
    "lt": lambda m, x: x < x.t(),
    "ge": lambda m, x: x >= x.t(),
    "sign": lambda m, x: x.sign(),
    "relu": lambda m, x: x.relu(),
    "sum": lambda m, x: x.sum(1),
    "nansum": lambda m, x: x.nansum(1),
    "any": lambda m, x: x.any(1),
    "softmax": lambda m, x: x.softmax(1),
    "nan_to_num": lambda m, x: x.nan_to_num(),
    "median": lambda m, x: x.median(),
}


@pytest.mark.parametrize("name", WITH_NAN)
def test_nan_goes_where_pytorch_sends_it(name):
    torch = pytest.importorskip("torch")
    ours = WITH_NAN[name](tn, tn.tensor(DATA))
    theirs = WITH_NAN[name](torch, torch.tensor(DATA))
    if not isinstance(ours, tuple):
        ours, theirs = (ours,), (theirs,)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


@pytest.mark.usefixtures("mode")
def test_nan_in_extremes_and_comparisons():
    for n in (1, 5, 64, 131):
        for at in {0, n // 2, n - 1}:
            values = np.arange(n, dtype=np.float32)
            values[at] = np.nan
            x = tn.tensor(values)
            assert np.isnan(x.max().item())
            assert np.isnan(x.min().item())
            assert x.argmax().item() == at
            assert x.argmin().item() == at
            assert np.isnan(x.sort()[0][-1].item())
            assert (x == x).sum().item() == n - 1
            assert np.isnan(x.clamp(0, 1)[at].item())
            assert np.isnan(tn.maximum(x, tn.zeros(n))[at].item())

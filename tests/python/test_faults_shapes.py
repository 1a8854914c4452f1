"""Bad sizes, and none at all: what PyTorch refuses is refused with its exception, at the line."""

import math
import subprocess
import sys

import numpy as np
import pytest

import tenon as tn
import tenon.nn.functional as F

HUGE = 2**40


@pytest.mark.parametrize(
    "call",
    [
        lambda: tn.zeros(2**32, 2**32),
        lambda: tn.empty(HUGE, HUGE),
        lambda: tn.zeros(1, 1).expand(HUGE, HUGE),
        lambda: tn.ones(1).repeat(HUGE, HUGE),
        lambda: tn.ones(1, 1).expand(2**32, 1) + tn.ones(1, 1).expand(1, 2**32),
        lambda: tn.arange(2**63 - 1),
    ],
)
def test_a_product_of_sizes_above_2_to_the_63(call):
    with pytest.raises(RuntimeError, match=r"\d{6,}"):
        call()
    assert (tn.ones(2) + 1).tolist() == [2, 2]


def test_an_impossible_allocation_says_what_was_asked_and_what_is_free():
    keep = tn.ones(1000)
    with pytest.raises(tn.OutOfMemoryError, match=r"asked for 128.00 TiB.*free \d"):
        (tn.zeros(2**47, dtype=tn.uint8) + 1).numpy()
    assert issubclass(tn.OutOfMemoryError, RuntimeError)
    assert (keep + 1).sum().item() == 2000


def test_caches_are_trimmed_and_the_call_retried_before_it_fails(monkeypatch):
    code = """
import tenon as tn
tn.ones(10 << 20).numpy()  # 40 MiB, which then lie in the cache
assert tn._C._jit.memory()["reserved"] >= 40 << 20
tn.ones(12 << 20).numpy()  # 48 MiB of 64: only without the 40
try:
    tn.ones(20 << 20).numpy()
except tn.OutOfMemoryError:
    print((tn.ones(3) + 1).tolist())
"""
    monkeypatch.setenv("TENON_MEMORY_LIMIT", "64M")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[2.0, 2.0, 2.0]\n", done.stderr


@pytest.mark.parametrize(
    "call",
    [
        lambda: tn.zeros(2, -3),
        lambda: tn.full((-1,), 1.0),
        lambda: tn.randint(0, 5, (-1,)),
        lambda: tn.eye(-1),
        lambda: tn.linspace(0, 1, -2),
        lambda: tn.zeros(6).reshape(-1, -1),
        lambda: tn.zeros(0).reshape(-1, 0),
        lambda: tn.zeros(6).reshape(4, -1),
        lambda: tn.zeros(6).view(-2, 3),
        lambda: tn.zeros(2, 3).t().view(6),
        lambda: tn.zeros(6).expand(-1, -1),
        lambda: tn.zeros(6).expand(3),
        lambda: tn.zeros(6).unflatten(0, (-1, -1)),
        lambda: tn.zeros(6).narrow(0, 4, 3),
        lambda: tn.zeros(6).repeat(-1),
        lambda: tn.zeros(6, 2).permute(0, 0),
        lambda: tn.zeros(6).permute(0, 0),
        lambda: tn.zeros(6).split(-1),
        lambda: tn.zeros(6).split([2, 2]),
        lambda: tn.zeros(6).chunk(0),
        lambda: tn.arange(5, 1),
        lambda: tn.arange(1, 5, 0),
        lambda: tn.randint(5, 5, (2,)),
    ],
)
def test_sizes_that_make_no_sense(call):
    with pytest.raises(RuntimeError):
        call()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda a, b: a.sin() * 2 + b, RuntimeError),
        (lambda a, b: a @ b, RuntimeError),
        (lambda a, b: tn.where(a > 0, b, 1.0), RuntimeError),
        (lambda a, b: tn.cat([a, b[:, :3]]), RuntimeError),
        (lambda a, b: tn.stack([a, b]), RuntimeError),
        (lambda a, b: a.add_(b), RuntimeError),
        (lambda a, b: a[0].add_(a), RuntimeError),
        (lambda a, b: a.copy_(b), RuntimeError),
        (lambda a, b: a.__setitem__(0, b), RuntimeError),
        (lambda a, b: tn.einsum("ij,jk", a, b), RuntimeError),
        (lambda a, b: F.linear(a, b.t()), RuntimeError),
        (lambda a, b: F.layer_norm(a, (5,)), RuntimeError),
        (lambda a, b: a.sum(2), IndexError),
        (lambda a, b: a.sum((0, 0)), RuntimeError),
        (lambda a, b: a.unsqueeze(5), IndexError),
        (lambda a, b: a.squeeze(3), IndexError),
        (lambda a, b: a.softmax(2), IndexError),
        (lambda a, b: a.transpose(0, 2), IndexError),
        (lambda a, b: tn.cat([]), ValueError),
        (lambda a, b: a & a, NotImplementedError),
        (lambda a, b: a << 1, NotImplementedError),
        (lambda a, b: ~a, (NotImplementedError, TypeError)),
        (lambda a, b: a.gather(0, a), RuntimeError),
        (lambda a, b: a[a], IndexError),
        (lambda a, b: a[tn.tensor([0, 1]), tn.tensor([0, 1, 2])], IndexError),
        (lambda a, b: a[tn.ones(4) > 0], IndexError),
        (lambda a, b: a[0, 0, 0], IndexError),
        (lambda a, b: a[7], IndexError),
        (lambda a, b: a.select(0, -4), IndexError),
    ],
)
def test_a_mistake_raises_at_its_line_and_not_when_the_value_is_read(call, error):
    a, b = tn.ones(3, 4), tn.ones(5, 4)
    before = a * 2 + 1  # pending, and unharmed
    with pytest.raises(error):
        call(a, b)
    assert before.sum().item() == 36
    assert a.tolist() == np.ones((3, 4)).tolist()


def test_messages_name_the_operation_and_the_sizes():
    with pytest.raises(RuntimeError, match=r"add.*\[3, 4\].*\[5, 4\]"):
        tn.ones(3, 4).sin() * 2 + tn.ones(5, 4)
    with pytest.raises(RuntimeError, match=r"matmul.*\[3, 4\].*\[5, 4\]"):
        tn.ones(3, 4) @ tn.ones(5, 4)


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin", "amax", "amin"])
def test_an_extreme_of_nothing(name):
    with pytest.raises((RuntimeError, IndexError)):
        getattr(tn.ones(0), name)()
    with pytest.raises(IndexError):
        getattr(tn.ones(0, 3), name)(0)
    got = getattr(tn.ones(0, 3), name)(1)
    for each in got if isinstance(got, tuple) else (got,):
        assert tuple(each.shape) == (0,)


def test_reductions_of_nothing():
    nothing = tn.ones(0, 3)
    assert math.isnan(nothing.mean().item())
    assert np.isnan(nothing.mean(0).numpy()).all()
    assert np.isnan(nothing.var(0).numpy()).all()
    total = nothing.sum(0).numpy()
    assert total.tolist() == [0, 0, 0]
    assert not np.signbit(total).any()
    assert math.copysign(1, nothing.sum().item()) == 1
    assert nothing.prod().item() == 1
    assert nothing.all().item() is True
    assert nothing.any().item() is False
    assert nothing.logsumexp(0).tolist() == [-math.inf] * 3
    assert nothing.cumsum(0).numpy().shape == (0, 3)
    assert tuple(v.numel() for v in nothing.sort(0)) == (0, 0)


def test_products_over_nothing():
    got = (tn.ones(2, 0) @ tn.ones(0, 3)).numpy()
    assert got.tolist() == np.zeros((2, 3)).tolist()
    assert not np.signbit(got).any()
    assert (tn.ones(0, 2) @ tn.ones(2, 3)).numpy().shape == (0, 3)
    assert F.linear(tn.ones(0, 4), tn.ones(3, 4), tn.ones(3)).numpy().shape == (0, 3)
    assert F.linear(tn.ones(2, 0), tn.ones(3, 0), tn.ones(3)).tolist() == [[1] * 3] * 2


def test_gradients_through_nothing():
    x = tn.ones(0, 3, requires_grad=True)
    w = tn.ones(3, 2, requires_grad=True)
    (x @ w).tanh().sum().backward()
    assert tuple(x.grad.shape) == (0, 3)
    assert w.grad.tolist() == np.zeros((3, 2)).tolist()


UNARY = """
abs acos acosh asin asinh atan atanh ceil cos cosh deg2rad digamma erf erfc erfinv exp
exp2 expm1 floor frac isfinite isinf isnan lgamma log log10 log1p log2 logit nan_to_num
neg positive rad2deg reciprocal relu round rsqrt sigmoid sign sin sinc sinh sqrt square
tan tanh trunc sum mean prod any all flatten ravel clone contiguous unique nonzero
count_nonzero isreal norm
"""


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0), (0, 3), (1, 1)], ids=str)
def test_small_and_empty_tensors_in_every_unary_operation(shape):
    torch = pytest.importorskip("torch")
    for name in UNARY.split():
        if not hasattr(tn.Tensor, name):
            continue
        ours = getattr(tn.full(shape, 0.5), name)()
        theirs = getattr(torch.full(shape, 0.5), name)()
        assert tuple(ours.shape) == tuple(theirs.shape), name
        assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1], name
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


ALONG = """
sum mean prod amax amin argmax argmin cumsum cumprod softmax log_softmax logsumexp any all
flip unsqueeze squeeze std var max min sort argsort cummax cummin unbind diff roll0
"""


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0), (0, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("dim", [0, -1])
def test_small_and_empty_tensors_along_a_dimension(shape, dim):
    torch = pytest.importorskip("torch")

    def run(library, name):
        with np.errstate(all="ignore"):
            try:
                got = getattr(library.full(shape, 0.5), name)(dim)
            except (RuntimeError, IndexError) as error:
                return type(error)
        return [v.numpy() for v in (got if isinstance(got, tuple | list) else [got])]

    for name in ALONG.split():
        if not hasattr(tn.Tensor, name):
            continue
        ours, theirs = run(tn, name), run(torch, name)
        if isinstance(theirs, type):
            assert ours == theirs, name
            continue
        assert len(ours) == len(theirs), name
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape, name
            assert a.dtype == b.dtype, name
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "name", ["add", "sub", "mul", "div", "pow", "maximum", "atan2", "eq", "lt"]
)
def test_small_and_empty_tensors_in_binary_operations(name):
    function, judge = (
        getattr(tn, name),
        getattr(
            np,
            {
                "sub": "subtract",
                "mul": "multiply",
                "div": "divide",
                "pow": "power",
                "atan2": "arctan2",
                "eq": "equal",
                "lt": "less",
            }.get(name, name),
        ),
    )
    shapes = [(), (0,), (1,), (2, 0), (1, 1), (0, 1)]
    for a in shapes:
        for b in shapes:
            x, y = np.full(a, 3.0, np.float32), np.full(b, 2.0, np.float32)
            try:
                expected = judge(x, y)
            except ValueError:
                with pytest.raises(RuntimeError):
                    function(tn.tensor(x), tn.tensor(y))
                continue
            got = function(tn.tensor(x), tn.tensor(y)).numpy()
            assert got.shape == expected.shape
            np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_more_than_2_to_the_31_elements():
    n = 2**31 + 1
    x = tn.zeros(n, dtype=tn.int8)
    x[-1] = 7
    x[2**31 - 1] = 5
    y = x + 1
    assert y.sum().item() == n + 12
    assert y[-1].item() == 8
    assert y[2**31 - 1].item() == 6
    assert y[0].item() == 1
    assert x.argmax().item() == n - 1
    assert x.index_select(0, tn.tensor([n - 1, 0, 2**31 - 1])).tolist() == [7, 0, 5]


def test_a_32_bit_index_times_a_large_stride():
    rows, columns = 70_000, 40_000  # the last row starts above 2^31
    x = tn.zeros(rows, columns, dtype=tn.int8)
    x[rows - 1, 3] = 9
    index = tn.tensor([rows - 1], dtype=tn.int32)
    assert x[index][0, 3].item() == 9
    assert x.t()[3, index].tolist() == [9]
    assert x.index_select(0, index).sum().item() == 9

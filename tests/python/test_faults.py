"""Bad input and what must happen, by the numbers of the table of faults. PyTorch's exceptions."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

import tenon as tn
from tenon import _C

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def next_call_works():
    yield
    assert (tn.tensor([1.0, 2.0]) + 1).tolist() == [2.0, 3.0]


def test_1_product_of_sizes_beyond_63_bits():
    with pytest.raises(RuntimeError, match="4611686018427387904"):
        tn.zeros(2**62, 4)
    with pytest.raises(RuntimeError):
        tn.ones(1).expand(2**62, 4)


def test_2_memory_that_nobody_has():
    x = tn.ones(2**45)  # recorded; nothing is allocated yet
    with pytest.raises(tn.OutOfMemoryError, match="free"):
        (x + 1).numpy()


def test_4_sizes():
    x = tn.zeros(2, 3)
    for call in (
        lambda: tn.zeros(-1),
        lambda: tn.zeros(2, -3),
        lambda: x.view(-1, -1),
        lambda: x.reshape(-1, -1),
        lambda: x.reshape(-1, 4),
        lambda: x.view(-2, 3),
        lambda: tn.zeros(0).view(-1, 0),
        lambda: tn.zeros(0).reshape(0, -1),
        lambda: x.expand(2, -2),
    ):
        with pytest.raises(RuntimeError):
            call()


def test_5_mistake_in_a_chain_raises_at_its_line():
    y = tn.ones(3) * 2
    with pytest.raises(RuntimeError, match=r"\[3\].*\[4\]"):
        y = y + tn.ones(4)
    assert (y + 1).tolist() == [3, 3, 3]


@pytest.mark.parametrize("bad", [5, -6, 2**40])
def test_6_indices_out_of_bounds(bad):
    x = tn.arange(5.0)
    index = tn.tensor([0, bad])
    for compute in (
        lambda: x[index],
        lambda: x.gather(0, index),
        lambda: x.index_select(0, index),
        lambda: tn.zeros(5).scatter(0, index, tn.ones(2)),
        lambda: tn.zeros(5).scatter_add(0, index, tn.ones(2)),
        lambda: tn.zeros(5).index_add(0, index, tn.ones(2)),
        lambda: tn.nn.functional.embedding(index, tn.zeros(5, 2)),
        lambda: tn.nn.functional.one_hot(index.abs(), 5),
        lambda: tn.nn.functional.cross_entropy(tn.zeros(2, 5), index.abs()),
        lambda: x.take(index),
    ):
        with pytest.raises(IndexError):
            compute().numpy()
    assert x.tolist() == [0, 1, 2, 3, 4]


def test_6_error_names_the_recorded_line():
    bad = tn.zeros(3)[tn.tensor([7])]
    with pytest.raises(IndexError, match=r"test_faults\.py"):
        bad.tolist()


def test_7_integer_division_by_zero():
    x, zero = tn.tensor([1, 2]), tn.tensor([1, 0])
    for compute in (
        lambda: x // zero,
        lambda: x % zero,
        lambda: tn.fmod(x, zero),
        lambda: x // 0,
        lambda: tn.div(x, zero, rounding_mode="trunc"),
    ):
        for kind in (ZeroDivisionError, RuntimeError):
            with pytest.raises(kind):
                compute().tolist()
    assert (tn.tensor([1.0]) // 0).tolist() == [float("inf")]
    assert np.isnan((tn.tensor([1.0]) % 0).item())


def test_8_smallest_integer():
    for name in ("int8", "int16", "int32", "int64"):
        low = int(np.iinfo(name).min)
        x = tn.tensor([low, 1], dtype=getattr(tn, name))
        assert x.abs().tolist() == [low, 1]
        assert (-x).tolist() == [low, -1]
        assert (x // -1).tolist() == [low, -1]
        assert (x % -1).tolist() == [0, 0]


def test_9_shifts_by_counts_out_of_range():
    x = tn.tensor([-8, 8], dtype=tn.int32)
    for count in (-1, 32, 100):
        assert (x << count).tolist() == [0, 0]
        assert (x >> count).tolist() == [-1, 0]


def test_10_floats_that_integers_cannot_hold():
    values = [float("nan"), float("inf"), float("-inf"), 3e10, -3e10]
    one = [tn.tensor([v]).int().item() for v in values]
    many = tn.tensor(values * 40).int().tolist()
    assert many == one * 40  # the same whatever the vector width


def test_11_nan():
    nan = float("nan")
    values = [[1.0, nan, 3.0], [nan, 2.0, nan], [5.0, 4.0, 6.0]]
    a, b = tn.tensor(values), torch.tensor(values)
    for f in (
        lambda x: x.max(),
        lambda x: x.amax(1),
        lambda x: x.max(1).indices,
        lambda x: x.argmax(),
        lambda x: x.argmin(1),
        lambda x: x.sort(1).values,
        lambda x: x.sort(1, descending=True).values,
        lambda x: x.clamp(2, 4),
        lambda x: x > 2,
        lambda x: x == x,
        lambda x: x.sum(1),
        lambda x: x.softmax(1),
        lambda x: x.relu(),
    ):
        np.testing.assert_array_equal(f(a).numpy(), f(b).numpy())


def test_12_nothing():
    for call in (
        lambda fw: fw.zeros(0).max(),
        lambda fw: fw.zeros(0).argmax(),
        lambda fw: fw.zeros(0, 3).amax(0),
        lambda fw: fw.zeros(0, 3).max(0),
    ):
        with pytest.raises((RuntimeError, IndexError)) as ours:
            call(tn)
        with pytest.raises((RuntimeError, IndexError)) as peers:
            call(torch)
        assert ours.type is peers.type
    assert np.isnan(tn.zeros(0).mean().item())
    assert tn.zeros(0).sum().item() == 0
    assert tn.zeros(0).prod().item() == 1
    assert tn.zeros(0, 3).sum(0).tolist() == [0, 0, 0]
    assert tn.zeros(3, 0).amax(0).shape == (0,)
    assert (tn.zeros(2, 0) @ tn.zeros(0, 3)).tolist() == [[0] * 3] * 2


def test_14_offsets_of_64_bits():
    big = tn.ones(1, dtype=tn.int8).expand(2**31 + 1)
    assert big[-1].item() == 1
    assert big.shape == (2**31 + 1,)
    assert tn.arange(2**31 - 2, 2**31 + 2).tolist()[-1] == 2**31 + 1


def test_16_writes_and_second_backward():
    with pytest.raises(RuntimeError, match="single memory location"):
        tn.zeros(1, 3).expand(2, 3).add_(1)
    leaf = tn.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        leaf.add_(1)
    with pytest.raises(RuntimeError, match="leaf"):
        leaf[0] = 1
    loss = (leaf * leaf).sum()
    loss.backward()
    with pytest.raises(RuntimeError):
        loss.backward()
    assert leaf.grad.tolist() == [2, 2]
    for call in (
        lambda: tn.ones(2).sum().backward(),
        lambda: (leaf * 2).backward(),
        lambda: tn.tensor([1], requires_grad=True),
    ):
        with pytest.raises(RuntimeError):
            call()


def test_18_long_and_deep():
    x = tn.zeros(4)
    for _ in range(100_000):
        x = x + 1
    assert x.tolist() == [100_000] * 4
    w = tn.ones(2, requires_grad=True)
    y = w
    for _ in range(10_000):
        y = y * 1.0001
    y.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 1.0001**10_000, rtol=1e-3)


def test_19_reading_under_vmap_names_the_way_out():
    def f(x):
        if x.sum() > 0:
            return x
        return -x

    with pytest.raises(RuntimeError, match="where"):
        tn.func.vmap(f)(tn.ones(2, 3))


def test_20_exceptions_in_nested_transforms():
    def boom(x):
        if x.ndim == 0:
            raise KeyError("boom")
        return x.sum()

    x = tn.ones(3)
    for f in (
        tn.func.grad(lambda v: boom(v[0])),
        tn.func.vmap(boom),
        tn.func.vmap(tn.func.grad(lambda v: boom(v * 2))),
        tn.func.grad(lambda v: tn.func.vmap(boom)(v).sum()),
        lambda v: tn.func.jvp(lambda u: tn.func.vmap(boom)(u), (v,), (v,)),
        tn.func.hessian(lambda v: boom(v.sum())),
    ):
        with pytest.raises(KeyError, match="boom"):
            f(x)
        assert tn.func.grad(lambda v: (v * v).sum())(x).tolist() == [2, 2, 2]
        assert tn.func.vmap(lambda v: v * 2)(x).tolist() == [2, 2, 2]
        assert tn.is_grad_enabled()


def test_28_threads():
    results: list[float] = []
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            x = tn.full((64,), float(seed), requires_grad=True)
            for _ in range(20):
                loss = (x.tanh() * x).sum()
                x.grad = None
                loss.backward()
                results.append(loss.item() - loss.item())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert results == [0.0] * 160


EXITS = [
    "x = tn.ones(3) + 1",
    "x = tn.ones(3, requires_grad=True); l = (x * 2).sum(); l.backward()",
    "x = tn.ones(3)\ntry:\n    y = x + tn.ones(4)\nexcept RuntimeError: pass",
    "import threading\nt = threading.Thread(target=lambda: tn.ones(3) + 1)\nt.start(); t.join()",
    "import sys\nx = tn.ones(3) + 1\nsys.exit(0)",
    "import numpy as np\na = np.ones(3); x = tn.from_numpy(a); x += 1; b = x.numpy()",
]


@pytest.mark.parametrize("code", EXITS)
def test_29_exit_with_work_pending(code):
    command = [sys.executable, "-c", "import tenon as tn\n" + code]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""


def test_39_same_bits_with_any_number_of_threads():
    def run() -> bytes:
        tn.manual_seed(5)
        x = tn.randn(300, 1000)
        y = (x.tanh() @ x.t()).softmax(-1).sum(0) + tn.rand(300)
        return y.numpy().tobytes()

    threads = tn.get_num_threads()
    try:
        tn.set_num_threads(1)
        one = run()
        tn.set_num_threads(2)
        assert run() == one
        assert run() == one
    finally:
        tn.set_num_threads(threads)


TAKE_NUMBERS = {
    "arange",
    "broadcast_tensors",
    "empty",
    "meshgrid",
    "ones",
    "rand",
    "randn",
    "zeros",
}


def test_functions_given_nonsense_raise_python_exceptions():
    nonsense = [(), (None,), ("text",), (object(), 1), tuple(range(1, 14))]
    kinds = (TypeError, RuntimeError, ValueError, IndexError, NotImplementedError)
    for name, function in _C._all.items():
        for args in nonsense:
            try:
                function(*args)
            except kinds:
                continue
            assert name in TAKE_NUMBERS, (name, args)

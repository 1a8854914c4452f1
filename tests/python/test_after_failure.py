"""What can't run keeps nothing else from being read: memory that isn't there, an interrupt."""

from __future__ import annotations

import numpy as np
import pytest

import tenon as tn


def impossible():
    return tn.zeros(2**47, dtype=tn.uint8) + 1  # 128 TiB


def test_tensors_recorded_beside_the_impossible_one():
    keep = tn.arange(1000.0)
    big = impossible()
    other = keep * 2
    for _ in range(2):
        with pytest.raises(tn.OutOfMemoryError):
            big.numpy()
    assert keep.sum().item() == 499500
    assert (other + keep)[-1].item() == 2997
    with pytest.raises(tn.OutOfMemoryError):
        big.numpy()
    assert other.tolist()[:3] == [0, 2, 4]


def test_what_depends_on_the_impossible_one_fails():
    big = impossible()
    x = tn.ones(4)
    depends = x * (big.sum() > 0)
    with pytest.raises(tn.OutOfMemoryError):
        depends.tolist()
    assert x.tolist() == [1, 1, 1, 1]
    with pytest.raises(tn.OutOfMemoryError):
        depends.tolist()


def test_derivatives_of_parts_that_were_read_one_by_one():
    """The parts of the failed segment share nodes, and later operations use all of them."""
    x = tn.linspace(-1, 1, 12).requires_grad_()
    big = impossible()
    y = (x * x).reshape(3, 4)
    row = y[1]
    z = y.exp()
    w = z * x.reshape(3, 4) + row
    with pytest.raises(tn.OutOfMemoryError):
        big.numpy()
    v = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_allclose(row.detach().numpy(), (v * v)[1], rtol=1e-6)
    later = w.sum() + (y * z).sum()
    np.testing.assert_allclose(z.detach().numpy(), np.exp(v * v), rtol=1e-6)
    y_grad, z_grad = tn.autograd.grad(later, [y, z], retain_graph=True)
    later.backward()
    e, ones = np.exp(v * v), np.ones((3, 4), np.float32)
    np.testing.assert_allclose(z_grad.numpy(), v + v * v, rtol=1e-5, atol=1e-6)
    of_y = e + (v + v * v) * e + 3 * np.array([[0], [1], [0]]) * ones
    np.testing.assert_allclose(y_grad.numpy(), of_y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(x.grad.numpy().reshape(3, 4), of_y * 2 * v + e, rtol=1e-5, atol=1e-5)


def test_a_loop_of_reads():
    values = [tn.ones(10) * i for i in range(300)]
    sums = []
    big = impossible()
    for v in values:
        sums.append(v.sum())
    with pytest.raises(tn.OutOfMemoryError):
        big.numpy()
    assert [s.item() for s in sums] == [10 * i for i in range(300)]


def test_a_segment_cut_in_pieces():
    big = impossible()
    x = tn.ones(8)
    for _ in range(300):
        x = x * 0.5 + 1
    last = x + big[:8].float()
    with pytest.raises(tn.OutOfMemoryError):
        last.tolist()
    assert x.tolist() == [2.0] * 8


def test_inside_a_transform():
    seen = []

    def f(x):
        big = impossible()
        y = x * x
        for _ in range(2):
            with pytest.raises(tn.OutOfMemoryError):
                big.sum().item()
        seen.append(y.sum().item())
        return (y * y).sum()

    assert tn.func.grad(f)(tn.ones(3)).tolist() == [4, 4, 4]
    assert seen == [3]


def test_inputs_out_of_bounds_beside_it():
    """A data error and a want of memory in one segment."""
    x = tn.arange(4.0)
    bad = x[tn.tensor([9])]
    big = impossible()
    worse = bad + 1
    good = x + 1
    with pytest.raises(tn.OutOfMemoryError):
        big.numpy()
    with pytest.raises(IndexError):
        worse.tolist()
    assert good.tolist() == [1, 2, 3, 4]
    with pytest.raises(IndexError):
        bad.tolist()
    with pytest.raises(tn.OutOfMemoryError):
        big.numpy()


def test_an_error_of_the_data_is_raised_once_whatever_is_flushed():
    places = tn.arange(4)
    tn.eval(places)
    bad = places[places + 1]
    worse, good = bad * 2, places * 3
    with pytest.raises(IndexError, match=r"index 4 is out of bounds.*test_after_failure"):
        tn.flush()
    tn.flush()
    assert good.tolist() == [0, 3, 6, 9]
    for failed in (worse, bad, worse):
        with pytest.raises(IndexError, match="index 4 is out of bounds"):
            failed.tolist()
    tn.flush()
    assert (good + 1).tolist() == [1, 4, 7, 10]


def test_an_error_of_the_data_is_raised_once_inside_a_transform():
    places = tn.arange(4)
    tn.eval(places)

    def f(x):
        bad = places[places + 1] * x
        y = x * x
        with pytest.raises(IndexError, match="index 4 is out of bounds"):
            tn.flush()
        tn.flush()
        worse = bad + y
        assert y.tolist() == [1] * 4
        for failed in (worse, bad):
            with pytest.raises(IndexError, match="index 4 is out of bounds"):
                failed.tolist()
        tn.flush()
        return (y * x).sum()

    assert tn.func.grad(f)(tn.ones(4)).tolist() == [3] * 4
    tn.flush()


def test_a_gradient_through_what_failed_fails():
    places = tn.arange(4)
    x = tn.ones(4, requires_grad=True)
    tn.eval(places)

    def f(x):
        bad = x[places + 1]
        with pytest.raises(IndexError):
            bad.sum().item()
        return (bad * bad).sum()

    gradient = tn.func.grad(f)(x)
    with pytest.raises(IndexError, match="index 4 is out of bounds"):
        gradient.tolist()
    assert (x + 1).tolist() == [2] * 4

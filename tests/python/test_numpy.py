"""Memory shared with NumPy, and NumPy's functions on tensors. PyTorch is the judge."""

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")


def same(a, b):
    assert tuple(a.shape) == tuple(b.shape)
    assert str(a.dtype).split(".")[-1] == str(b.dtype).split(".")[-1]
    np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_numpy_shares_memory_both_ways():
    array = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    x = tn.from_numpy(array)
    array[0, 0] = 100
    assert x[0, 0].item() == 100
    x[1, 1] = -5
    assert array[1, 1] == -5
    x.mul_(2)
    assert array[0, 0] == 200
    y = tn.zeros(3)
    shared = y.numpy()
    y.add_(1)
    assert shared.tolist() == [1, 1, 1]
    shared[0] = 7
    assert y.sum().item() == 9


def test_numpy_of_a_view_shares_too():
    x = tn.arange(6.0).reshape(2, 3)
    column = x[:, 1].numpy()
    column[:] = 50
    assert x.tolist() == [[0, 50, 2], [3, 50, 5]]


def test_strided_arrays():
    base = np.arange(12.0).reshape(3, 4)
    same(tn.from_numpy(base[:, ::2]), torch.from_numpy(base[:, ::2]))
    same(tn.from_numpy(base.T), torch.from_numpy(base.T))
    assert tn.from_numpy(base.T).stride() == torch.from_numpy(base.T).stride()
    assert tn.from_numpy(base[:0]).shape == (0, 4)


def test_arrays_that_cannot_be_shared():
    base = np.arange(4.0)
    with pytest.raises(ValueError, match="negative"):
        tn.from_numpy(base[::-1])
    with pytest.raises(ValueError, match="byte order"):
        tn.from_numpy(base.astype(">f8"))
    with pytest.raises(TypeError, match="object"):
        tn.from_numpy(np.array([object()]))
    with pytest.raises(TypeError, match=r"expected np\.ndarray"):
        tn.from_numpy([1.0])
    with pytest.raises(TypeError):
        tn.tensor(np.array(["a"]))
    same(tn.tensor(base[::-1].copy()), torch.tensor(base[::-1].copy()))
    assert tn.tensor(base[::-1]).tolist() == [3, 2, 1, 0]
    assert tn.tensor(base.astype(">f8")).tolist() == [0, 1, 2, 3]


def test_read_only_array_stays_as_it_is():
    array = np.arange(3.0)
    array.flags.writeable = False
    x = tn.from_numpy(array)
    assert x.tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="read-only"):
        x.add_(1)
    assert array.tolist() == [0, 1, 2]


def test_numpy_functions_take_tensors():
    x = tn.tensor([1.0, 2.0])
    assert np.asarray(x).dtype == np.float32
    assert np.sin(x).shape == (2,)
    with pytest.raises(RuntimeError, match="requires grad"):
        tn.ones(1, requires_grad=True).numpy()

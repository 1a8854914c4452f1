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


def test_array_interface():
    x = tn.arange(12.0, dtype=tn.float64).reshape(3, 4)[:, 1:3].t()

    class Holder:
        __array_interface__ = x.__array_interface__

    array = np.asarray(Holder)
    np.testing.assert_array_equal(array, x.numpy())
    assert array.strides == (8, 32) and np.shares_memory(array, x.numpy())
    x.add_(100)
    assert array[0, 0] == 101
    del Holder
    assert array.sum() == x.sum().item()
    for dtype in ("bool", "uint8", "int16", "uint32", "int64", "float16", "complex64"):
        given = tn.ones(2, dtype=getattr(tn, dtype))
        wanted = np.ones(2, dtype)
        assert given.__array_interface__["typestr"] == wanted.__array_interface__["typestr"]
    assert not hasattr(tn.ones(1, dtype=tn.bfloat16), "__array_interface__")
    assert not hasattr(tn.ones(1, requires_grad=True), "__array_interface__")


def test_asarray_as_pytorch():
    def cases(m):
        leaf = m.ones(2, requires_grad=True)
        array = np.arange(4.0).reshape(2, 2)
        yield lambda: m.asarray([1, 2.0])
        yield lambda: m.asarray(3)
        yield lambda: m.asarray(np.float32(3))
        yield lambda: m.asarray(np.array(3.0))
        yield lambda: m.asarray(array.T)
        yield lambda: m.asarray(array, dtype=m.int32)
        yield lambda: m.asarray([True, False], dtype=m.float64)
        yield lambda: m.asarray(bytearray(b"1234"), dtype=m.uint8)
        yield lambda: m.asarray(leaf)
        yield lambda: m.asarray(leaf, requires_grad=False)
        yield lambda: m.asarray(m.ones(2), requires_grad=True)
        yield lambda: m.asarray(m.ones(2), dtype=m.float64, copy=False)
        yield lambda: m.asarray([1], copy=False)
        yield lambda: m.asarray(array[::-1])
        yield lambda: m.asarray(m.arange(2), requires_grad=True)
        yield lambda: m.asarray("a")
        yield lambda: m.asarray(np.array([object()]))

    def outcome(call):
        try:
            x = call()
        except Exception as error:
            return type(error).__name__
        return x.tolist(), str(x.dtype).split(".")[-1], x.requires_grad, x.is_leaf

    for ours, theirs in zip(cases(tn), cases(torch), strict=True):
        assert outcome(ours) == outcome(theirs)
    x, array = tn.ones(2), np.ones(2)
    assert tn.asarray(x) is x
    tn.asarray(x, copy=True).add_(1)
    tn.asarray(array, copy=True).add_(1)
    assert x.tolist() == [1, 1] and array.tolist() == [1, 1]
    tn.asarray(array).add_(1)
    tn.asarray(torch.from_numpy(array)).add_(1)  # by DLPack
    assert array.tolist() == [3, 3]


def test_dtypes_meet_whatever_the_sizes():
    for m in (tn, torch):
        wide, narrow = m.ones(2, 3, 3), m.ones(2, 3, 2, dtype=m.int64)
        assert m.result_type(wide, narrow) == m.float32
        assert m.result_type(narrow, m.tensor(1.0, dtype=m.float64)) == m.float64
        assert m.result_type(narrow, 1.0) == m.float32
        assert m.result_type(m.tensor(1), m.tensor(2.5, dtype=m.float64)) == m.float64

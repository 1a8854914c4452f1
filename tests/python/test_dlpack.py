"""DLPack both ways: memory is shared, said to be read-only, and given back once (FAULTS 34)."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import tenon as tn

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
DTYPES += ["uint16", "uint32", "uint64", "complex64", "complex128"]


class Counting:
    """An array that counts how often it is still held."""

    held = 0

    def __init__(self, array):
        type(self).held += 1
        self.array = array

    def __del__(self):
        type(self).held -= 1

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_in_and_out(dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    x = tn.from_dlpack(array)
    assert x.dtype == getattr(tn, dtype) and x.shape == (3, 4)
    assert x.tolist() == array.tolist()
    back = np.from_dlpack(x)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    assert np.shares_memory(back, array)


def test_both_sides_see_writes():
    array = np.zeros((4, 3))
    x = tn.from_dlpack(array)
    array[1, 2] = 5
    assert x[1, 2].item() == 5
    x.add_(1)
    assert array[1, 2] == 6 and array[0, 0] == 1
    view = np.from_dlpack(x[::2])
    view[1] = 9
    assert x[2].tolist() == [9, 9, 9]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
        np.arange(24.0)[3:20:4],
        np.array(3.5),
        np.empty((0, 3)),
        np.broadcast_to(np.arange(3.0), (2, 3)),
    ],
    ids=["transposed", "strided", "0-d", "empty", "expanded"],
)
def test_strides(array):
    x = tn.from_dlpack(array)
    assert tuple(x.shape) == array.shape
    np.testing.assert_array_equal(x.numpy(), array)
    np.testing.assert_array_equal(np.from_dlpack(x), array)


def test_results_not_yet_computed_are_computed():
    x = (tn.arange(5.0) * 2).sin()
    np.testing.assert_array_equal(np.from_dlpack(x), x.numpy())


def test_read_only_memory_stays_so():
    array = np.arange(3.0)
    array.flags.writeable = False
    x = tn.from_dlpack(array)
    with pytest.raises(RuntimeError, match="read-only"):
        x.add_(1)
    assert (x + 1).tolist() == [1, 2, 3]
    assert not np.from_dlpack(x).flags.writeable
    with pytest.raises(BufferError, match="read-only"):
        x.__dlpack__()


def test_memory_lives_as_long_as_a_reader():
    x = tn.arange(1000.0) + 1
    array = np.from_dlpack(x)
    del x
    gc.collect()
    tn.eval(tn.zeros(1000), tn.zeros(1000))  # would take memory that is free
    assert array[0] == 1 and array[999] == 1000


def test_memory_is_given_back_once():
    array = np.arange(3.0)
    owner = Counting(array)
    x = tn.from_dlpack(owner)
    capsule = array.__dlpack__(max_version=(1, 0))
    y = tn.from_dlpack(capsule)
    with pytest.raises(BufferError, match="only once"):
        tn.from_dlpack(capsule)
    del capsule, owner
    gc.collect()
    assert Counting.held == 0 and y.tolist() == x.tolist() == [0, 1, 2]
    del x, y, array
    gc.collect()
    unused = tn.arange(3).__dlpack__(max_version=(1, 0))
    del unused  # nobody took it over


def test_wrong_input():
    with pytest.raises(TypeError, match="expected an object with __dlpack__, got list"):
        tn.from_dlpack([1, 2])
    with pytest.raises(BufferError, match="negative"):
        tn.from_dlpack(np.arange(3.0)[::-1])
    with pytest.raises(BufferError, match="require gradient"):
        tn.ones(2, requires_grad=True).__dlpack__()
    with pytest.raises(BufferError, match="no stream"):
        tn.ones(2).__dlpack__(stream=1)
    with pytest.raises(BufferError, match="device"):
        tn.ones(2).__dlpack__(dl_device=(2, 0))

    class Elsewhere:
        def __dlpack_device__(self):
            return (2, 1)

        def __dlpack__(self, **options):
            raise AssertionError("not asked for")

    with pytest.raises(BufferError, match=r"device \(2, 1\)"):
        tn.from_dlpack(Elsewhere())


def test_copies():
    x = tn.arange(3.0)
    shared, copied = np.from_dlpack(x), np.from_dlpack(x, copy=True)
    x.add_(1)
    assert shared.tolist() == [1, 2, 3] and copied.tolist() == [0, 1, 2]
    array = np.zeros(2)
    y = tn.from_dlpack(array, copy=True)
    array[0] = 1
    assert y.tolist() == [0, 0]


def test_names_of_torch_utils():
    from tenon.utils import dlpack

    x = tn.arange(3.0)
    y = dlpack.from_dlpack(dlpack.to_dlpack(x))
    x.add_(1)
    assert y.tolist() == [1, 2, 3]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool", "complex64"])
def test_torch(dtype):
    torch = pytest.importorskip("torch")
    theirs = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype))
    x = tn.from_dlpack(theirs)
    assert x.dtype == getattr(tn, dtype) and x.tolist() == theirs.tolist()
    back = torch.from_dlpack(x.t())
    assert back.dtype == theirs.dtype and torch.equal(back, theirs.t())
    assert back.data_ptr() == theirs.data_ptr()
    if dtype != "bool":
        back.add_(1)
        assert x.tolist() == theirs.tolist()


def capsule_of(code, bits, lanes, freed):
    """A capsule as a library in C makes it: (DLManagedTensor) of three elements of that dtype."""
    import ctypes

    class Managed(ctypes.Structure):
        _fields_ = [
            ("data", ctypes.c_void_p),
            ("device_type", ctypes.c_int32),
            ("device_id", ctypes.c_int32),
            ("ndim", ctypes.c_int32),
            ("code", ctypes.c_uint8),
            ("bits", ctypes.c_uint8),
            ("lanes", ctypes.c_uint16),
            ("shape", ctypes.POINTER(ctypes.c_int64)),
            ("strides", ctypes.c_void_p),
            ("byte_offset", ctypes.c_uint64),
            ("context", ctypes.c_void_p),
            ("deleter", ctypes.c_void_p),
        ]

    shape, memory = (ctypes.c_int64 * 1)(3), (ctypes.c_float * 6)(1, 2, 3)
    deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: freed.append(1))
    managed = Managed(
        *(ctypes.addressof(memory), 1, 0, 1, code, bits, lanes, shape, None, 0, None),
        ctypes.cast(deleter, ctypes.c_void_p).value,
    )
    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return new(ctypes.addressof(managed), b"dltensor", None), (managed, shape, memory, deleter)


def test_dtypes_that_nobody_here_knows():
    freed = []
    capsule, kept = capsule_of(2, 32, 1, freed)
    x = tn.from_dlpack(capsule)
    assert x.tolist() == [1, 2, 3] and freed == []
    del x
    gc.collect()
    tn.zeros(1).tolist()
    assert freed == [1]
    for code, bits, lanes in ((2, 128, 1), (9, 8, 1), (0, 3, 1), (2, 32, 2)):
        capsule, kept = capsule_of(code, bits, lanes, freed)
        with pytest.raises(BufferError, match="dtype"):
            tn.from_dlpack(capsule)
        del capsule
        gc.collect()
    assert freed == [1]  # what was refused is still the capsule's
    assert kept is not None

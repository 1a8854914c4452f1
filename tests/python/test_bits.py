"""`view(dtype)`: the same memory as elements of another dtype."""

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")

INTEGERS = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
FLOATS = ("float16", "bfloat16", "float32", "float64", "float8_e4m3fn")
NAMES = (*INTEGERS, *FLOATS, "complex64", "complex128")


def raw(x):
    """The bytes of a tensor of either library."""
    return tuple(
        x.contiguous().view(tn.uint8 if isinstance(x, tn.Tensor) else torch.uint8).tolist()
    )


@pytest.fixture(params=["fused", "interpret"])
def mode(request):
    before = tn.jit.get_mode()
    tn.jit.set_mode(request.param)
    yield request.param
    tn.jit.set_mode(before)


@pytest.mark.parametrize("source", NAMES)
def test_all_pairs(source, mode):
    data = np.random.default_rng(3).integers(0, 256, 64, dtype=np.uint8)
    if source == "bool":
        data &= 1
    for to in NAMES:
        if to == "bool" and source != "bool":
            continue
        ours = tn.tensor(data).view(getattr(tn, source)).view(getattr(tn, to))
        theirs = torch.from_numpy(data).view(getattr(torch, source)).view(getattr(torch, to))
        assert ours.shape == theirs.shape and ours.dtype == getattr(tn, to)
        assert raw(ours) == raw(theirs), to


def test_any_byte_but_0_is_true():
    x = tn.tensor([0, 1, 2, 255], dtype=tn.uint8)
    assert x.view(tn.bool).tolist() == [False, True, True, True]


@pytest.mark.parametrize("to", ["int16", "int32", "int64", "float64", "complex64", "uint8"])
def test_strides_and_offsets(to):
    for t in (tn, torch):
        x = t.arange(48, dtype=t.float32).reshape(4, 12)
        views = [x, x[:, 4:8], x[1:], x[::2], x[:, ::2], x.t(), x[2, 4:], x[:, :0]]
        found = []
        for view in views:
            try:
                y = view.view(getattr(t, to))
            except RuntimeError:
                found.append(None)
            else:
                found.append((tuple(y.shape), y.stride(), y.storage_offset(), raw(y)))
        if t is tn:
            ours = found
    assert ours == found


def test_a_view_sees_writes_and_writes():
    def run(t):
        x = t.arange(8, dtype=t.float32)
        bits = x.view(t.int32)
        halves = x.view(t.int16)
        wide = x[2:6].view(t.int64)
        bits[1] = 0x40490FDB
        x[2] = 1.5
        halves[15] = 0x4180
        wide[1] = 0x3F800000_40000000
        halves.view(t.float32)[0] = -3
        nested = x.view(2, 4)[:, 1:3].view(t.int32)
        nested.fill_(0x3F000000)
        return x.tolist(), bits.tolist(), halves.tolist(), wide.tolist(), bits._version

    assert run(tn) == run(torch)


def test_writes_through_complex_views():
    def run(t):
        z = t.arange(4, dtype=t.float32).to(t.complex64)
        z.view(t.float32)[1] = 7
        z.view(t.int64)[2] = 0
        t.view_as_real(z).view(t.int32)[3, 1] = 0x40000000
        return z.tolist()

    assert run(tn) == run(torch)


def test_memory_known_outside_is_shared():
    array = np.arange(4, dtype=np.float32)
    bits = tn.from_numpy(array).view(tn.int32)
    assert np.shares_memory(bits.numpy(), array)
    bits[0] = 0x3F800000
    assert array[0] == 1
    array[1] = 2
    assert bits[1].item() == 0x40000000


def test_there_is_no_derivative():
    for t in (tn, torch):
        x = t.ones(2, 4, requires_grad=True)
        assert not (x * 1).view(t.float16).requires_grad
        assert not x.view(t.float64).requires_grad
        assert not x.view(t.float32).requires_grad
        y = x * 2
        y.view(t.int32)[0, 0] = 0
        (y * y).sum().backward()
        assert x.grad[1].tolist() == [8.0] * 4
    grad = tn.func.grad(lambda x: x.view(tn.float16).sum().float())(tn.ones(2))
    assert grad.tolist() == [0, 0]


def test_vmap():
    x = tn.arange(12, dtype=tn.float32).reshape(3, 4)
    for dtype in (tn.int32, tn.int16, tn.float64):
        assert raw(tn.func.vmap(lambda row, d=dtype: row.view(d))(x)) == raw(x.view(dtype))


def test_copies():
    x = tn.arange(4, dtype=tn.float32)
    copied = tn.view_copy(x, tn.int32)
    copied.zero_()
    assert x.tolist() == [0, 1, 2, 3]
    assert x.view(dtype=tn.int32).tolist() == x.view(tn.int32).tolist()
    with pytest.raises(TypeError):
        x.view("int32")

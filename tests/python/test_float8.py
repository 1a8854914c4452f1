"""The five 8-bit floating dtypes: storage and conversion, as PyTorch has them on the CPU."""

import copy
import pickle
import re

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")

NAMES = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")
MODES = ("fused", "unfused", "interpret")


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture(params=MODES)
def mode(request):
    before = tn.jit.get_mode()
    tn.jit.set_mode(request.param)
    yield request.param
    tn.jit.set_mode(before)


def codes(name):
    """All 256 numbers of the dtype, in both libraries."""
    every = np.arange(256, dtype=np.uint8)
    return (
        tn.tensor(every).view(getattr(tn, name)),
        torch.from_numpy(every).view(getattr(torch, name)),
    )


def bits(x):
    """The codes of a float8 tensor of either library, NaNs as one code."""
    integer = x.view(tn.uint8 if isinstance(x, tn.Tensor) else torch.uint8)
    wide = x.float()
    return np.where(np.isnan(wide.numpy()), 255, integer.numpy())


def same_values(found, expected):
    assert found.dtype.name == str(expected.dtype).removeprefix("torch.")
    a, b = found.double().numpy(), expected.double().numpy()
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b))


@pytest.mark.parametrize("to", ["float16", "bfloat16", "float32", "float64", "bool"])
def test_every_code_converts_as_pytorch_does(name, to, mode):
    ours, theirs = codes(name)
    same_values(ours.to(getattr(tn, to)), theirs.to(getattr(torch, to)))


@pytest.mark.parametrize("to", ["int8", "int32", "int64", "uint8"])
def test_numbers_that_fit_convert_to_integers(name, to):
    ours, theirs = codes(name)
    number = theirs.float()
    fits = (number.abs() < 127) if to == "int8" else (number.abs() < 2**31)
    if to == "uint8":
        fits = (number >= 0) & (number < 256)
    keep = fits.nonzero().flatten()
    found = ours.float()[tn.tensor(keep.numpy())].to(getattr(tn, name)).to(getattr(tn, to))
    np.testing.assert_array_equal(found.numpy(), theirs[keep].to(getattr(torch, to)).numpy())


def sweep():
    """Floats of all exponents with the mantissas where rounding is decided, and random ones."""
    high = np.arange(0, 2**16, dtype=np.uint32) << 16
    edges = np.concatenate([high, high + 1, high + 0x8000, high + 0xFFFF])
    draws = np.random.default_rng(0).integers(0, 2**32, 2**17, dtype=np.uint32)
    return np.concatenate([edges, draws]).view(np.float32)


def test_float32_rounds_as_in_pytorch(name, mode):
    values = sweep() if mode == "fused" else sweep()[::37].copy()
    found = tn.tensor(values).to(getattr(tn, name))
    expected = torch.from_numpy(values).to(getattr(torch, name))
    np.testing.assert_array_equal(bits(found), bits(expected))


@pytest.mark.parametrize("source", ["float16", "bfloat16"])
def test_every_half_rounds_as_in_pytorch(name, source):
    every = np.arange(2**16, dtype=np.uint16).view(np.int16)
    found = tn.tensor(every).view(getattr(tn, source)).to(getattr(tn, name))
    expected = torch.from_numpy(every).view(getattr(torch, source)).to(getattr(torch, name))
    np.testing.assert_array_equal(bits(found), bits(expected))


def test_float64_and_integers_go_through_float32(name):
    values = sweep()[::5]
    values = values[~np.isnan(values)].astype(np.float64)
    values = values * (1 + np.random.default_rng(1).uniform(-1e-8, 1e-8, values.shape))
    found = tn.tensor(values).to(getattr(tn, name))
    expected = torch.from_numpy(values).to(getattr(torch, name))
    np.testing.assert_array_equal(bits(found), bits(expected))
    numbers = np.arange(-700, 700)
    found = tn.tensor(numbers).to(getattr(tn, name))
    expected = torch.from_numpy(numbers).to(getattr(torch, name))
    np.testing.assert_array_equal(bits(found), bits(expected))


@pytest.mark.parametrize("other", NAMES)
def test_float8_converts_to_float8(name, other):
    ours, theirs = codes(name)
    np.testing.assert_array_equal(
        bits(ours.to(getattr(tn, other))), bits(theirs.to(getattr(torch, other)))
    )


def test_complex_numbers_lose_their_imaginary_part(name):
    x = tn.tensor([1 + 2j, 3 + 0j]).to(getattr(tn, name))
    expected = torch.tensor([1.0, 3.0]).to(getattr(torch, name))
    assert x.tolist() == expected.tolist()
    assert x.to(tn.complex64).real.tolist() == expected.tolist()


MOVEMENTS = {
    "clone": lambda x, t: x.clone(),
    "transposed": lambda x, t: x.t().contiguous(),
    "reshape": lambda x, t: x.reshape(3, 2),
    "view": lambda x, t: x.view(6),
    "expand": lambda x, t: x[:1].expand(2, 3).clone(),
    "flip": lambda x, t: x.flip(0),
    "roll": lambda x, t: x.roll(1),
    "repeat": lambda x, t: x.repeat(2, 2),
    "pieces": lambda x, t: t.cat(x.split(1), 1),
    "cat": lambda x, t: t.cat([x, x]),
    "stack": lambda x, t: t.stack([x, x.flip(0)]),
    "slice": lambda x, t: x[:, ::2],
    "rows": lambda x, t: x[t.tensor([1, 0, 1])],
    "mask": lambda x, t: x[t.tensor([[True, False, True], [False, True, False]])],
    "index_select": lambda x, t: x.index_select(1, t.tensor([2, 0])),
    "where": lambda x, t: t.where(x.float() > 2, x, x.flip(0)),
    "index_put": lambda x, t: x.index_put((t.tensor([1]),), x[0]),
    "embedding": lambda x, t: t.nn.functional.embedding(t.tensor([1, 1]), x),
    "pad": lambda x, t: t.nn.functional.pad(x, (1, 0), value=1.0),
    "diagonal": lambda x, t: x.diagonal(),
    "unfold": lambda x, t: x.unfold(1, 2, 1),
    "repeat_interleave": lambda x, t: x.repeat_interleave(2, 0),
    "filled": lambda x, t: t.full_like(x, 1.75),
    "ones": lambda x, t: t.ones_like(x),
    "zeros": lambda x, t: x.new_zeros(2),
    "equal": lambda x, t: x == x.flip(0),
    "unequal": lambda x, t: x != 2,
    "isnan": lambda x, t: x.isnan(),
    "any": lambda x, t: x.any(),
    "all": lambda x, t: x.all(0),
    "product": lambda x, t: x * x,
    "wide sum": lambda x, t: x.sum(dtype=t.float32),
}


@pytest.mark.parametrize("movement", MOVEMENTS)
def test_what_moves_elements_takes_float8(name, movement, mode):
    if name == "float8_e8m0fnu" and movement == "index_put":
        pytest.skip("PyTorch's index_put doesn't take it")
    if name == "float8_e8m0fnu" and movement in ("zeros", "pad"):
        values = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    else:
        values = [0.5, 1.0, 2.0, 3.0, 6.0, 24.0]
    x = tn.tensor(values, dtype=getattr(tn, name)).reshape(2, 3)
    y = torch.tensor(values, dtype=getattr(torch, name)).reshape(2, 3)
    same_values(MOVEMENTS[movement](x, tn), MOVEMENTS[movement](y, torch))


def test_writes(name):
    for library in (tn, torch):
        x = library.ones(2, 3, dtype=getattr(library, name))
        x[0] = 2.0
        x[:, 1].copy_(library.tensor([4.0, 8.0]))
        x[1, 2:].fill_(16)
        assert x.tolist() == [[2, 4, 2], [1, 8, 16]]
        y = library.zeros(2, 3).copy_(x)
        assert y.tolist() == x.tolist()


def test_gradients_round_on_their_way(name):
    def run(t):
        x = t.tensor([1.3, 300.0, 2.7], requires_grad=True)
        y = x.to(getattr(t, name))
        (y.to(t.float32) * t.tensor([1.1, 2.3, 3.7])).sum().backward()
        return x.grad.tolist()

    assert run(tn) == run(torch)


def test_gradient_of_a_float8_leaf(name):
    def run(t):
        x = t.tensor([1.0, 2.0]).to(getattr(t, name)).requires_grad_()
        (x.float() * 1.3).sum().backward()
        return str(x.grad.dtype).split(".")[1], x.grad.tolist()

    assert run(tn) == run(torch)


def test_transforms(name):
    dtype, theirs = getattr(tn, name), getattr(torch, name)
    x = tn.tensor([1.3, 2.6])
    found = tn.func.jvp(lambda x: x.to(dtype).float() * 2, (x,), (x,))
    t = torch.tensor([1.3, 2.6])
    expected = torch.func.jvp(lambda x: x.to(theirs).float() * 2, (t,), (t,))
    assert [y.tolist() for y in found] == [y.tolist() for y in expected]
    batched = tn.func.vmap(lambda row: row.to(dtype).roll(1).float())(tn.ones(3, 2) * x)
    assert batched.tolist() == [t.to(theirs).roll(1).float().tolist()] * 3


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + x,
        lambda x: x - 1,
        lambda x: x / 2,
        lambda x: -x,
        lambda x: x < x,
        lambda x: x.exp(),
        lambda x: x.sum(),
        lambda x: x.mean(),
        lambda x: x.amax(),
        lambda x: x.max(0),
        lambda x: x.argmax(),
        lambda x: x.cumsum(0),
        lambda x: x.sort(),
        lambda x: x.relu(),
        lambda x: x.softmax(0),
        lambda x: x.clamp(0, 1),
        lambda x: x & x,
        lambda x: x.clone().add_(1),
        lambda x: x.clone().uniform_(),
        lambda x: x.clone().normal_(),
    ],
)
def test_arithmetic_is_refused(name, function):
    with pytest.raises(NotImplementedError):
        function(torch.ones(2).to(getattr(torch, name)))
    with pytest.raises(NotImplementedError, match=r"convert|not implemented|random"):
        function(tn.ones(2).to(getattr(tn, name)))


def test_promotion(name):
    own = getattr(tn, name)
    others = [d for d in vars(tn).values() if isinstance(d, tn.dtype)]
    for other in others:
        theirs = getattr(torch, other.name)
        try:
            expected = str(torch.promote_types(getattr(torch, name), theirs))
        except RuntimeError:
            with pytest.raises(RuntimeError, match="Float8"):
                tn.promote_types(own, other)
            continue
        assert str(tn.promote_types(own, other)).split(".")[1] == expected.split(".")[1]
    for other in others:
        pair = getattr(torch, name), getattr(torch, other.name)
        assert tn.can_cast(own, other) == torch.can_cast(*pair)
        assert tn.can_cast(other, own) == torch.can_cast(*pair[::-1])
    x = tn.ones(2).to(own)
    assert tn.result_type(x, 1) == tn.result_type(x, 1.0) == own
    assert tn.result_type(x, tn.tensor(1.0)) == own
    with pytest.raises(RuntimeError, match="Float8"):
        tn.cat([x, tn.ones(2)])
    with pytest.raises(TypeError):
        tn.set_default_dtype(own)


def test_limits_and_properties(name):
    ours, theirs = tn.finfo(getattr(tn, name)), torch.finfo(getattr(torch, name))
    for field in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
        assert getattr(ours, field) == getattr(theirs, field), field
    assert repr(ours) == repr(theirs)
    ours, theirs = getattr(tn, name), getattr(torch, name)
    for field in ("is_floating_point", "is_complex", "is_signed", "itemsize"):
        assert getattr(ours, field) == getattr(theirs, field), field
    x = tn.ones(3, dtype=ours)
    assert x.element_size() == 1 and x.nbytes == 3
    assert x.type() == torch.ones(3, dtype=theirs).type().replace("torch", "tenon")


def test_printing_and_reading(name):
    values = [[0.5, 1.0, 3.0], [6.0, 28.0, 2.0]]
    ours = tn.tensor(values, dtype=getattr(tn, name))
    theirs = torch.tensor(values, dtype=getattr(torch, name))
    assert repr(ours) == repr(theirs).replace("torch", "tenon")
    assert ours.tolist() == theirs.tolist()
    assert ours[1, 2].item() == 2.0 and bool(ours[0, 0]) and int(ours[1, 2]) == 2
    assert f"{ours[0, 0]:.2f}" == "0.50"
    big = tn.ones(2000).to(getattr(tn, name))
    assert repr(big) == repr(torch.ones(2000).to(getattr(torch, name))).replace("torch", "tenon")


def test_copies_and_files(name, tmp_path):
    x, _ = codes(name)
    expected = bits(x)
    assert pickle.loads(pickle.dumps(getattr(tn, name))) == getattr(tn, name)
    for copied in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert copied.dtype == x.dtype
        np.testing.assert_array_equal(bits(copied), expected)
    tn.save({"x": x}, tmp_path / "x.safetensors")
    loaded = tn.load(tmp_path / "x.safetensors")["x"]
    assert loaded.dtype == x.dtype
    np.testing.assert_array_equal(bits(loaded), expected)


def test_dlpack_both_ways(name):
    ours, theirs = codes(name)
    there = torch.from_dlpack(ours)
    assert there.dtype == theirs.dtype
    np.testing.assert_array_equal(bits(there), bits(theirs))
    back = tn.from_dlpack(theirs)
    assert back.dtype == ours.dtype
    np.testing.assert_array_equal(bits(back), bits(theirs))


def test_numpy_has_no_such_dtype(name):
    x, _ = codes(name)
    with pytest.raises(TypeError, match=re.escape(name)):
        x.numpy()
    with pytest.raises(AttributeError):
        x.__array_interface__  # noqa: B018
    shared = tn.frombuffer(memory := bytearray([0x38, 0x40]), dtype=getattr(tn, name))
    expected = torch.frombuffer(bytearray(memory), dtype=getattr(torch, name))
    assert shared.tolist() == expected.tolist()
    memory[0] = 0x41
    assert shared[0].item() == torch.frombuffer(memory, dtype=getattr(torch, name))[0].item()


def test_modules_are_stored(name):
    layer = tn.nn.Linear(2, 2)
    layer.to(getattr(tn, name))
    assert layer.weight.dtype == getattr(tn, name)

"""tenon.Size is a tuple whose parts and sums are Sizes, as torch.Size."""

import copy
import pickle

import pytest

import tenon as tn


def test_parts_sums_and_multiples():
    size = tn.ones(2, 3, 4).shape
    assert size == (2, 3, 4) and isinstance(size, tuple)
    assert repr(size) == "tenon.Size([2, 3, 4])"
    assert size[1] == 3 and size[-1] == 4 and size[True] == 3
    for part, expected in [
        (size[1:], (3, 4)),
        (size[::-1], (4, 3, 2)),
        (size[:1] + [5], (2, 5)),
        (size + (1,), (2, 3, 4, 1)),
        (size[:2] * 2, (2, 3, 2, 3)),
    ]:
        assert type(part) is tn.Size and part == expected
    assert size.numel() == 24 and tn.ones(()).shape.numel() == 1
    assert tn.Size([2**40, 2**40]).numel() == 2**80
    assert hash(size) == hash((2, 3, 4)) and {size: 1}[2, 3, 4] == 1
    batch, *rest = size
    assert (batch, rest) == (2, [3, 4])


def test_bad_uses():
    size = tn.Size([2, 3])
    with pytest.raises(IndexError):
        size[2]
    with pytest.raises(TypeError):
        size["a"]
    with pytest.raises(TypeError):
        size + 1
    with pytest.raises(TypeError):
        tn.Size(2)


def test_copies():
    size = tn.Size([2, 3])
    for copied in (pickle.loads(pickle.dumps(size)), copy.copy(size), copy.deepcopy(size)):
        assert type(copied) is tn.Size and copied == size

"""What is around the operations: `out=`, lists of tensors, older constructors, shared memory."""

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")


def same(found, expected):
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-6)


# ---- out= ----------------------------------------------------------------------------------------


def test_out_receives_the_result():
    x, y = tn.ones(2, 3), tn.zeros(2, 3)
    assert tn.add(x, 1, out=y) is y
    assert y.tolist() == [[2] * 3] * 2
    part = tn.zeros(4, 3)
    tn.exp(tn.zeros(2, 3), out=part[1:3])  # through a view
    assert part.sum(1).tolist() == [0, 3, 3, 0]
    values, places = tn.empty(0), tn.empty(0, dtype=tn.int64)
    result = tn.sort(tn.tensor([3.0, 1.0]), out=(values, places))
    assert result.values is values and places.tolist() == [1, 0]
    assert tn.sum(x, 1, out=None).tolist() == [3, 3]


def test_out_of_another_size_or_dtype():
    out = tn.empty(5)
    tn.sin(tn.zeros(2, 2), out=out)
    assert out.shape == (2, 2)
    wide = tn.empty(2, dtype=tn.float64)
    tn.add(tn.ones(2), 1, out=wide)  # promoted results are cast
    assert wide.tolist() == [2, 2]
    for call in (
        lambda: tn.add(tn.ones(2), 1.5, out=tn.empty(2, dtype=tn.int64)),
        lambda: tn.cumsum(tn.ones(2), 0, out=tn.empty(2, dtype=tn.float64)),
        lambda: tn.add(tn.ones(2, requires_grad=True), 1, out=tn.empty(2)),
        lambda: tn.add(tn.ones(2), 1, out=tn.empty(2, requires_grad=True)),
    ):
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(TypeError):
        tn.ones(2).add(1, out=tn.empty(2))
    with pytest.raises(TypeError):
        tn.add(tn.ones(2), 1, out=3)
    with tn.no_grad():
        assert tn.add(tn.ones(2, requires_grad=True), 1, out=tn.empty(2)).tolist() == [2, 2]


def test_out_may_be_an_operand():
    x = tn.tensor([1.0, 2.0])
    tn.mul(x, x, out=x)
    assert x.tolist() == [1, 4] and x._version == 1


def test_compiled_functions_with_out_stay_right():
    total = tn.zeros(2)

    @tn.compile
    def step(x):
        tn.add(total, x, out=total)
        return total * 2

    for k in range(4):
        assert step(tn.ones(2) * k).tolist() == [2 * sum(range(k + 1))] * 2


# ---- lists of tensors ----------------------------------------------------------------------------

CALLS = [
    lambda t, a, b: t._foreach_add(a, b, alpha=0.5),
    lambda t, a, b: t._foreach_add(a, 2),
    lambda t, a, b: t._foreach_mul(a, [2.0, 3.0]),
    lambda t, a, b: t._foreach_div(a, b),
    lambda t, a, b: t._foreach_sub(a, b),
    lambda t, a, b: t._foreach_pow(a, 2),
    lambda t, a, b: t._foreach_maximum(a, b),
    lambda t, a, b: t._foreach_lerp(a, b, 0.25),
    lambda t, a, b: t._foreach_addcmul(a, b, b, value=0.5),
    lambda t, a, b: t._foreach_addcdiv(a, b, b, [1.0, 2.0]),
    lambda t, a, b: t._foreach_sqrt(a),
    lambda t, a, b: t._foreach_neg(a),
    lambda t, a, b: t._foreach_reciprocal(a),
    lambda t, a, b: t._foreach_norm(a),
    lambda t, a, b: t._foreach_norm(a, 1),
    lambda t, a, b: t._foreach_max(a),
]
WRITES = [
    lambda t, a, b: t._foreach_add_(a, b, alpha=2),
    lambda t, a, b: t._foreach_mul_(a, 0.5),
    lambda t, a, b: t._foreach_sub_(a, b),
    lambda t, a, b: t._foreach_div_(a, [2.0, 4.0]),
    lambda t, a, b: t._foreach_lerp_(a, b, 0.5),
    lambda t, a, b: t._foreach_addcmul_(a, b, b, 3.0),
    lambda t, a, b: t._foreach_addcdiv_(a, b, b, value=0.1),
    lambda t, a, b: t._foreach_maximum_(a, 1.5),
    lambda t, a, b: t._foreach_sqrt_(a),
    lambda t, a, b: t._foreach_neg_(a),
    lambda t, a, b: t._foreach_reciprocal_(a),
    lambda t, a, b: t._foreach_zero_(a),
    lambda t, a, b: t._foreach_copy_(a, b),
]


def lists(t):
    return [t.tensor([1.0, 4.0]), t.tensor([[2.0]])], [t.tensor([3.0, 2.0]), t.tensor([[5.0]])]


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_foreach(number):
    for x, y in zip(
        CALLS[number](tn, *lists(tn)), CALLS[number](torch, *lists(torch)), strict=True
    ):
        same(x, y)


@pytest.mark.parametrize("number", range(len(WRITES)))
def test_foreach_in_place(number):
    (a, b), (p, q) = lists(tn), lists(torch)
    WRITES[number](tn, a, b)
    WRITES[number](torch, p, q)
    for x, y in zip(a, p, strict=True):
        same(x, y)


def test_foreach_of_lists_that_differ():
    with pytest.raises(RuntimeError):
        tn._foreach_add([tn.ones(1)], [tn.ones(1), tn.ones(1)])


# ---- constructors and types ----------------------------------------------------------------------


def test_types_by_name():
    for name in ("FloatTensor", "LongTensor", "IntTensor", "BoolTensor", "ByteTensor"):
        mine, theirs = getattr(tn, name), getattr(torch, name)
        assert mine(2, 3).shape == (2, 3)
        x, y = mine([1, 0]), theirs([1, 0])
        assert str(x.dtype).split(".")[1] == str(y.dtype).split(".")[1]
        assert x.tolist() == y.tolist()
        assert isinstance(x, mine) and not isinstance(x, tn.HalfTensor)
        assert mine().shape == (0,)
    assert tn.typename(tn.LongTensor([1])) == "tenon.LongTensor"
    with pytest.raises(TypeError):
        tn.set_default_tensor_type(tn.LongTensor)


def test_tensor_new():
    x = tn.tensor([1, 2])
    assert x.new([3]).dtype == tn.int64 and x.new(2, 2).shape == (2, 2) and x.new().numel() == 0


# ---- index_put, apply, sets ----------------------------------------------------------------------


def test_index_put():
    for accumulate in (False, True):
        results = []
        for t in (tn, torch):
            x = t.arange(12.0).reshape(3, 4)
            at = (t.tensor([2, 2, 0]), t.tensor([1, 1, 3]))
            x.index_put_(at, t.tensor([5.0, 6.0, 7.0]), accumulate)
            y = x.index_put((t.tensor([0, 2]), t.tensor([1, 0])), t.tensor(-1.0), accumulate)
            results.append((x, y))
        for a, b in zip(*results, strict=True):
            same(a, b)


def test_index_put_has_a_derivative():
    x = tn.ones(3, requires_grad=True)
    v = tn.tensor([2.0, 3.0], requires_grad=True)
    y = x.index_put((tn.tensor([0, 0]),), v, accumulate=True)
    (y * tn.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [1, 2, 3] and v.grad.tolist() == [1, 1]


def test_apply():
    assert tn.tensor([[1, 2]]).apply_(lambda v: v + 1).tolist() == [[2, 3]]
    assert tn.tensor([1.0, 2.0]).map_(tn.tensor([3.0, 4.0]), lambda a, b: a * b).tolist() == [3, 8]


def test_unique_of_rows():
    rng = np.random.default_rng(0)
    for shape, dim in (((20, 3), 0), ((3, 20), 1), ((5, 2, 3), -1), ((0, 3), 0), ((4, 9), 0)):
        values = rng.integers(0, 2, shape)
        for name in ("unique", "unique_consecutive"):
            options = {"return_inverse": True, "return_counts": True, "dim": dim}
            found = getattr(tn, name)(tn.tensor(values), **options)
            expected = getattr(torch, name)(torch.tensor(values), **options)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a.numpy(), b.numpy())


# ---- memory of others ----------------------------------------------------------------------------


def test_frombuffer():
    memory = bytearray(np.arange(4, dtype=np.int32).tobytes())
    x = tn.frombuffer(memory, dtype=tn.int32, count=2, offset=4)
    assert x.tolist() == [1, 2]
    memory[4] = 9
    assert x.tolist() == [9, 2]
    for wrong in ({"offset": 1}, {"count": 9}, {"offset": 99}):
        with pytest.raises(ValueError):
            tn.frombuffer(memory, dtype=tn.int32, **wrong)


def test_checks():
    tn._check(True)
    with pytest.raises(RuntimeError, match="no"):
        tn._check(False, lambda: "no")
    with pytest.raises(IndexError):
        tn._check_index(False)
    with pytest.raises(RuntimeError):
        tn._check_is_size(-1)
    with pytest.raises(AssertionError):
        tn._assert(tn.tensor(False), "no")
    with pytest.raises(RuntimeError):
        tn._assert_async(tn.tensor(0))


def test_storages():
    x = tn.arange(6.0).reshape(2, 3)
    assert x[1].untyped_storage() == x.t().untyped_storage() != tn.ones(6).untyped_storage()
    assert x[1].untyped_storage().nbytes() == torch.arange(6.0)[1:].untyped_storage().nbytes()
    assert x.t().storage().tolist() == [0, 1, 2, 3, 4, 5] and x[1].storage()[4] == 4
    assert x[1].data_ptr() - x.storage().data_ptr() == 3 * x.element_size()


def test_gradient_and_static_shapes():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 5))
    places = np.cumsum(rng.uniform(0.5, 1.5, 5))
    for options in ({}, {"edge_order": 2}, {"spacing": 0.5, "dim": 1}, {"dim": (1, 0)}):
        found = tn.gradient(tn.tensor(values), **options)
        expected = torch.gradient(torch.tensor(values), **options)
        for a, b in zip(found, expected, strict=True):
            same(a, b)
    for order in (1, 2):
        (found,) = tn.gradient(
            tn.tensor(values), spacing=(tn.tensor(places),), dim=1, edge_order=order
        )
        (expected,) = torch.gradient(
            torch.tensor(values), spacing=(torch.tensor(places),), dim=1, edge_order=order
        )
        same(found, expected)
    with pytest.raises(RuntimeError):
        tn.gradient(tn.ones(1))
    flags = tn.tensor([[0, 1], [1, 0]])
    batch = tn.func.vmap(lambda row: tn.nonzero_static(row, size=3))(flags)
    assert batch.squeeze(2).tolist() == [[1, -1, -1], [0, -1, -1]]

"""Views by strides, writes through them, and methods that change what an object shows: the same
program in PyTorch and here."""

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")


def overlapping_write(t):
    x = t.arange(8.0)
    windows = x.unfold(0, 3, 2)
    windows.copy_(t.tensor([5.0, 7.0, 5.0]))  # the same for elements that stand twice
    x.mul_(2)
    return x, windows, windows[1:].sum(0)


def disjoint_write(t):
    x = t.arange(12.0).reshape(3, 4)
    x.unfold(1, 2, 2)[:, 1].zero_()
    return (x,)


def diagonal_write(t):
    x = t.zeros(3, 4, 2)
    x.diagonal(1, 1, 0).add_(5)
    x.transpose(0, 1).diagonal()[0] = t.tensor([1.0, 2.0, 3.0])
    return x, x.diagonal(-1), x.diagonal(0, 2, 1)


def strided_write(t):
    x = t.arange(12.0).reshape(3, 4).t()
    square = x.as_strided((2, 2), (1, 3), 1)
    square.mul_(-1)
    x += 1
    return x, square, t.as_strided(x, (3,), (5,)), x[1:].as_strided((2,), (2,))


def strides_and_offsets(t):
    x = t.arange(24).reshape(2, 3, 4)
    views = [x.unfold(2, 2, 1), x[1].diagonal(1), x.permute(2, 0, 1).unfold(0, 3, 1)]
    views += [x.as_strided((2, 2), (3, 5), 2), x.unfold(2, 2, 2)[..., 1], x[:, 0].unfold(1, 4, 1)]
    return [t.tensor([*v.stride(), v.storage_offset()]) for v in views] + views


def in_place_shapes(t):
    x = t.arange(6.0).reshape(2, 3)
    same = x
    x.unsqueeze_(0).squeeze_(0).t_().transpose_(0, 1).swapaxes_(0, 1)
    same.add_(1)
    y = t.arange(6.0)
    y.as_strided_((2, 2), (1, 2))
    y += 10
    return x, same, y


def resized(t):
    x = t.arange(6.0)
    x.resize_(2, 2)
    x.add_(1)
    y = t.arange(3.0)[1:]
    y.resize_(1, 2)
    z = t.zeros(2)
    z.set_(x)
    z.mul_(3)
    return x, y, z, t.arange(6.0).resize_as_(t.ones(3, 2))


def under_no_grad(t):
    x = t.arange(6.0, requires_grad=True)
    with t.no_grad():
        view = x.unfold(0, 2, 1)
    y = x.unfold(0, 2, 1) * 2 + view
    (y * y).sum().backward()
    return x.grad, x.detach().unfold(0, 2, 2)


def gradients_through_writes(t):
    x = t.arange(5.0, requires_grad=True)
    y = x * 2
    y.unfold(0, 2, 2).mul_(3)
    y.as_strided((2,), (2,), 1).pow_(2)
    z = t.zeros(3, 3)
    z.diagonal().copy_(y[:3])
    ((y * y).sum() + (z * z).sum()).backward()
    return x.grad, y, z


PROGRAMS = [
    *(overlapping_write, disjoint_write, diagonal_write, strided_write, strides_and_offsets),
    *(in_place_shapes, resized, under_no_grad, gradients_through_writes),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_as_pytorch(program):
    for found, expected in zip(program(tn), program(torch), strict=True):
        assert tuple(found.shape) == tuple(expected.shape)
        np.testing.assert_array_equal(found.detach().numpy(), expected.detach().numpy())


def test_numpy_shares_a_strided_view():
    x = tn.arange(6.0)
    windows = x.unfold(0, 3, 1).numpy()
    x.add_(1)
    np.testing.assert_array_equal(windows[2], [3, 4, 5])


def test_vmap_and_higher_derivatives():
    x = tn.randn(2, 5, dtype=tn.float64)

    def energy(v):
        return (v.unfold(0, 3, 1).prod(-1) ** 2).sum() + (v.as_strided((2,), (3,)) ** 3).sum()

    many = tn.func.vmap(tn.func.grad(energy))(x)
    one = tn.stack([tn.func.grad(energy)(row) for row in x])
    np.testing.assert_allclose(many.numpy(), one.numpy())
    hessian = tn.func.hessian(energy)(x[0]).numpy()
    expected = torch.autograd.functional.hessian(energy, torch.tensor(x[0].numpy()))
    np.testing.assert_allclose(hessian, expected.numpy(), atol=1e-12)


def test_what_is_refused():
    leaf = tn.ones(2, requires_grad=True)
    for write in (
        lambda: leaf.unsqueeze_(0),
        lambda: leaf.resize_(3),
        lambda: tn.ones(3).resize_(-1),
        lambda: tn.ones(3).as_strided((2,), (3,)),
        lambda: tn.ones(3).as_strided((2,), (-1,)),
        lambda: tn.ones(2).set_(tn.ones(2, dtype=tn.int64)),
    ):
        with pytest.raises(RuntimeError):
            write()
    with tn.no_grad():
        leaf.unsqueeze_(0)
    assert leaf.is_leaf and leaf.requires_grad and leaf.shape == (1, 2)


def test_fill_diagonal():
    for shape, wrap in (((3, 4), False), ((8, 3), True), ((4, 3), False), ((3, 3, 3), False)):
        found = tn.zeros(*shape).fill_diagonal_(2.5, wrap=wrap)
        expected = torch.zeros(*shape).fill_diagonal_(2.5, wrap=wrap)
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
    with pytest.raises(RuntimeError):
        tn.zeros(3).fill_diagonal_(1)
    with pytest.raises(RuntimeError):
        tn.zeros(3, 3, 2).fill_diagonal_(1)

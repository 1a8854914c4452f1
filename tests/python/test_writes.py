"""In-place writes through modes and views. PyTorch, running the same function, is the judge."""

from __future__ import annotations

import pytest

import tenon as tn

torch = pytest.importorskip("torch")


def plain(value):
    """Tensors as lists, the rest as it is."""
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    return value.detach().tolist() if isinstance(value, (tn.Tensor, torch.Tensor)) else value


def leaf_and_result(m):
    x = m.tensor([1.0, 2.0, 3.0], requires_grad=True)
    return x, x * 3


# ---- under no_grad: the value changes, the derivative is that of what was there -----------------


def add(m):
    x, y = leaf_and_result(m)
    with m.no_grad():
        y.add_(1)
    y.sum().backward()
    return y.requires_grad, y.is_leaf, y, x.grad


def set_an_element(m):
    x, y = leaf_and_result(m)
    with m.no_grad():
        y[0] = 1
    y.sum().backward()
    return y.requires_grad, y, x.grad


def through_detach(m):
    x, y = leaf_and_result(m)
    y.detach().add_(1)
    y.detach()[1] = 5
    y.sum().backward()
    return y.requires_grad, y, x.grad


def through_data(m):
    x, y = leaf_and_result(m)
    y.data.mul_(2)
    y.sum().backward()
    return y.requires_grad, y, x.grad


def through_a_view(m):
    x, y = leaf_and_result(m)
    view = y[:2]
    with m.no_grad():
        view.mul_(10)
    state = y.requires_grad, view.requires_grad, y, view
    (y.sum() + view.sum()).backward()
    return plain(state), x.grad


def to_the_base_of_a_view(m):
    x, y = leaf_and_result(m)
    view = y[:2]
    with m.no_grad():
        y.mul_(10)
    state = y.requires_grad, view.requires_grad, y, view
    (y.sum() + view.sum()).backward()
    return plain(state), x.grad


def through_a_view_of_a_view(m):
    x, y = leaf_and_result(m)
    column = y.view(3, 1)
    row = column[1]
    with m.no_grad():
        row.fill_(4.0)
    (row.sum() * 5 + column.sum() * 7 + y.sum()).backward()
    return row.requires_grad, y, x.grad


def after_reads(m):
    x, y = leaf_and_result(m)
    y.sum().item()
    with m.no_grad():
        y.add_(1)
    y.sum().item()
    with m.no_grad():
        y[1:].mul_(2)
    y.sum().backward()
    return y, x.grad


def copy_of_what_requires_grad(m):
    x, y = leaf_and_result(m)
    zeros, more = m.zeros(3), m.zeros(3)
    with m.no_grad():
        zeros.copy_(y)
        more[:2].copy_(y[:2])
        y.copy_(x)
    y.sum().backward()
    return zeros.requires_grad, more.requires_grad, zeros, more, y, x.grad


def then_in_grad_mode(m):
    x, y = leaf_and_result(m)
    with m.no_grad():
        y.detach()[0] = 9
        y.add_(1)
    y.mul_(2)
    y.sum().backward()
    return y, x.grad


def of_a_leaf(m):
    x = m.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with m.no_grad():
        x.add_(1)
        x[0] = 5
    (x * x).sum().backward()
    return x.requires_grad, x.is_leaf, x, x.grad


def inside_grad(m):
    def f(x):
        y = x * 3
        with m.no_grad():
            y.mul_(2)
            y[0] = 7
        return (y * y).sum()

    return m.func.grad(f)(m.tensor([1.0, 2.0]))


def inside_jvp(m):
    def f(x):
        y = x * 3
        with m.no_grad():  # which blocks reverse mode alone
            y.mul_(2)
            y[0] = x[1]
        return y

    return m.func.jvp(f, (m.tensor([1.0, 2.0]),), (m.tensor([1.0, 10.0]),))


def inside_grad_of_jvp(m):
    def f(x):
        y = x * 3
        with m.no_grad():
            y.mul_(x)
        return y

    def g(x):
        value, tangent = m.func.jvp(f, (x,), (m.ones(2),))
        return (value + tangent * 10).sum()

    return m.func.grad(g)(m.tensor([1.0, 2.0]))


def inside_vmap_of_grad(m):
    def f(x):
        y = x * 3
        with m.no_grad():
            y.add_(x)
        return (y * x).sum()

    return m.func.vmap(m.func.grad(f))(m.tensor([[1.0, 2.0], [3.0, 4.0]]))


UNDER_NO_GRAD = [
    add, set_an_element, through_detach, through_data, through_a_view, to_the_base_of_a_view,
    through_a_view_of_a_view, after_reads, copy_of_what_requires_grad, then_in_grad_mode, of_a_leaf,
    inside_grad, inside_jvp, inside_grad_of_jvp, inside_vmap_of_grad,
]  # fmt: skip


@pytest.mark.parametrize("program", UNDER_NO_GRAD, ids=lambda f: f.__name__)
def test_writes_under_no_grad(program):
    assert plain(program(tn)) == plain(program(torch))


# ---- expanded tensors: a part in which no element stands twice can be written --------------------


def expanded(m):
    base = m.arange(3.0).reshape(1, 3)
    return base, base.expand(2, 3)


def a_row(m):
    base, x = expanded(m)
    x[0] = 5.0
    return x, base


def an_element(m):
    base, x = expanded(m)
    x[1, 0] = 5.0
    return x, base


def a_row_of_new_dimensions(m):
    base = m.arange(3.0)
    x = base.expand(2, 4, 3)
    x[1:, 2] += m.tensor([1.0, 2.0, 3.0])
    return x, base


def a_column_of_the_transpose(m):
    base, x = expanded(m)
    x.t()[:, 1].mul_(m.tensor([1.0, 2.0, 3.0]))
    return x, base


def an_element_of_a_regrouped_view(m):
    base = m.ones(1, 1)
    x = base.expand(2, 3).view(6)
    x[2] = 7
    return x, base


def a_row_from_another(m):
    base, x = expanded(m)
    x[0].copy_(x[1].flip(0))
    return x, base


def one_number_everywhere(m):
    base, x = expanded(m)
    x.fill_(5.0)
    y = m.arange(3.0).expand(4, 2, 3)
    y[:, 1].zero_()
    return x, base, y


def nothing(m):
    base = m.ones(1, 3)
    x = base.expand(0, 3)
    x.add_(5.0)
    return x, base


def with_derivatives(m):
    leaf = m.ones(1, 3, requires_grad=True)
    weight = m.tensor([2.0, 3.0], requires_grad=True)
    base = leaf * 2
    x = base.expand(2, 3)
    x[1, 1:] = weight * 3
    (x * m.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])).sum().backward()
    return x, base, leaf.grad, weight.grad


PARTS = [
    a_row, an_element, a_row_of_new_dimensions, a_column_of_the_transpose,
    an_element_of_a_regrouped_view, a_row_from_another, one_number_everywhere,
    nothing, with_derivatives,
]  # fmt: skip


@pytest.mark.parametrize("program", PARTS, ids=lambda f: f.__name__)
def test_writes_to_a_part_of_an_expanded_tensor(program):
    assert plain(program(tn)) == plain(program(torch))


def test_derivative_of_one_number_everywhere():
    """Judged by hand: PyTorch has no derivative of this."""
    leaf, number = tn.ones(1, 3, requires_grad=True), tn.tensor(2.0, requires_grad=True)
    x = (leaf * 2).expand(2, 3)
    kept = x * 1
    x.fill_(number)
    (x + kept).sum().backward()
    assert leaf.grad.tolist() == [[4, 4, 4]]  # through what was kept, of two rows
    assert number.grad.item() == 6


@pytest.mark.parametrize(
    "write",
    [
        lambda m, x: x.add_(1),
        lambda m, x: x.__setitem__((slice(None), 0), 5.0),
        lambda m, x: x.__setitem__(..., m.zeros(2, 3)),
        lambda m, x: x.scatter_(0, m.tensor([[0, 0, 0]]), 5.0),
    ],
)
def test_writes_to_elements_that_stand_several_times(write):
    for m in (torch, tn):
        base, x = expanded(m)
        with pytest.raises(RuntimeError, match=r"more than one element .* clone\(\)"):
            write(m, x)
        assert base.tolist() == [[0.0, 1.0, 2.0]]

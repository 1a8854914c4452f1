"""What happens inside transforms: blocked derivatives, backward, reads, writes, exceptions."""

from __future__ import annotations

import gc
import itertools
import traceback

import numpy as np
import pytest

import tenon as tn
from tenon.func import (
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    vjp,
    vmap,
)
from tests.python.derivative_judges import (
    COTANGENT,
    DIRECTION,
    POINT,
    N,
    close,
    directional,
    double,
    jacobian,
    on_arrays,
    smooth,
)

# ---- what blocks derivatives --------------------------------------------------------------------


def test_detach_inside():
    x = tn.tensor(3.0)
    assert grad(lambda x: x * x.detach())(x).item() == 3.0
    assert jvp(lambda x: x * x.detach(), (x,), (tn.tensor(1.0),))[1].item() == 3.0
    assert grad(grad(lambda x: x * x * x.detach()))(x).item() == 6.0


def test_no_grad_inside():
    x, one = tn.tensor(3.0), tn.tensor(1.0)

    def f(x):
        with tn.no_grad():
            frozen = x * x
        return frozen * x

    assert grad(f)(x).item() == 9.0
    assert jvp(f, (x,), (one,))[1].item() == 27.0  # forward mode passes through no_grad
    # Reverse over forward: the tangent of what no_grad covered has no gradient either.
    tangent = lambda x: jvp(f, (x,), (one,))[1]  # noqa: E731
    assert grad(tangent)(x).item() == 6.0  # of (2x)_blocked x + (x x)_blocked
    close(vmap(grad(f))(tn.tensor([1.0, 2.0])), [1.0, 4.0])


def test_no_grad_outside_does_not_reach_in():
    x = tn.tensor(3.0, requires_grad=True)
    with tn.no_grad():
        gradient = grad(lambda x: x * x)(x)
    assert gradient.item() == 6.0 and not gradient.requires_grad


def test_enable_grad_inside_no_grad():
    w = tn.tensor(2.0, requires_grad=True)
    with tn.no_grad():

        def f(x):
            with tn.enable_grad():
                return w * x * x

        gradient = grad(f)(tn.tensor(3.0))
    assert gradient.item() == 12.0


# ---- backward inside ----------------------------------------------------------------------------


def test_backward_on_an_outer_leaf_inside_grad():
    w = tn.tensor(2.0, requires_grad=True)

    def f(x):
        (w * w * w).backward()
        return x * w.grad

    assert grad(f)(tn.tensor(5.0)).item() == 12.0
    assert w.grad.item() == 12.0  # and it stays
    with tn.no_grad():
        w.grad.zero_()
    assert vmap(lambda x: x * 2)(tn.ones(2)).sum().item() == 4.0


def test_backward_on_an_inner_leaf():
    def f(x):
        y = x.detach().requires_grad_()
        (y * y * y).sum().backward()
        return (y.grad * x).sum()

    close(grad(f)(double(POINT)), 3 * POINT**2)  # y.grad is a constant
    close(vmap(f)(double(np.stack([POINT, 2 * POINT]))), 3 * np.array([1, 8]) * (POINT**3).sum())


def test_backward_through_the_variable_of_grad():
    w = tn.tensor(2.0, requires_grad=True)

    def f(x):
        (w * x * x).backward()  # its .grad depends on x, but create_graph is off
        return x * w.grad

    assert grad(f)(tn.tensor(3.0)).item() == 9.0
    assert w.grad.item() == 9.0


def test_autograd_grad_with_create_graph_inside_grad():
    def f(x):
        w = tn.tensor(2.0, requires_grad=True)
        (g,) = tn.autograd.grad(w * w * x, w, create_graph=True)
        return g * x  # 4 x^2

    assert grad(f)(tn.tensor(3.0)).item() == 24.0
    assert grad(grad(f))(tn.tensor(3.0)).item() == 8.0
    close(vmap(grad(f))(tn.tensor([1.0, 2.0])).detach(), [8.0, 16.0])


def test_training_step_inside_grad():
    """The gradient of a loss after one inner step, by the learning rate."""

    def after_a_step(rate):
        w = tn.tensor([1.0, -2.0], dtype=tn.float64)
        return ((w - rate * grad(lambda w: (w**4).sum())(w)) ** 2).sum()

    expected = directional(on_arrays(after_a_step), np.array(0.05), np.array(1.0), 1e-3)
    close(grad(after_a_step)(double(0.05)), expected, 1e-8)


def test_batched_backward_to_an_outer_leaf_is_refused():
    w = tn.tensor(2.0, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"func\.grad inside vmap"):
        vmap(lambda x: (w * x).backward() or x)(tn.ones(3))
    assert w.grad is None


# ---- reads and flushes --------------------------------------------------------------------------


def test_branches_on_values_inside_grad():
    def f(x):
        if x.item() > 0:
            return x * x
        return -x * 3

    assert grad(f)(tn.tensor(2.0)).item() == 4.0
    assert grad(f)(tn.tensor(-2.0)).item() == -3.0
    assert grad(grad(f))(tn.tensor(2.0)).item() == 2.0
    assert jvp(grad(f), (tn.tensor(2.0),), (tn.tensor(1.0),))[1].item() == 2.0


def test_reads_in_the_middle_of_nests():
    def f(x):
        y = tn.sin(x) * x
        while y.abs().sum() > 0.5:
            y = y * 0.5
            repr(y)
        y[0] += float(y[1].detach()) * 0
        return (y * x).sum()

    expected = jacobian(on_arrays(f), POINT)
    close(grad(f)(double(POINT)), expected, 1e-8)
    close(hessian(f)(double(POINT)), jacobian(on_arrays(grad(f)), POINT), 1e-7)
    close(jacfwd(jacrev(f))(double(POINT)), jacobian(on_arrays(grad(f)), POINT), 1e-7)


def test_pullback_after_flushes():
    f = lambda x: (smooth(tn, x), (x * x).sum())  # noqa: E731
    (y, z), pull = vjp(f, double(POINT))
    y.sum().item()
    z.item()
    for _ in range(3):
        zero = double(np.zeros(N))
        close(pull((zero, double(2.0))), 4 * POINT)
        junk = tn.ones(10) * 3
        assert junk.sum().item() == 30.0
        expected = COTANGENT @ jacobian(on_arrays(lambda x: f(x)[0]), POINT)
        close(pull((double(COTANGENT), double(0.0))), expected, 1e-8)
        gc.collect()


def test_pullback_inside_another_transform_after_a_read():
    def outer(x):
        y, pull = vjp(lambda a: a * a * x, x)
        assert np.isfinite(y.sum().item())
        return pull(x)  # 2 x^3

    close(grad(lambda x: outer(x).sum())(double(POINT)), 6 * POINT**2)
    close(jvp(outer, (double(POINT),), (double(DIRECTION),))[1], 6 * POINT**2 * DIRECTION)


def test_pullback_of_a_finished_transform_inside_another():
    _, pull = vjp(lambda a: tn.sin(a), double(POINT))
    tn.ones(3).sum().item()
    close(grad(lambda c: (pull(c) * c).sum())(double(COTANGENT)), 2 * np.cos(POINT) * COTANGENT)
    close(vmap(pull)(tn.eye(N, dtype=tn.float64)), np.diag(np.cos(POINT)))


def test_reading_a_batched_value_names_the_line_and_the_remedy():
    def f(x):
        y = x * 2
        if y.sum() > 0:
            return y
        return -y

    with pytest.raises(RuntimeError, match=r"under vmap.*where.*cond") as caught:
        vmap(f)(tn.ones(3, 2))
    here = [f for f in traceback.extract_tb(caught.value.__traceback__) if f.filename == __file__]
    assert here[-1].line == "if y.sum() > 0:"
    for read in (lambda x: x.sum().item(), lambda x: x.numpy(), lambda x: x.tolist()):
        with pytest.raises(RuntimeError, match="under vmap"):
            vmap(read)(tn.ones(3, 2))
    # What is the same for all examples can be read.
    outer = tn.ones(2)
    close(vmap(lambda x: x * outer.sum().item())(tn.ones(3)), [2, 2, 2])


def test_unbatched_values_are_read_inside_vmap():
    def f(x):
        g = grad(lambda y: y * y)(tn.tensor(3.0))
        return x * g.item()

    close(vmap(f)(tn.ones(2)), [6, 6])


# ---- writes to what lies outside ----------------------------------------------------------------


def test_writes_to_an_argument_of_vmap_reach_the_batch():
    batch = tn.zeros(3, 2)
    vmap(lambda x, a: x.add_(a), in_dims=(0, 0))(batch, tn.arange(3).float())
    close(batch, [[0, 0], [1, 1], [2, 2]])


def test_a_batched_value_cannot_be_written_outside():
    outer = tn.zeros(2)
    with pytest.raises(RuntimeError, match="out-of-place"):
        vmap(lambda x: outer.add_(x))(tn.ones(3, 2))
    close(outer, [0, 0])


def test_a_write_to_an_outer_tensor_inside_grad_is_kept():
    seen = tn.zeros(())

    def f(x):
        with tn.no_grad():
            seen.add_(1)
            seen.mul_(5)
        return x * x * seen

    assert grad(f)(tn.tensor(3.0)).item() == 30.0
    assert seen.item() == 5.0


def test_tensors_kept_from_a_finished_vmap_are_refused():
    kept = []
    vmap(lambda x: kept.append(x) or x)(tn.ones(3))
    with pytest.raises(RuntimeError, match="vmap that has ended"):
        kept[0] + 1
    assert (tn.ones(2) + 1).tolist() == [2, 2]


# ---- exceptions ---------------------------------------------------------------------------------


class Planned(Exception):
    pass


WRAPPERS = {
    "grad": lambda f: grad(lambda x: f(x).sum()),
    "vjp": lambda f: lambda x: vjp(f, x)[1](tn.ones_like(x)),
    "jvp": lambda f: lambda x: jvp(f, (x,), (tn.ones_like(x),))[1],
    "vmap": vmap,
    "jacrev": jacrev,
    "jacfwd": jacfwd,
    "no_grad": lambda f: tn.no_grad(f),
    "different": lambda f: vmap(f, randomness="different"),
}


DEEP = [
    ("grad", "vmap", "jvp", "vmap", "jacrev"),
    ("jacfwd", "jacrev", "no_grad", "vjp"),
    ("vmap", "no_grad", "grad", "jvp"),
]


@pytest.mark.parametrize("names", [*itertools.product(WRAPPERS, repeat=2), *DEEP], ids="-".join)
def test_an_exception_restores_the_state(names):
    leaf = tn.tensor([1.0, 2.0], requires_grad=True)
    held = leaf * 2

    def raises(x):
        y = tn.sin(x) * held.sum()
        y.mul_(2)
        raise Planned

    f = raises
    for name in reversed(names):
        f = WRAPPERS[name](f)
    with pytest.raises(Planned) as caught:  # noqa: F841 - its traceback keeps the frames alive
        f(tn.ones(2, 2))
    with pytest.raises(RuntimeError):
        WRAPPERS[names[0]](lambda x: x @ tn.ones(5))(tn.ones(2, 2))
    assert tn.is_grad_enabled()
    held.sum().backward()
    close(leaf.grad, [2, 2])
    close(grad(lambda x: (x**3).sum())(tn.tensor([1.0, 2.0])), [3, 12])
    close(vmap(grad(lambda x: x * x))(tn.tensor([1.0, 2.0])), [2, 4])
    close(hessian(lambda x: (x**3).sum())(tn.tensor([1.0])), [[6]])
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(lambda x: x + tn.rand(()))(tn.ones(2))


def test_wrong_uses_say_what_is_wrong():
    x = tn.ones(3)
    with pytest.raises(RuntimeError, match="scalar"):
        grad(lambda x: x * 2)(x)
    with pytest.raises(RuntimeError, match="argnum"):
        grad(lambda x: x.sum(), argnums=1)(x)
    with pytest.raises(RuntimeError, match="size"):
        jvp(lambda x: x, (x,), (tn.ones(2),))
    with pytest.raises(RuntimeError, match="size"):
        vjp(lambda x: x, x)[1](tn.ones(2))
    with pytest.raises(ValueError, match="same size"):
        vmap(lambda a, b: a + b)(tn.ones(2), tn.ones(3))
    with pytest.raises(ValueError, match="dimension"):
        vmap(lambda a: a, in_dims=1)(x)
    with pytest.raises(ValueError, match="only return Tensors"):
        vmap(lambda a: 1.0)(x)
    assert grad(lambda x: x.sum())(x).tolist() == [1, 1, 1]


# ---- random numbers -----------------------------------------------------------------------------


def test_randomness_of_vmap():
    x = tn.zeros(64, 8)
    with pytest.raises(RuntimeError, match=r"randomness=.different.*randomness=.same"):
        vmap(lambda a: a + tn.rand(8))(x)
    same = vmap(lambda a: a + tn.rand(8), randomness="same")(x).numpy()
    assert (same == same[0]).all() and len(np.unique(same[0])) == 8
    different = vmap(lambda a: a + tn.rand(8), randomness="different")(x).numpy()
    assert len(np.unique(different)) == 64 * 8
    assert abs(different.mean() - 0.5) < 0.06


def test_random_numbers_of_nested_vmaps():
    x = tn.zeros(4, 5)
    draw = lambda a: a + tn.rand(())  # noqa: E731
    both = vmap(vmap(draw, randomness="different"), randomness="different")(x).numpy()
    assert len(np.unique(both)) == 20
    inner = vmap(vmap(draw, randomness="different"), randomness="same")(x).numpy()
    assert (inner == inner[0]).all() and len(np.unique(inner)) == 5
    outer = vmap(vmap(draw, randomness="same"), randomness="different")(x).numpy()
    assert (outer == outer[:, :1]).all() and len(np.unique(outer)) == 4


def test_random_numbers_repeat_and_are_constants_of_derivatives():
    def f(x):
        return (x * tn.rand(3)).sum()

    tn.manual_seed(3)
    expected = tn.rand(3).numpy()
    tn.manual_seed(3)
    close(grad(f)(tn.ones(3)), expected, 1e-7)
    tn.manual_seed(3)
    noisy = vmap(grad(f), randomness="different")(tn.ones(4, 3)).numpy()
    tn.manual_seed(3)
    again = vmap(grad(f), randomness="different")(tn.ones(4, 3)).numpy()
    assert (noisy == again).all() and len(np.unique(noisy)) == 12


def test_dropout_in_per_example_gradients():
    def f(x):
        return tn.nn.functional.dropout(x, 0.5, True).sum()

    masks = vmap(grad(f), randomness="different")(tn.ones(8, 50)).numpy()
    assert set(np.unique(masks)) == {0.0, 2.0}
    assert not (masks == masks[0]).all()


# ---- what is left behind ------------------------------------------------------------------------


def test_transforms_leave_no_cycles():
    """Else tensors would live, and plans would have to compute them, until the collector comes."""
    x = double(np.stack([POINT, 2 * POINT]))

    def run():
        f = lambda x: (smooth(tn, x) ** 2).sum()  # noqa: E731
        vmap(hessian(f))(x).numpy()
        jacrev(lambda x: {"a": smooth(tn, x), "b": [x.sum()]})(x)["a"].numpy()
        jvp(grad(f), (x,), (x,))[1].numpy()
        vjp(f, x)[1](double(1.0)).numpy()

    run()
    gc.collect()
    gc.disable()
    try:
        run()
        assert gc.collect() == 0
    finally:
        gc.enable()


# ---- structures ---------------------------------------------------------------------------------


def test_trees_of_arguments_and_auxiliary_results():
    def f(p, x):
        y = p["w"] * x + p["b"][0]
        return (y**2).sum(), {"y": y, "name": "linear"}

    p = {"w": double(POINT), "b": [double(0.5)]}
    (gradients, (value, aux)) = grad_and_value(f, has_aux=True)(p, double(DIRECTION))
    y = POINT * DIRECTION + 0.5
    close(gradients["w"], 2 * y * DIRECTION)
    close(gradients["b"][0], (2 * y).sum())
    close(value, (y**2).sum())
    close(aux["y"], y)
    assert aux["name"] == "linear"
    both = grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(double(POINT), double(DIRECTION))
    close(both[0], DIRECTION)
    close(both[1], POINT)


def test_vmap_dims_and_chunks():
    x, w = np.arange(24.0).reshape(2, 3, 4), np.arange(3.0)
    f = lambda a, w: (a * w).sum(1)  # noqa: E731
    expected = np.stack([(x[:, :, k] * w).sum(1) for k in range(4)], 1)
    for chunk_size in (None, 1, 3, 4, 9):
        g = vmap(f, in_dims=(2, None), out_dims=1, chunk_size=chunk_size)
        close(g(double(x), double(w)), expected)
    none = vmap(lambda a: (a, tn.ones(2)), out_dims=(0, None))(double(w))
    assert none[0].shape == (3,) and none[1].shape == (2,)


def test_an_empty_batch():
    assert vmap(grad(lambda x: (x * x).sum()))(tn.ones(0, 3)).shape == (0, 3)
    assert vmap(lambda x: x.sum())(tn.ones(0, 3)).shape == (0,)

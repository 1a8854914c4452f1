"""Programs that the fuzzer found, made small: each once differed between two runs of itself."""

from __future__ import annotations

import numpy as np
import pytest

import tenon as tn


def gradient_of_three_uses(read: str, weights: tuple[float, float, float]) -> float:
    """Sums three contributions whose order the result shows; `read` looks at a view before."""
    x = tn.tensor([1.0], requires_grad=True)
    view = x.expand(1, 1)
    kept = []
    if read == "numpy":
        kept.append(view.detach().numpy())
    elif read == "flag":
        kept.append(view.requires_grad)
    elif read == "print":
        kept.append(repr(view))
    a, b, c = weights
    loss = (x * a).sum() + (view * b).sum() + (x.repeat_interleave(1, 0) * c).sum()
    loss.backward()
    assert x.grad is not None
    return float(x.grad.item())


@pytest.mark.parametrize("read", ["numpy", "flag", "print"])
@pytest.mark.parametrize("weights", [(1e8, -1e8, 1.0), (1e8, 1.0, -1e8), (1.0, 1e8, -1e8)])
def test_looking_at_a_view_keeps_the_bits_of_gradients(
    read: str, weights: tuple[float, float, float]
) -> None:
    plain = gradient_of_three_uses("", weights)
    assert gradient_of_three_uses(read, weights) == plain


def test_whether_a_view_requires_grad() -> None:
    x = tn.ones(2, 3, requires_grad=True)
    y = x * 2
    assert y[0].requires_grad and x.T.requires_grad and y.T[0].requires_grad
    assert not y.detach()[0].requires_grad and not y[0].detach().requires_grad
    with tn.no_grad():
        blocked = y[0]
    assert not blocked.requires_grad
    z = tn.zeros(2, 3)
    part = z[1]
    assert not part.requires_grad
    z.add_(y)
    assert part.requires_grad  # its base has a history now
    part.sum().backward()
    assert np.array_equal(x.grad.numpy(), [[0, 0, 0], [2, 2, 2]])  # type: ignore[union-attr]


def test_a_whole_reduction_of_what_another_one_gave() -> None:
    """A kernel of full reductions has one pass: the second derivative sums what the first gave."""
    x = tn.tensor(0.3, requires_grad=True)
    y = x - tn.tensor([1.25, 1.5, 1.75])
    loss = (y * 0.5).sin().sum() + (y.sum() * 0.5).sin().sum()
    (gradient,) = tn.autograd.grad(loss, [x], create_graph=True)
    (gradient * 0.5).sin().sum().backward()
    z = 0.3 - np.array([1.25, 1.5, 1.75])
    first = (0.5 * np.cos(z * 0.5)).sum() + 1.5 * np.cos(z.sum() * 0.5)
    second = (-0.25 * np.sin(z * 0.5)).sum() - 2.25 * np.sin(z.sum() * 0.5)
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(0.5 * np.cos(first * 0.5) * second, rel=1e-5)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("expanded", [False, True])
def test_a_tensor_keeps_its_strides_when_a_transposed_value_is_written(
    cut: bool, expanded: bool
) -> None:
    """The written value lies in another order in memory than the tensor shows."""
    x = tn.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    y = tn.zeros(3, 2) + x[0, 0] * 0
    y.copy_(x[0].expand(2, 3).T * 1 if expanded else x.T * 0.5)
    z = y * y
    if cut:
        tn.eval(z)
    a = x.detach().numpy()
    wanted = np.broadcast_to(a[0], (2, 3)).T if expanded else a.T * 0.5
    assert np.array_equal(z.tolist(), wanted * wanted)
    assert np.array_equal((y * 1).tolist(), wanted)
    z.backward(tn.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    assert x.grad is not None
    g = 2 * wanted * np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    gradient = np.stack([g.sum(1), g.sum(1) * 0]) if expanded else 0.5 * g.T
    assert np.allclose(x.grad.numpy(), gradient)


def test_linearize_draws_once() -> None:
    def f(x: tn.Tensor) -> tn.Tensor:
        return x * tn.rand(3)

    x = tn.ones(3)
    tn.manual_seed(5)
    value, differential = tn.func.linearize(f, x)
    state = tn.get_rng_state()
    assert np.array_equal(differential(x).numpy(), value.numpy())
    assert np.array_equal(differential(x).numpy(), value.numpy())
    assert tn.get_rng_state() == state


@pytest.mark.parametrize("seed", range(5))
def test_second_gradients_past_a_write_under_no_grad_keep_their_bits(seed: int) -> None:
    """The write is a place of its own where cotangents gather, also if its base was cut off."""

    def second_gradient(cut: bool) -> list[float]:
        tn.manual_seed(seed)
        x = tn.randn(2, 3, 3, dtype=tn.float64)
        x.requires_grad_(True)
        y = x / ((x + 0.0117).abs() + 0.5)
        if cut:
            tn.eval(y)
        with tn.no_grad():
            y.sub_(x * 0.25)
        y.sub_(y.clamp(-3, 3) * 0.25)
        (gradient,) = tn.autograd.grad((y * 0.5).sin().sum(), [x], create_graph=True)
        (gradient * 0.5).sin().sum().backward()
        assert x.grad is not None
        return list(x.grad.ravel().tolist())

    assert second_gradient(True) == second_gradient(False)


def test_numpy_of_an_empty_part_past_the_end():
    x = tn.arange(6.0).reshape(2, 3)
    late = x[1::2]
    for empty in (late[:0], late[1:], late[:, 3:], x[2:], x[2:, 1:]):
        assert empty.numpy().shape == tuple(empty.shape)


def test_a_window_that_is_nan_leaves_no_place_out():
    torch = pytest.importorskip("torch")
    found = []
    for t in (tn, torch):
        window = t.full((16,), float("nan"))
        found.append(t.istft(t.ones(9, 4, dtype=t.complex64), 16, window=window).tolist())
        with pytest.raises(RuntimeError, match="window overlap"):
            t.istft(t.ones(9, 4, dtype=t.complex64), 16, window=t.zeros(16))
    np.testing.assert_array_equal(*found)

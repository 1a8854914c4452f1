"""Reductions along or beside a short dimension: kernels whose vectors lie along another one give
the bits of those that don't.

The same values computed ten rows at a time take the ordinary kernels: fewer rows than lanes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import tenon as tn
from tenon import _C

ROWS = 100


@pytest.fixture(autouse=True)
def always_narrow() -> Iterator[None]:
    _C._jit.set_narrow_at_once(True)
    yield
    _C._jit.set_narrow_at_once(False)


def values(*shape: int, dtype: str = "float32") -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    x = rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4, size=shape)
    return x.astype(dtype)


def by_tens(function, x: np.ndarray) -> np.ndarray:
    parts = [function(tn.tensor(x[i : i + 10])).numpy() for i in range(0, len(x), 10)]
    return np.concatenate(parts)


def softmax_and_norm(x: tn.Tensor) -> tn.Tensor:
    y = (x.exp() / x.exp().sum(-1, keepdim=True)) - x.mean(-1, keepdim=True)
    return y * (y * y).sum(-1, keepdim=True).sqrt()


ROW_FUNCTIONS = {
    "sum": lambda x: x.sum(-1),
    "prod": lambda x: x.prod(-1),
    "amax": lambda x: x.amax(-1),
    "norm": lambda x: (x * x).sum(-1).sqrt() + 1,
    "passes": softmax_and_norm,
    "two axes": lambda x: x.reshape(x.shape[0], -1, 1).expand(-1, -1, 7).sum((1, 2)),
}


OF_ROWS = [
    (name, dtype)
    for name in ROW_FUNCTIONS
    for dtype in ("float32", "float64", "int64")
    if dtype != "int64" or name not in ("norm", "passes")  # floating
]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 9])
@pytest.mark.parametrize(("name", "dtype"), OF_ROWS)
def test_short_rows_have_the_bits_of_rows(name: str, dtype: str, n: int) -> None:
    x = values(ROWS, n, dtype=dtype)
    if name == "passes":
        x = x % 3
    function = ROW_FUNCTIONS[name]
    together = function(tn.tensor(x)).numpy()
    np.testing.assert_array_equal(together, by_tens(function, x))
    np.testing.assert_allclose(
        together,
        function(torch.tensor(x)).numpy(),
        rtol=2e-5,
        atol=1e-6 * np.abs(x).max() if name in ("sum", "two axes") else 1e-5,
    )


@pytest.mark.parametrize("mode", ["fused", "unfused", "interpret"])
def test_not_a_number_and_signed_zero_in_short_rows(mode: str) -> None:
    x = values(64, 3)
    x[5, 1], x[6] = np.nan, -0.0
    before = tn.jit.get_mode()
    tn.jit.set_mode(mode)
    try:
        t = tn.tensor(x)
        total, largest = t.sum(-1).numpy(), t.amax(-1).numpy()
    finally:
        tn.jit.set_mode(before)
    assert np.isnan(total[5]) and np.isnan(largest[5])
    assert total[6] == 0 and np.signbit(total[6])
    expected = torch.tensor(x)
    np.testing.assert_allclose(total, expected.sum(-1).numpy(), rtol=1e-6)
    np.testing.assert_array_equal(largest, expected.amax(-1).numpy())


@pytest.mark.parametrize("n", [1, 3, 8, 9])
@pytest.mark.parametrize("rows", [1, 17, 300])
def test_columns_beside_a_short_dimension(n: int, rows: int) -> None:
    # Summed over j beside k, and over i: lanes along i with rows side by side, and along j.
    h, p = values(ROWS, rows), values(rows, n)

    def beside(h: tn.Tensor, p: tn.Tensor) -> tn.Tensor:
        return (h[:, :, None] * p[None]).sum(1)

    def across(h: tn.Tensor, p: tn.Tensor) -> tn.Tensor:
        return (h.T[:, :, None] * p[:, None]).sum(0)

    for function in (beside, across):
        together = function(tn.tensor(h), tn.tensor(p)).numpy()
        np.testing.assert_array_equal(
            together, by_tens(lambda x, f=function: f(x, tn.tensor(p)), h)
        )
        expected = h.astype("float64") @ p.astype("float64")
        scale = np.abs(h).astype("float64") @ np.abs(p) + 1e-30
        assert (np.abs(together - expected) / scale).max() < 1e-6


def test_the_gradient_of_an_n_body_energy() -> None:
    def energy(t, position, mass):
        apart = position[:, None] - position[None]
        near = (apart * apart).sum(-1) + 0.01
        return (mass[:, None] * mass[None] * t.rsqrt(near)).sum()

    position, mass = values(50, 3), np.abs(values(50))
    ours = tn.func.grad(lambda p: energy(tn, p, tn.tensor(mass)))(tn.tensor(position)).numpy()
    p = torch.tensor(position, dtype=torch.float64)
    m = torch.tensor(mass, dtype=torch.float64)
    theirs = torch.func.grad(lambda p: energy(torch, p, m))(p).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def test_a_bad_index_in_a_short_row_is_found() -> None:
    x, index = tn.arange(10.0), tn.zeros(64, 3, dtype=tn.int64)
    index[40, 2] = 10
    with pytest.raises(IndexError, match="index 10 is out of bounds"):
        x[index].sum(-1).numpy()


def test_becoming_hot_or_switched_off_changes_no_bits() -> None:
    x = tn.tensor(values(300_000, 3))
    disabled = list(_C._jit.disabled())
    _C._jit.set_disabled([*disabled, "narrow_loops"])
    expected = x.sin().sum(-1).numpy().copy()
    _C._jit.set_disabled(disabled)
    _C._jit.set_narrow_at_once(False)
    for _ in range(40):  # the background compiler takes over somewhere
        np.testing.assert_array_equal(x.sin().sum(-1).numpy(), expected)

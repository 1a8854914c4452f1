"""Random numbers: generators, moments and supports."""

import numpy as np
import pytest

import tenon as tn


def test_random_numbers():
    tn.manual_seed(1)
    a = tn.rand(1000)
    tn.manual_seed(1)
    assert tn.equal(a, tn.rand(1000))
    assert not tn.equal(a, tn.rand(1000))
    state = tn.get_rng_state()
    b = tn.randn(5)
    tn.set_rng_state(state)
    assert tn.equal(b, tn.randn(5))
    generator = tn.Generator().manual_seed(3)
    c = tn.rand(5, generator=generator)
    assert tn.equal(c, tn.rand(5, generator=tn.Generator().manual_seed(3)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_distributions(dtype):
    """Moments within five standard errors, and support."""
    tn.manual_seed(7)
    n = 100_000
    u = tn.rand(n, dtype=getattr(tn, dtype)).double().numpy()
    assert u.min() >= 0 and u.max() < 1
    assert abs(u.mean() - 0.5) < 5 * np.sqrt(1 / 12 / n) + (0.004 if dtype == "bfloat16" else 3e-4)
    z = tn.randn(n, dtype=getattr(tn, dtype)).double().numpy()
    assert abs(z.mean()) < 5 / np.sqrt(n) + 1e-3
    assert abs(z.std() - 1) < 5 / np.sqrt(2 * n) + 2e-3
    assert np.isfinite(z).all()


def test_discrete_distributions():
    tn.manual_seed(11)
    n = 60_000
    die = tn.randint(1, 7, (n,)).numpy()
    assert set(die) == {1, 2, 3, 4, 5, 6}
    assert np.abs(np.bincount(die)[1:] - n / 6).max() < 5 * np.sqrt(n / 6)
    assert sorted(tn.randperm(50).tolist()) == list(range(50))
    p = tn.tensor([0.1, 0.2, 0.7])
    drawn = tn.multinomial(p, n, replacement=True).numpy()
    assert np.abs(np.bincount(drawn, minlength=3) - n * p.numpy()).max() < 5 * np.sqrt(n * 0.21)
    distinct = tn.multinomial(tn.ones(20, 6), 6).numpy()
    assert all(sorted(row) == list(range(6)) for row in distinct)
    coins = tn.bernoulli(tn.full((n,), 0.3)).mean().item()
    assert abs(coins - 0.3) < 5 * np.sqrt(0.21 / n)
    x = tn.empty(n).uniform_(-2, 3)
    assert x.min().item() >= -2 and x.max().item() < 3
    kept = tn.nn.functional.dropout(tn.ones(n), 0.25)
    assert abs((kept == 0).float().mean().item() - 0.25) < 5 * np.sqrt(0.1875 / n)
    assert kept.max().item() == pytest.approx(1 / 0.75)

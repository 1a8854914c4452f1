"""A plan serves whatever lives of its results: what is alive is no part of a key."""

import itertools

import numpy as np
import pytest

import tenon as tn
from tests.python.counting import floats, made


def run_keeping(names):
    """A chain of values of which those named are alive when it runs."""
    x = floats(5, 7)
    values = {"a": x * 2}
    values["b"] = values["a"].tanh()
    values["c"] = values["b"].sum(1)
    values["d"] = values["c"] * 3
    last = values["d"] + values["a"].sum(1)
    kept = {name: values[name] for name in names}
    del values
    expected = np.tanh(2 * x.numpy()).sum(1) * 3 + 2 * x.numpy().sum(1)
    assert np.allclose(last.numpy(), expected, atol=1e-5)
    if "b" in kept:
        assert np.allclose(kept["b"].numpy(), np.tanh(2 * x.numpy()), atol=1e-6)
    return kept


def test_a_plan_serves_whatever_lives_of_its_results():
    subsets = [names for n in range(4, -1, -1) for names in itertools.combinations("abcd", n)]
    run_keeping("abcd")
    assert made(lambda: [run_keeping(names) for names in subsets])["plans"] == 0


def test_values_that_live_or_not_make_a_plan_each_at_most():
    subsets = [names for n in range(5) for names in itertools.combinations("abcd", n)]
    np.random.default_rng(0).shuffle(subsets)
    assert made(lambda: [run_keeping(names) for names in [*subsets, *subsets]])["plans"] <= 6


def test_results_that_come_again_and_again_get_a_plan_of_their_own():
    def step(keep):
        x = floats(300, 7)
        wide = x.exp()
        y = wide.sum()
        if not keep:
            del wide
        return y.item()

    step(keep=True)
    assert made(lambda: [step(keep=False) for _ in range(5)])["plans"] == 0
    assert made(lambda: [step(keep=False) for _ in range(20)])["plans"] == 1
    assert made(lambda: [step(keep=False) for _ in range(20)])["plans"] == 0


def test_a_value_that_nobody_holds_fails_nobody():
    def run(at, keep):
        x, index = floats(5), tn.tensor([at])
        picked = x[index] * 2
        y = x.sum()
        if not keep:
            del picked
        return y.item()

    run(1, keep=True)
    assert run(1, keep=False) == pytest.approx(0)
    assert run(9, keep=False) == pytest.approx(0)
    with pytest.raises(IndexError):
        run(9, keep=True)

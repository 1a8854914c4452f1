"""Memory shared with NumPy: an operation reads it as it is at the call, whatever comes after.

Small arrays are copied when an operation is recorded; operations on larger ones are complete before
their call returns. What can be seen is the same.
"""

from __future__ import annotations

import numpy as np
import pytest

import tenon as tn

SMALL, LARGE = 8, 1 << 19  # elements of float32: 32 bytes, 2 MiB


@pytest.fixture(params=[SMALL, LARGE], ids=["small", "large"])
def n(request):
    return request.param


def ends(tensor):
    flat = tensor.detach().reshape(-1)
    return [flat[0].item(), flat[-1].item()]


def test_writes_before_a_call_are_seen_and_later_ones_not(n):
    memory = np.ones(n, np.float32)
    x = tn.from_numpy(memory)
    results = []
    for i in range(4):
        memory[0] = i
        results.append(x * 10)  # all pending, each with its own value
    memory[:] = 99
    assert [ends(y) for y in results] == [[10 * i, 10] for i in range(4)]
    assert ends(x * 1) == [99, 99]


def test_views(n):
    memory = np.arange(n, dtype=np.float32)
    x = tn.from_numpy(memory)
    head, tail, pairs = x[:2], x[-2:], x.view(-1, 2)
    inner = pairs[0][1:]
    before = [head + 0, tail + 0, pairs + 0, inner + 0]
    memory[:] = -1
    after = [head + 0, tail + 0, pairs + 0, inner + 0]
    assert [ends(y) for y in before] == [[0, 1], [n - 2, n - 1], [0, n - 1], [1, 1]]
    assert [ends(y) for y in after] == [[-1, -1]] * 4


def test_strides(n):
    memory = np.arange(2 * n, dtype=np.float32)
    every_second = tn.from_numpy(memory[::2])
    columns = tn.from_numpy(memory.reshape(2, n).T)
    row = tn.from_numpy(np.broadcast_to(memory[:1], (3, n))[:, :2].copy())
    y, z, w = every_second + 1, columns[-1] + 1, row + 1
    memory[:] = 0
    assert ends(y) == [1, 2 * n - 1]
    assert ends(z) == [n, 2 * n]
    assert ends(w) == [1, 1]


def test_aliases_of_results(n):
    x = tn.ones(n)
    alias = x.numpy()
    y = x + 1
    alias[0] = 5
    z = x + 1
    x.add_(1)
    assert alias[0] == 6 and alias[-1] == 2  # NumPy sees what Tenon writes when the call returns
    x[-1] = 7
    assert alias[-1] == 7
    assert ends(y) == [2, 2] and ends(z) == [6, 2] and ends(x) == [6, 7]


def test_an_alias_that_is_gone(n):
    memory = np.ones(n, np.float32)
    x = tn.from_numpy(memory)
    y = x + 1
    memory[0] = 5
    x.mul_(2)
    assert memory[0] == 10
    t = tn.ones(n)
    alias = t.numpy()
    u = t + 1
    alias[0] = 3
    del alias
    assert ends(t + 1) == [4, 2]
    assert ends(y) == [2, 2] and ends(u) == [2, 2]


def test_two_tensors_of_one_array(n):
    memory = np.zeros(n, np.float32)
    a, b = tn.from_numpy(memory), tn.from_numpy(memory)
    before = b + 0
    a.add_(3)
    assert ends(b + 0) == [3, 3] and ends(before) == [0, 0]


def test_derivatives(n):
    memory = np.ones(n, np.float32)
    x = tn.from_numpy(memory).requires_grad_()
    w = tn.full((n,), 2.0, requires_grad=True)
    y = (x * x * w).sum()
    memory[:] = 3
    z = (x * w).sum()
    memory[:] = 100
    (y + z).backward()
    assert ends(x.grad) == [2 * 2 + 2, 6]  # of the values read then
    assert ends(w.grad) == [1 + 3, 4]


def test_transforms(n):
    memory = np.ones(n, np.float32)
    x = tn.from_numpy(memory)

    def f(v):
        y = (v * x).sum()
        memory[0] += 1
        return y + (v * x).sum()

    assert ends(tn.func.grad(f)(tn.ones(n))) == [3, 2]
    memory[0] = 1
    mapped = tn.vmap(lambda v: v * x)(tn.ones(2, n))
    memory[:] = 0
    assert ends(mapped) == [1, 1]


def test_read_only(n):
    memory = np.ones(n, np.float32)
    memory.setflags(write=False)
    x = tn.from_numpy(memory)
    y = x * 2
    with pytest.raises(RuntimeError, match="read-only"):
        x.add_(1)
    assert ends(y) == [2, 2] and ends(x) == [1, 1]


def test_integers_bools_and_nothing():
    indices = np.array([2, 0], np.int64)
    picked = tn.arange(3.0)[tn.from_numpy(indices)]
    indices[:] = 7
    assert picked.tolist() == [2, 0]
    flags = np.array([True, False])
    where = tn.where(tn.from_numpy(flags), 1.0, 2.0)
    flags[:] = False
    assert where.tolist() == [1, 2]
    assert (tn.from_numpy(np.zeros((0, 3), np.float32)) + 1).shape == (0, 3)


def test_operations_on_small_arrays_stay_pending():
    memory = np.ones(SMALL, np.float32)
    tn.flush()
    tn.jit.reset()
    for _ in range(10):
        x = tn.from_numpy(memory)
        y = (x + 1).sum() + x[0]
    assert tn.jit.counters()["programs"] == 0
    assert y.item() == 2 * SMALL + 1
    assert tn.jit.counters()["programs"] == 1

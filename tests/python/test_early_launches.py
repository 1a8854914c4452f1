"""Programs that begin to run while Python records the rest: the same bits, errors and memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

import tenon as tn
import tenon.nn.functional as F
from tests.fuzz import run as fuzz
from tests.fuzz.draw import Drawer

pytestmark = pytest.mark.skipif(tn.get_num_threads() < 2, reason="needs a worker")


@pytest.fixture(autouse=True)
def at_once():
    """Every step that can begins early, in the second turn of a loop."""
    tn.flush()
    tn._C._jit.set_early_work(0)
    yield
    tn._C._jit.set_early_work(50_000)


def early_steps(work: Callable[[], object]) -> int:
    before = tn._C._jit.counters()["early_steps"]
    work()
    return tn._C._jit.counters()["early_steps"] - before


def weights_of(layers: int, width: int) -> list[tn.Tensor]:
    tn.manual_seed(0)
    weights = [(tn.randn(width, width) / width**0.5).requires_grad_() for _ in range(layers)]
    tn.eval(*weights)
    return weights


def forward(x: tn.Tensor, weights: list[tn.Tensor]) -> tn.Tensor:
    for w in weights:
        x = F.dropout(F.gelu(F.layer_norm(x @ w, x.shape[-1:])), 0.1)
    return x


def train(steps: int, pause: float = 0.0) -> list[np.ndarray]:
    """Gradients gather over three batches a step."""
    weights = weights_of(4, 64)
    optimizer = tn.optim.AdamW(weights, lr=0.01)
    data = ((tn.arange(40 * 64.0) * 0.37).sin()).reshape(40, 64)
    tn.eval(data)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        for part in range(3):
            begin = (step + part) % 4 * 8
            y = forward(data[begin : begin + 8], weights)
            loss = F.mse_loss(y, data[:8] * step)
            loss.backward()
            time.sleep(pause)
        optimizer.step()
        losses.append(loss.item())
    return [np.array(losses), *(w.detach().numpy() for w in weights)]


def test_training_has_the_same_bits() -> None:
    with tn.jit.disable("early_launches"):
        assert early_steps(lambda: train(2)) == 0
        expected = train(8)
    results: list[np.ndarray] = []
    assert early_steps(lambda: results.extend(train(8, pause=0.002))) > 8
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, wanted)


def test_random_programs_have_the_same_bits() -> None:
    tn._C._jit.set_chunk_work(fuzz.CHUNK)
    for seed in range(90_000, 90_024):
        program = Drawer(seed).program()
        dtype = getattr(tn, program.dtype)
        with tn.jit.disable("early_launches"):
            expected = fuzz.run(tn, program, dtype, True)
        for _ in range(4):
            found = fuzz.run(tn, program, dtype, True)
            assert fuzz.differs(expected, found) is None, str(program)


def test_what_differs_late_is_recomputed() -> None:
    """The third turn goes another way after half of it has run."""
    x = (tn.arange(4096.0) * 0.01).reshape(64, 64)
    tn.eval(x)

    def turn(last: Callable[[tn.Tensor], tn.Tensor], scale: float) -> np.ndarray:
        y = ((x @ x) * scale).softmax(-1)
        time.sleep(0.003)
        return last(y @ x).numpy()

    for i in range(12):
        last = tn.sin if i % 3 else tn.exp
        with tn.jit.disable("early_launches"):
            expected = turn(last, i / 7)
        np.testing.assert_array_equal(turn(last, i / 7), expected)


def test_a_parameter_is_updated_in_place() -> None:
    weight = tn.ones(512, 512)
    tn.eval(weight)
    allocated = set()
    for _ in range(6):
        y = (weight * 0.5).cos().sum(1)
        time.sleep(0.002)
        weight.add_(y)
        tn.eval(weight)
        del y
        allocated.add(tn.jit.memory_stats()["allocated"])
    assert len(allocated) == 1
    again = np.ones((512, 512), np.float32)
    assert np.isfinite(weight.numpy()).all() and not np.array_equal(weight.numpy(), again)


def test_an_operand_written_after_it_was_read() -> None:
    x = tn.zeros(300, 300)
    tn.eval(x)
    for i in range(6):
        y = (x + 1).cumsum(0)
        time.sleep(0.002)
        x.add_(1)
        assert y[-1, 0].item() == 300 * (i + 1)
        assert x[0, 0].item() == i + 1


def test_an_error_is_raised_at_the_flush_and_names_its_line() -> None:
    x, table = tn.arange(1000), tn.ones(1000)
    tn.eval(x, table)
    for offset in [0, 0, 0, 0, 1, 0, 0, 2, 0]:
        rows = table[x + offset]
        time.sleep(0.002)
        total = (rows * 2).cumsum(0)
        if offset == 0:
            assert total[-1].item() == 2000
        else:
            with pytest.raises(tn.IndexError, match=r"index 1000 is out of bounds.*test_early"):
                total[-1].item()
            with pytest.raises(tn.IndexError):
                rows.sum().item()
        assert (x.sum() * 2).item() == 999000


def test_an_array_that_shares_memory() -> None:
    array = np.ones(2000, np.float32)
    x = tn.from_numpy(array)
    for i in range(5):
        y = (x * 2).cumsum(0)
        time.sleep(0.001)
        array += 1
        assert (y[-1] + 0).item() == 4000 * (i + 1)


def test_out_of_memory_leaves_it_to_the_flush() -> None:
    x = tn.ones(256, 256)
    tn.eval(x)

    def turn() -> float:
        y = (x @ x).softmax(-1)
        time.sleep(0.001)
        return (y @ x).sum().item()

    expected = turn()
    try:
        for k in range(1, 12):
            tn._C._jit.fail_once(k)
            with contextlib.suppress(tn.OutOfMemoryError):
                assert turn() == expected
            tn._C._jit.fail_every(0)
            assert turn() == expected
    finally:
        tn._C._jit.fail_every(0)


def test_threads_are_changed_meanwhile() -> None:
    threads = tn.get_num_threads()
    x = tn.ones(128, 128)
    tn.eval(x)
    try:
        for i in range(12):
            y = (x @ x).softmax(-1)
            time.sleep(0.001)
            tn.set_num_threads(1 + i % 3)
            assert (y @ x).sum().item() == pytest.approx(128 * 128)
    finally:
        tn.set_num_threads(threads)


def run_python(code: str, limit: float = 60) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=limit
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


LOOP = """
import os, signal, sys, threading, time
import tenon as tn
tn._C._jit.set_early_work(0)
x = tn.ones(700, 700); tn.eval(x)
def turn(pause=0.002, after=lambda: None):
    y = x
    for _ in range(6):
        y = (y @ x).softmax(-1)
    time.sleep(pause)
    after()
    return (y @ x).sum().item()
expected = turn()
for _ in range(4): turn()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_in_the_middle() -> None:
    code = (
        LOOP
        + """
def fork():
    child = os.fork()
    if child == 0:
        fork.is_child = True
    else:
        assert os.waitpid(child, 0)[1] == 0
fork.is_child = False
for pause in (0, 0.0005, 0.001, 0.003, 0.01):
    assert turn(pause, fork) == expected
    if fork.is_child:
        assert turn() == expected
        os._exit(0)
print("done")
"""
    )
    assert run_python(code) == "done\n"


def test_an_interrupt_in_the_middle() -> None:
    code = (
        LOOP
        + """
def interrupt():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    except KeyboardInterrupt:
        print("stopped")
for pause in (0, 0.001, 0.01):
    assert turn(pause, interrupt) == expected
    timer = threading.Timer(0.004, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        for _ in range(50): assert turn(0) == expected
        time.sleep(1)
    except KeyboardInterrupt:
        pass
    timer.join()
    assert turn() == expected
"""
    )
    assert run_python(code) == "stopped\n" * 3


def test_the_process_ends_in_the_middle() -> None:
    for ending in ("sys.exit(0)", "pass"):
        code = (
            LOOP
            + f"""
y = x
for _ in range(6):
    y = (y @ x).softmax(-1)
{ending}
"""
        )
        run_python(code)


def test_a_thread_ends_in_the_middle() -> None:
    code = (
        LOOP
        + """
def work(results):
    for _ in range(4): turn()
    y = x
    for _ in range(6):
        y = (y @ x).softmax(-1)
    results.append(y)
for _ in range(3):
    results = []
    threads = [threading.Thread(target=work, args=(results,)) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    for y in results: assert (y @ x).sum().item() == expected
print("done")
"""
    )
    assert run_python(code) == "done\n"


def test_the_profiler_sees_the_steps_of_other_threads() -> None:
    x = tn.ones(300, 300)
    tn.eval(x)

    def turn() -> float:
        y = (x @ x).softmax(-1)
        time.sleep(0.005)
        return (y @ x).sum().item()

    for _ in range(4):
        turn()
    with tn.profiler.profile() as profile:
        turn()
    names = [event.name for event in profile.events]
    assert sum(name == "matmul" for name in names) == 2


def test_work_overlaps_with_python() -> None:
    """Python sleeps for as long as the program runs: together they take little more than one."""
    tn._C._jit.set_early_work(50_000)
    x = tn.ones(600, 600)
    tn.eval(x)
    layers = 8

    def turn(pause: float) -> float:
        y = x
        start = time.perf_counter()
        for _ in range(layers):
            y = (y @ x).softmax(-1)
            time.sleep(pause)
        y.sum().item()
        return time.perf_counter() - start

    assert early_steps(lambda: [turn(0.002) for _ in range(12)]) > 6

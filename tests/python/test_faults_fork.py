"""Fault 27: forks after the library was used. Children compute, or fail at once; none hangs."""

import sys

import pytest
from test_faults_process import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are tried on Linux")

# child(f): what f gives in a forked child, which then leaves as `leave` says.
START = """
import os, signal, sys, threading, time
import tenon as tn, tenon.nn as nn, tenon.nn.functional as F
tn.set_num_threads({threads})

def child(f, leave=os._exit, limit=60):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            text = repr(f())
        except Exception as error:
            text = "raises " + str(error)
        os.write(w, text.encode())
        leave(0)
    os.close(w)
    end = time.time() + limit
    while time.time() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, status
            with os.fdopen(r) as pipe:
                return pipe.read()
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")

def train(seed):
    tn.manual_seed(seed)
    m = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 4))
    o = tn.optim.AdamW(m.parameters(), lr=1e-3)
    for _ in range(3):
        o.zero_grad()
        loss = F.cross_entropy(m(tn.randn(8, 3, 16, 16)), tn.randint(0, 4, (8,)))
        loss.backward()
        o.step()
    a = tn.randn(300, 300)
    return loss.item(), (a @ a).sum().item(), tn.sort(tn.randn(100_000))[0][5].item()

def program(number):
    x = tn.arange(20 * (7 + number)).reshape(-1, 20) / 7
    return ((x * number).cos() + x.sum(0)).softmax(-1).cumsum(number % 2).sum().item()
"""


def run_forks(code, threads=2, **environment):
    done = run(START.format(threads=threads) + code + "\nprint('done')", **environment)
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize("threads", [1, 2])
def test_children_compute(threads):
    run_forks(
        """
expected = repr(train(1))
assert child(lambda: train(1)) == expected
pending = tn.arange(1000).sin().sum()
assert child(lambda: pending.item()) == repr(pending.item())
f = tn.compile(lambda x: (x.sin() * 2).sum())
for _ in range(3):
    f(tn.ones(50))
assert child(lambda: f(tn.ones(50)).item()) == repr(f(tn.ones(50)).item())
assert child(lambda: child(lambda: program(3))) == repr(repr(program(3)))
assert child(lambda: program(4), leave=sys.exit) == repr(program(4))
""",
        threads,
    )


@pytest.mark.parametrize("cached", [True, False])
def test_forks_while_threads_record_compile_and_run(tmp_path, cached):
    """Whatever lock the others hold, the child finds none of them locked."""
    run_forks(
        """
expected = [repr(program(i)) for i in range(4)]
stop = []
def work(number):
    i = 0
    while not stop:
        i += 1
        x = tn.randn(1000 + i)
        ((x * x).sin() + i).sum().item()
        z = tn.randn(20 + i % 7, 30)
        name = ["tanh", "cos", "exp", "sigmoid", "relu"][(i + number) % 5]
        getattr(z * number, name)().sum(i % 2).add(1).prod().item()
        if i % 16 == 0:
            train(i)
threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
for thread in threads:
    thread.start()
try:
    for i in range(40):
        assert child(lambda: program(i % 4)) == expected[i % 4]
finally:
    stop.append(1)
for thread in threads:
    thread.join()
""",
        TENON_CACHE_DIR=tmp_path if cached else None,
        TENON_CACHE="1" if cached else "0",
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_a_child_leaves_while_kernels_are_compiled_again(threads):
    """The thread that compiles hot kernels isn't there, and nobody waits for it."""
    run_forks(
        """
x = tn.randn(1_000_000)
for _ in range(60):
    (x.sin() * x.cos()).tanh().sum().item()
for _ in range(3):
    def again():
        for _ in range(60):
            (x.cos() * x.exp()).tanh().sum().item()
        return 1
    assert child(again, leave=sys.exit) == "1"
""",
        threads,
    )


def test_what_another_thread_computes_at_the_fork():
    """It is complete in the child, or says at once that it can't be had."""
    run_forks(
        """
for i in range(6):
    x = tn.full((300_000 + i,), 0.5)
    y = x
    for _ in range(40):
        y = (y.sin() + x).cos()
    total = y.sum()
    thread = threading.Thread(target=lambda: total.item())
    thread.start()
    time.sleep(0.002 * i)
    text = child(lambda: total.item())
    thread.join()
    assert text == repr(total.item()) or "forked" in text, text
    assert "forked" in text or not text.startswith("raises"), text
"""
    )


def test_workers_of_a_pool():
    run_forks(
        """
import multiprocessing
def exponential(x):
    return x.exp()
expected = [program(i) for i in range(6)]
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(program, range(6)) == expected
    tensors = pool.map(exponential, [tn.ones(3), tn.zeros(2)])
assert [t.tolist() for t in tensors] == [tn.ones(3).exp().tolist(), [1.0, 1.0]]
"""
    )


def test_workers_of_a_loader():
    pytest.importorskip("torch")
    run_forks(
        """
import torch.utils.data

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 12
    def __getitem__(self, i):
        x = tn.full((5,), float(i))
        return (x.sin() * 2 + x).numpy()

train(0)
expected = [(tn.full((5,), float(i)).sin() * 2 + i).tolist() for i in range(12)]
for _ in range(2):
    loader = torch.utils.data.DataLoader(
        Data(), batch_size=3, num_workers=2, multiprocessing_context="fork", timeout=60
    )
    rows = []
    for batch in loader:
        rows += batch.tolist()
        train(1)  # while the workers go on
    assert rows == expected
"""
    )

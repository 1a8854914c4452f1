"""Processes: the kernel cache, the environment, Ctrl-C, exit. Each case runs in its own process."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

PROGRAM = """
import tenon as tn
x = tn.linspace(-1, 1, 1000)
y = ((x * 3).tanh() + x.exp()).sum() + (x.sin() * x).max()
assert abs(y.item() - 1176.2838) < 0.5, y.item()
print("compiled", tn._C._jit.counters()["compiled"], "disk", tn._C._jit.counters()["from_disk"])
"""


def run(code, timeout=120, check=True, **environment):
    env = {k: v for k, v in os.environ.items() if not k.startswith("TENON_")}
    for name, value in environment.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = str(value)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if check:
        assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return done


def counts(done):
    words = done.stdout.split()
    return int(words[words.index("compiled") + 1]), int(words[words.index("disk") + 1])


def entries(folder):
    return sorted(p for p in Path(folder).rglob("*") if p.is_file())


def warnings_in(text):
    return [line for line in text.splitlines() if "tenon" in line.lower()]


# ---- the kernel cache ---------------------------------------------------------------------------


def test_a_second_process_compiles_nothing(tmp_path):
    compiled, _ = counts(run(PROGRAM, TENON_CACHE_DIR=tmp_path))
    assert compiled > 0
    assert counts(run(PROGRAM, TENON_CACHE_DIR=tmp_path)) == (0, compiled)


def damage_truncate(data):
    return data[: len(data) // 2]


def damage_flip(data):
    at = len(data) * 2 // 3
    return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]


def damage_version(data):
    return data[:8] + bytes([data[8] ^ 1]) + data[9:]  # the format's number


def damage_processor(data):
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]  # of what made it


@pytest.mark.parametrize(
    "damage",
    [damage_truncate, damage_flip, damage_version, damage_processor, lambda data: b""],
    ids=["truncated", "flipped", "version", "processor", "empty"],
)
def test_a_damaged_entry_is_compiled_again(tmp_path, damage):
    compiled, _ = counts(run(PROGRAM, TENON_CACHE_DIR=tmp_path))
    before = {p: p.read_bytes() for p in entries(tmp_path)}
    for path, data in before.items():
        path.write_bytes(damage(data))
    assert counts(run(PROGRAM, TENON_CACHE_DIR=tmp_path)) == (compiled, 0)
    assert {p: len(p.read_bytes()) for p in entries(tmp_path)} == {
        p: len(data) for p, data in before.items()
    }
    assert counts(run(PROGRAM, TENON_CACHE_DIR=tmp_path)) == (0, compiled)


def test_a_cache_that_can_not_be_used(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    done = run(PROGRAM, TENON_CACHE_DIR=file / "inside")
    assert len(warnings_in(done.stderr)) == 1, done.stderr
    assert counts(done)[0] > 0
    done = run(PROGRAM, HOME=None, XDG_CACHE_HOME=None)
    assert len(warnings_in(done.stderr)) == 1, done.stderr
    done = run(PROGRAM, TENON_CACHE="0", HOME=None, XDG_CACHE_HOME=None)
    assert done.stderr == ""
    done = run(PROGRAM, TENON_CACHE_DIR=tmp_path / "new" / "deep")  # made when absent
    assert done.stderr == ""
    assert entries(tmp_path / "new")


def test_a_read_only_folder(tmp_path):
    compiled, _ = counts(run(PROGRAM, TENON_CACHE_DIR=tmp_path))
    tmp_path.chmod(0o500)
    try:
        more = PROGRAM + "(x.cos() / 7 - x).sum().item()\n"
        done = run(more, TENON_CACHE_DIR=tmp_path)
        assert counts(done) == (0, compiled)  # what it holds is used
        if os.geteuid() != 0:  # root writes everywhere
            assert len(warnings_in(done.stderr)) == 1
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk():
    code = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    """
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        done = run(textwrap.dedent(code) + PROGRAM, TENON_CACHE_DIR=folder)
        assert len(warnings_in(done.stderr)) == 1, done.stderr
        assert entries(folder) == []
        run(PROGRAM, TENON_CACHE_DIR=folder)


def test_eight_processes_on_one_cold_cache_and_one_is_killed(tmp_path):
    loop = PROGRAM + textwrap.dedent("""
    for i in range(10_000):
        z = x
        for j in range(i % 7 + 1):
            z = [z.sin, z.cos, z.exp, z.tanh][(i // 7 + j) % 4]() * x
        z.sum().item()
    """)
    env = {**os.environ, "TENON_CACHE_DIR": str(tmp_path)}
    victim = subprocess.Popen([sys.executable, "-c", loop], env=env, stdout=subprocess.DEVNULL)
    try:
        with ThreadPoolExecutor(8) as pool:
            runs = [pool.submit(run, PROGRAM, TENON_CACHE_DIR=tmp_path) for _ in range(8)]
            deadline = time.monotonic() + 60
            while not entries(tmp_path) and time.monotonic() < deadline:
                time.sleep(0.01)
            victim.kill()
            for each in runs:
                each.result()
    finally:
        victim.kill()
        victim.wait()
    assert counts(run(PROGRAM, TENON_CACHE_DIR=tmp_path))[0] == 0


# ---- the environment ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TENON_NUM_THREADS", "many"),
        ("TENON_NUM_THREADS", "0"),
        ("TENON_NUM_THREADS", "-3"),
        ("TENON_NUM_THREADS", "99999999999999999999"),
        ("TENON_LOGS", "nonsense"),
        ("TENON_CACHE", "perhaps"),
        ("TENON_CACHE_SIZE", "large"),
        ("TENON_CACHE_BYTES", "1Q"),
        ("TENON_MEMORY_LIMIT", "-1"),
    ],
)
def test_a_bad_value_gives_one_warning_and_the_default(tmp_path, name, value):
    more = PROGRAM + "for i in range(5): (x * i).sum().item(); (x + i).cos().sum().item()\n"
    done = run(more, **{"TENON_CACHE_DIR": tmp_path, name: value})
    warned = warnings_in(done.stderr)
    assert len(warned) == 1, done.stderr
    assert name in warned[0]
    assert value in warned[0]


# ---- Ctrl-C -------------------------------------------------------------------------------------

LONG = """
import os, signal, threading, time
import tenon as tn
tn.set_num_threads({threads})
x = tn.ones(1 << 20)
x.numpy()
(x.exp() * 2).sum().item()
big = x.reshape(1, -1).expand(4000, 1 << 20)
at = []
def hit():
    at.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
y = (big.sin() * big.cos()).tanh().sum()
threading.Timer(0.5, hit).start()
try:
    y.item()
except KeyboardInterrupt:
    waited = time.monotonic() - at[0]
    assert waited < {limit}, waited
else:
    raise AssertionError("not interrupted")
assert x.sum().item() == 1 << 20
assert ((x + 1).sum().item()) == 2 << 20
try:
    threading.Timer(0.2, hit).start()
    while True:
        time.sleep(0.01)
except KeyboardInterrupt:
    pass
assert (x * 3).sum().item() == 3 << 20  # an interrupt elsewhere stops no kernel
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="signals are tried on Linux")
@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_stops_a_long_kernel(threads):
    done = run(LONG.format(threads=threads, limit=1.0))  # 0.2 s on an idle machine
    assert done.stdout == "done\n", done.stderr


KINDS = {
    "a product": "a = tn.ones(6000, 6000); tn.eval(a); go = lambda: tn.eval(a @ a)",
    "a sort": "a = tn.rand(20_000_000); tn.eval(a); go = lambda: tn.eval(tn.sort(a)[1])",
    "long rows": "a = tn.ones(1 << 18).expand(1000, 1 << 18)\n"
    "go = lambda: (a.sin() * a.cos()).softmax(-1).sum().item()",
    "a convolution": "a, w = tn.rand(64, 64, 128, 128), tn.rand(64, 64, 3, 3); tn.eval(a, w)\n"
    "go = lambda: tn.eval(F.conv2d(a, w, padding=1))",
    "a loop": "a = tn.ones(10)\n"
    "go = lambda: tn.eval(tn.while_loop(lambda i, v: i < 2**60, lambda i, v: (i + 1, v.sin()),"
    " (tn.tensor(0), a))[1])",
    "many kernels": """
a = tn.ones(100_000)
def go():
    x = a
    for _ in range(20000):
        x = (x * 1.0001).sin().cumsum(0)
    x.sum().item()
""",
    "compiled": """
a = tn.ones(1 << 20).expand(4000, 1 << 20)
f = tn.compile(lambda x: (x.sin() * x.cos()).tanh().sum())
small = tn.ones(4, 4)
for _ in range(3):
    f(small)
go = lambda: f(a).item()
""",
    "a training step": """
model, a = nn.Linear(3000, 3000), tn.rand(6000, 3000)
optimizer = tn.optim.AdamW(model.parameters())
def step(x):
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()
step = tn.compile(step)
for _ in range(3):
    step(a[:8])
before = [p.clone() for p in model.parameters()]
tn.eval(*before)
def go():
    step(a)
    for _ in range(20):
        step(a)
""",
}


@pytest.mark.skipif(sys.platform != "linux", reason="signals are tried on Linux")
@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_stops_whatever_is_long(kind):
    """Within 0.2 s on an idle machine, and what was there is there still."""
    done = run(f"""
import os, signal, threading, time
import tenon as tn, tenon.nn as nn, tenon.nn.functional as F
tn.set_num_threads(2)
{KINDS[kind]}
probe = lambda: a.narrow(0, 0, 1).flatten()[:1000].tolist()
expected = probe()
at = []
def hit():
    at.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
threading.Timer(0.4, hit).start()
try:
    while True:
        go()
except KeyboardInterrupt:
    waited = time.monotonic() - at[0]
assert waited < 3, waited
assert probe() == expected
assert (tn.ones(100, 100) @ tn.ones(100, 100)).sum().item() == 100**3
print(waited)
""")
    assert float(done.stdout) < 3


def test_signals_during_products():
    """oneDNN keeps values below the stack pointer: handlers need a stack of their own."""
    done = run("""
    import signal
    import tenon as tn
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    a = tn.ones(2000, 2000)
    tn.eval(a)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    for threads in (1, 2):
        tn.set_num_threads(threads)
        for _ in range(10):
            assert (a @ a).sum().item() == 2000**3
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert len(seen) > 3
    print("done")
    """)
    assert done.stdout == "done\n"


def test_a_handler_of_ones_own_is_called():
    done = run("""
    import signal
    import tenon as tn
    seen = []
    signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    x = tn.ones(1000)
    (x * 2).sum().item()
    signal.raise_signal(signal.SIGINT)
    assert seen == [1]
    assert (x * 2).sum().item() == 2000
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.raise_signal(signal.SIGINT)
    assert (x * 2).sum().item() == 2000
    print("done")
    """)
    assert done.stdout == "done\n"


# ---- exit ---------------------------------------------------------------------------------------

ENDINGS = {
    "pending work": "y = x * 2",
    "a pending graph": "y = (x.requires_grad_() * 2).sum()",
    "after backward": "x.requires_grad_(); (x * 2).sum().backward()",
    "a cycle": "a = [x * 2]; a.append(a)",
    "an exception": "y = x * 2\nraise ValueError('planned')",
    "an exception under vmap": "def f(v):\n    raise ValueError('planned')\ntn.vmap(f)(x)",
    "an exception under grad": (
        "def f(v):\n    v * 2\n    raise ValueError('planned')\ntn.func.grad(f)(x)"
    ),
    "an open transform": "t = tn._C._ReverseTransform()\ny = x * 2",
    "exit inside vmap": "import sys\ntn.vmap(lambda v: sys.exit(3))(x)",
    "exit inside grad": "import sys\ntn.func.grad(lambda v: sys.exit(3))(x)",
    "a thread with pending work": (
        "import threading, time\n"
        "def f():\n    global z\n    z = x * 3\n    time.sleep(60)\n"
        "threading.Thread(target=f, daemon=True).start()\ntime.sleep(0.2)"
    ),
    "work pending on graphs of its own": (
        "w = x.clone().requires_grad_()\njoined = tn.cat([(w * i).square() for i in range(100)])\n"
        "joined.sum().item()\ny = joined * 3"
    ),
    "an array whose tensor is pending": (
        "import numpy as np\nx = tn.from_numpy(np.ones(10**6, np.float32))\ny = x * 2\nz = y + x"
    ),
    "reading at exit": "import atexit\ny = x * 2\natexit.register(lambda: print(y.sum().item()))",
    "a finalizer": (
        "class F:\n    def __del__(self):\n        print(y.sum().item())\ny = x * 2\nf = F()"
    ),
    "memory shared with NumPy": "import builtins\nbuiltins.keep = (x * 2).numpy()",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_exit(name):
    code = "import tenon as tn\nx = tn.ones(1000)\n(x * 5).sum().item()\n" + ENDINGS[name]
    done = run(code, timeout=60, check=False)
    expected = 3 if "exit inside" in name else 1 if "exception" in name else 0
    assert done.returncode == expected, (done.returncode, done.stderr[-1500:])
    assert signal.SIGSEGV not in (-done.returncode,)
    if "exception" in name:
        assert "planned" in done.stderr
    else:
        assert done.stderr == ""


# What threads do without end while the main thread ends.
ENDLESS = {
    "small programs": "(x * 3).sum().item()",
    "long kernels": "(big.sin() * big.cos()).sum().item()",
    "library calls": "(square @ square).sum().item()",
    "compilation": (
        "z = x\nfor c in bin(next(number))[2:]:\n    z = z.sin() if c == '1' else z * x\nz.tolist()"
    ),
}


@pytest.mark.parametrize("work", ENDLESS)
def test_exit_while_threads_compute(work, tmp_path):
    code = (
        "import itertools, threading, time\nimport tenon as tn\n"
        "x, big, square = tn.ones(1000), tn.ones(1 << 21), tn.ones(200, 200)\n"
        "number = itertools.count(1)\n"
        f"def f():\n    while True:\n{textwrap.indent(ENDLESS[work], ' ' * 8)}\n"
        "for _ in range(3):\n    threading.Thread(target=f, daemon=True).start()\n"
    )

    def end_after(milliseconds):  # the interpreter may go at any point of a turn of the loop
        done = run(code + f"time.sleep({milliseconds / 1000})", check=False, TENON_CACHE="0")
        return done.returncode, done.stderr

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(end_after, range(20, 420, 20)))
    assert ends == [(0, "")] * 20


def test_threads_end_while_a_main_thread_goes_on():
    """Arrays that pending work of threads shares are given back when it is gone."""
    done = run("""
    import threading, weakref
    import numpy as np
    import tenon as tn
    class Array(np.ndarray):
        pass
    alive = []
    def work(i):
        a = np.full(10**6, i, np.float32).view(Array)
        alive.append(weakref.ref(a))
        x = tn.from_numpy(a)
        y = x * 2
        z = x[:10] + y[:10]
        del a, x
        assert z[0].item() == 3 * i
    for turn in range(20):
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
    assert not any(a() is not None for a in alive), sum(a() is not None for a in alive)
    print("done")
    """)
    assert done.stdout == "done\n", done.stderr

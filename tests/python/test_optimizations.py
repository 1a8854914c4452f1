"""Each optimization switched off: the same bits, and something else that runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tenon as tn
import tenon.nn.functional as F
from tests.fuzz import run as fuzz
from tests.fuzz.draw import Drawer
from tests.fuzz.programs import Program

ROOT = Path(__file__).resolve().parents[2]
NAMES = list(tn.jit.optimizations())
SEED = 70_000
COUNT = 24


@pytest.fixture(scope="module")
def corpus() -> list[tuple[Program, list[np.ndarray]]]:
    """Programs of the fuzzer, with their results."""
    tn._C._jit.set_chunk_work(fuzz.CHUNK)
    programs = [Drawer(SEED + i).program() for i in range(COUNT)]
    return [(p, fuzz.run(tn, p, getattr(tn, p.dtype), True)) for p in programs]


def of_fixed(n: int, *shape: int) -> tn.Tensor:
    return ((tn.arange(n * 1.0) * 0.37).sin() * 2).reshape(*shape)


def training_step() -> list[tn.Tensor]:
    """A convolution, a norm, a product, a loss and two steps of Adam."""
    tn.manual_seed(0)
    net = tn.nn.Sequential(
        tn.nn.Conv2d(3, 4, 3, padding=1), tn.nn.BatchNorm2d(4), tn.nn.ReLU(), tn.nn.Flatten()
    )
    head = tn.nn.Linear(4 * 8 * 8, 5)
    weights = [*net.parameters(), *head.parameters()]
    optimizer = tn.optim.AdamW(weights, lr=0.01)
    x, target = of_fixed(6 * 192, 6, 3, 8, 8), tn.arange(6) % 5
    for _ in range(2):
        optimizer.zero_grad()
        loss = F.cross_entropy(F.dropout(head(net(x)), 0.2), target)
        loss.backward()
        optimizer.step()
    return [loss.detach(), *[w.detach() for w in weights]]


def rows_and_columns() -> list[tn.Tensor]:
    x = of_fixed(77 * 300, 77, 300)
    y = x.softmax(-1) * x.exp().sum(0) + tn.cat([x[:, :100], x[:, 50:250]], 1)
    z = F.layer_norm(y, (300,)) - y.logsumexp(0) + y.cumsum(1).amax(0)
    return [y, z, z.var(), z.T.contiguous()[::2], x.argmax(1), (y @ z.T).tanh()]


WORK: list[Callable[[], list[tn.Tensor]]] = [training_step, rows_and_columns]


@pytest.fixture(scope="module")
def expected() -> list[list[np.ndarray]]:
    return [[x.numpy().copy() for x in work()] for work in WORK]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_without(
    name: str,
    corpus: list[tuple[Program, list[np.ndarray]]],
    expected: list[list[np.ndarray]],
) -> None:
    with tn.jit.disable(name):
        for program, results in corpus:
            again = fuzz.run(tn, program, getattr(tn, program.dtype), True)
            wrong = fuzz.differs(results, again)
            assert wrong is None, f"{wrong}\n{program}"
        for work, results in zip(WORK, expected):
            assert fuzz.differs(results, [x.numpy() for x in work()]) is None, work.__name__


# Without these all is compiled again and again: half a minute more.
SLOW = {"share_kernels", "kernel_cache", "quick_tier"}


def test_the_same_bits_without_any(
    corpus: list[tuple[Program, list[np.ndarray]]], expected: list[list[np.ndarray]]
) -> None:
    with tn.jit.disable(*[name for name in NAMES if name not in SLOW]):
        for program, results in corpus:
            again = fuzz.run(tn, program, getattr(tn, program.dtype), True)
            assert fuzz.differs(results, again) is None, str(program)
        for work, results in zip(WORK, expected):
            assert fuzz.differs(results, [x.numpy() for x in work()]) is None, work.__name__


# ---- that a switch switches ------------------------------------------------------------------


def plan_text(record: Callable[[], object]) -> str:
    tn.flush()
    kept = record()
    text = tn.jit.explain()
    del kept
    tn.flush()
    return text


X = of_fixed(35 * 48, 5, 7, 48)
tn.eval(X)


def updated() -> tn.Tensor:
    base = X @ X.transpose(1, 2)
    return base.index_add(0, tn.tensor([1, 3]), tn.ones(2, 7, 7)).exp()


# What records something in whose plan each optimization shows.
IN_PLANS: dict[str, Callable[[], object]] = {
    "outer_products": lambda: tn.einsum("ij,ik->ijk", X[0], X[1]),
    "cse": lambda: X.sin() + X.sin() * X,
    "algebra": lambda: X.neg().neg().exp(),
    "compose_movement": lambda: X.permute(1, 2, 0).permute(1, 2, 0).exp(),
    "channels_last": lambda: F.conv1d(F.conv1d(X, X[:, :, :3]).relu(), X[:, :5, :2]),
    "fuse_maps": lambda: X.sin().cumsum(0).exp().cos(),
    "fuse_rows": lambda: X.softmax(-1),
    "fuse_columns": lambda: (X.sum(1) * 2).exp(),
    "fuse_full": lambda: X.sum().exp() * 2,
    "fuse_siblings": lambda: (X.sin(), X.cos()),
    "inline_movement": lambda: X[:, 2:5].exp(),
    "recompute": lambda: [(y := X * 2).sum(), y.amax(-1).sin(), y.sum(0).cos()],
    "large_kernels": lambda: chain(400),
    "select_concatenate": lambda: tn.cat([X, X.sin()], 1).exp(),
    "merge_loops": lambda: X.exp(),
    "hoist": lambda: X.exp() * X[0, 0].sin(),
    "keep_rows": lambda: X.softmax(-1),
    "unroll": lambda: X.exp(),
    "donation": lambda: X.exp(),
    "update_in_place": updated,
    "batch_launches": lambda: (X.sin(), of_fixed(30, 30).cos()),
}


def chain(n: int) -> tn.Tensor:
    x = X
    for _ in range(n):
        x = x * 1.01 + 0.1
    return x


@pytest.mark.parametrize("name", IN_PLANS)
def test_plans_differ_without(name: str) -> None:
    text = plan_text(IN_PLANS[name])
    with tn.jit.disable(name):
        assert plan_text(IN_PLANS[name]) != text
    assert plan_text(IN_PLANS[name]) == text


def counted(work: Callable[[], object]) -> dict[str, int]:
    tn.flush()
    tn.jit.reset()
    work()
    tn.flush()
    return tn.jit.counters()


def test_without_shared_kernels_or_plans() -> None:
    def work() -> None:
        for _ in range(3):
            (X * 1.25 + 0.7).sum().item()

    work()
    assert counted(work)["kernels"] == 0
    with tn.jit.disable("plan_cache"):
        assert counted(work)["plans"] == 3
        assert counted(work)["kernels"] == 0
    with tn.jit.disable("plan_cache", "share_kernels"):
        assert counted(work)["kernels"] >= 3
    with tn.jit.disable("matching"):
        assert counted(work)["segments_matched"] == 0
    assert counted(work)["segments_matched"] == 3


def launched_at_once(record: Callable[[], object]) -> list[int]:
    lines = plan_text(record).splitlines()
    return [int(line.split(": ")[1]) for line in lines if line.startswith("launched at once")]


def test_an_update_of_each_parameter_is_one_launch() -> None:
    weights = [of_fixed(n * n, n, n) for n in (3, 40, 7, 64, 64)]
    gradients = [w + 1 for w in weights]
    tn.eval(*weights, *gradients)
    before = [w.numpy().copy() for w in weights]

    def step() -> None:
        for w, gradient in zip(weights, gradients):
            w.sub_(gradient, alpha=0.5)

    assert launched_at_once(step) == [5]
    for w, old in zip(weights, before):
        np.testing.assert_array_equal(w.numpy(), old - 0.5 * (old + 1))


def test_what_another_kernel_reads_is_not_written_beside_it() -> None:
    x, apart = of_fixed(35 * 48, 35, 48), of_fixed(99, 99)
    tn.eval(x, apart)

    def record() -> object:
        nonlocal x
        results = [x.cumsum(0), apart.sin()]  # a scan of the old x, then its update in place
        x.mul_(2)
        return [*results, x.T.cumsum(0)]

    old = x.numpy().copy()
    results: list[tn.Tensor] = []
    counts = launched_at_once(lambda: results.extend(record()))
    assert sum(counts) < 4  # never all of them
    np.testing.assert_allclose(results[0].numpy(), old.cumsum(0), rtol=1e-5)
    np.testing.assert_allclose(x.numpy(), old * 2)


def test_without_narrow_loops() -> None:
    x = of_fixed(64 * 5, 64, 5)

    def work() -> None:
        (x * 1.75).softmax(-1).tolist()

    tn._C._jit.set_narrow_at_once(True)
    try:
        with tn.jit.disable("narrow_loops"):
            counted(work)
        # The variant for short rows, besides the kernel that is known.
        assert counted(work)["kernels"] == 1
    finally:
        tn._C._jit.set_narrow_at_once(False)


def test_without_rematerialization() -> None:
    from test_memory import parameters, step

    weights = parameters(4, 128)
    x = tn.randn(2048, 128)
    tn.eval(x)
    results, peak = step(weights, x)
    with tn.jit.disable("rematerialize"):
        same, higher = step(weights, x)
    assert higher > 1.1 * peak
    assert all(tn.equal(a, b) for a, b in zip(results, same))


def test_without_cuts_at_periods() -> None:
    def work() -> None:
        x = X
        for _ in range(3000):
            x = (x * 1.0001).sin()
        x.sum().item()

    with tn.jit.disable("matching"):
        cut = counted(work)["programs"]
        with tn.jit.disable("periods"):
            assert counted(work)["programs"] < cut


def test_without_skipping_python() -> None:
    calls = []

    def body(x: tn.Tensor) -> tn.Tensor:
        return x.sin() * 2

    f = tn.compile(body)
    for _ in range(4):
        f(X)
    skipped = f._skipped
    with tn.jit.disable("skip_python"):
        calls.append(f(X))
        assert f._skipped == skipped
    f(X)
    assert f._skipped == skipped + 1


def test_unknown_names() -> None:
    wrong = pytest.raises(
        ValueError, match=f"no optimization 'fuse_everything'; there are {NAMES[0]}, "
    )
    with wrong, tn.jit.disable("fuse_everything"):
        pass
    assert tn.jit.disabled() == []


def run_python(code: str, **variables: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout + result.stderr


def test_the_environment() -> None:
    code = "import tenon as tn; print(tn.jit.disabled())"
    assert run_python(code, TENON_DISABLE="unroll,cse") == "['cse', 'unroll']\n"
    assert run_python(code, TENON_DISABLE="all") == f"{NAMES}\n"
    said = run_python(code, TENON_DISABLE="cse,everything")
    expected = "(expected all, or a list of " + ",".join(NAMES) + ")"
    assert f"TENON_DISABLE='cse,everything' is not valid {expected}" in said
    assert said.endswith("[]\n") or said.startswith("[]\n")


def test_without_the_kernel_cache(tmp_path: Path) -> None:
    code = "import tenon as tn; (tn.ones(9) * 3.5).exp().sum().item(); print(tn.jit.counters())"
    where = {"TENON_CACHE_DIR": str(tmp_path)}
    run_python(code, **where, TENON_DISABLE="kernel_cache")
    assert not list(tmp_path.glob("*.kernel"))
    run_python(code, **where)
    assert "'compiled': 0" in run_python(code, **where)
    assert "'from_disk': 0" in run_python(code, **where, TENON_DISABLE="kernel_cache")


def test_documented() -> None:
    page = (ROOT / "docs" / "optimizations.md").read_text()
    for name, what in tn.jit.optimizations().items():
        assert f"| `{name}` | {what} |" in page

"""The autotuner: the same bits, a budget, and winners that later processes use."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tenon as tn

PROGRAM = """
import sys
import tenon as tn

def f(x):
    y = x.softmax(-1) * x.sum(0)
    return y.tanh() + (x * 0.5).exp().amax(-1, keepdim=True)

x = ((tn.arange(96 * 500.0) * 0.37).sin() * 2).reshape(96, 500)
tn.eval(x)
"""
TUNED = PROGRAM + "g = tn.compile(f, mode='max-autotune')\nprint(g(x).numpy().tobytes().hex())\n"


def run_python(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TENON_CACHE_DIR": str(folder), "TENON_AUTOTUNE_SECONDS": "1", **variables}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )


def files(folder: Path) -> list[Path]:
    return sorted((folder / "tuned").glob("*/*.kernel"))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder of winners, and the bits that the tuned program gave."""
    folder = tmp_path_factory.mktemp("cache")
    return folder, run_python(TUNED, folder).stdout


def test_the_same_bits(tuned: tuple[Path, str], tmp_path: Path) -> None:
    plain = run_python(PROGRAM + "print(f(x).numpy().tobytes().hex())", tmp_path)
    assert plain.stdout == tuned[1]
    assert not files(tmp_path)


def test_winners_are_reused(tuned: tuple[Path, str]) -> None:
    folder, bits = tuned
    (file,) = files(folder)
    written = file.read_bytes()
    again = run_python(TUNED, folder, TENON_LOGS="plan")
    assert again.stdout == bits
    assert "tuned" not in again.stderr
    assert file.read_bytes() == written
    # Without being asked to tune, the program uses them too, and can be told not to.
    same = PROGRAM + "print(f(x).numpy().tobytes().hex())"
    uses = same + "\nprint(tn.tuning.results()[0]['trials'], file=sys.stderr)"
    assert int(run_python(uses, folder).stderr) > 2
    assert run_python(same, folder, TENON_DISABLE="tuned_plans").stdout == bits


def test_the_command(tuned: tuple[Path, str]) -> None:
    env = {**os.environ, "TENON_CACHE_DIR": str(tuned[0])}
    shown = subprocess.run(
        [sys.executable, "-m", "tenon.tuning"], env=env, capture_output=True, text=True, check=True
    )
    first, second = shown.stdout.strip().split("\n")
    assert first.split()[:2] == ["before", "us"]
    before, after = map(float, second.split()[:2])
    assert 0 < after <= before
    assert "float32[96, 500]" in second
    assert shown.stderr == ""


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_damaged_winners_are_ignored(damage: str, tuned: tuple[Path, str], tmp_path: Path) -> None:
    (source,) = files(tuned[0])
    file = tmp_path / "tuned" / source.parent.name / source.name
    file.parent.mkdir(parents=True)
    data = bytearray(source.read_bytes())
    if damage == "flipped":
        data[len(data) // 2 + 20] ^= 4
    file.write_bytes({"cut": data[:-9], "flipped": data, "empty": b""}[damage])
    result = run_python(PROGRAM + "print(f(x).numpy().tobytes().hex())", tmp_path)
    assert result.stdout == tuned[1]
    assert "the tuned choices in" in result.stderr
    assert "are damaged; they are ignored" in result.stderr


@pytest.fixture
def clean() -> Iterator[None]:
    tn.tuning.clear()
    yield
    tn.tuning.clear()


@pytest.mark.usefixtures("clean")
def test_ordinary_code() -> None:
    """Forward, backward and a step, with what the step overwrites."""

    def steps(n: int) -> list[np.ndarray]:
        tn.manual_seed(1)
        net = tn.nn.Sequential(tn.nn.Linear(20, 30), tn.nn.ReLU(), tn.nn.Linear(30, 1))
        optimizer = tn.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        for _ in range(n):
            optimizer.zero_grad()
            net(tn.rand(16, 20)).square().mean().backward()
            optimizer.step()
        return [p.detach().numpy().copy() for p in net.parameters()]

    expected = steps(4)
    with tn.tuning.autotune(seconds=0.3):
        found = steps(4)
    for a, b in zip(expected, found):
        assert a.tobytes() == b.tobytes()
    assert any(entry["trials"] > 1 for entry in tn.tuning.results())


@pytest.mark.usefixtures("clean")
def test_the_budget() -> None:
    x = tn.rand(64, 300)
    tn.eval(x)
    start = time.monotonic()
    with tn.tuning.autotune(seconds=0.5):
        y = x
        for _ in range(5):
            y = (y.softmax(-1) + y.cumsum(0).tanh()) * y.amax(0)
        y.sum().item()
    spent = time.monotonic() - start
    (entry,) = [e for e in tn.tuning.results() if e["trials"] > 1]
    assert entry["seconds"] <= spent < 2.5  # of which most is a compilation under way


@pytest.mark.usefixtures("clean")
def test_other_sizes_are_tuned_apart() -> None:
    def f(n: int) -> None:
        (tn.ones(n, 8) * 1.5).exp().sum(0).tolist()

    with tn.tuning.autotune(seconds=0.1):
        f(100)
        one = len(tn.tuning.results())
        f(101)  # of one class
        assert len(tn.tuning.results()) == one
        f(300)
        assert len(tn.tuning.results()) == one + 1


@pytest.mark.usefixtures("clean")
def test_errors_are_raised_by_the_run() -> None:
    x = tn.arange(10.0)
    with pytest.raises(IndexError), tn.tuning.autotune(seconds=0.1):
        (x.exp()[tn.tensor([3, 11])] * 2).tolist()
    with pytest.raises(ValueError, match="negative"), tn.tuning.autotune(seconds=-1):
        pass
    assert tn.tuning.results() == []


@pytest.mark.usefixtures("clean")
def test_compiled_functions_run_at_once() -> None:
    f = tn.compile(lambda x: (x.sin() * 2).sum(-1), mode="max-autotune")
    x = tn.rand(40, 50)
    for _ in range(5):
        y = f(x)
        assert tn.pending_trace() == "" or "sin" not in tn.pending_trace()
        assert y.tolist() == (x.sin() * 2).sum(-1).tolist()
    assert f._skipped >= 2
    assert tn.vmap(f)(x).tolist() == (x.sin() * 2).sum(-1).tolist()

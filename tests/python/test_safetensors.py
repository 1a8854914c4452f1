"""Tensors in files: round trips, the reference package as the other end, faults 30 and 31.

The file format's own checks are tested in C++ (tests/nn/safetensors_test.cpp).
"""

import os
import signal
import stat
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import tenon as tn
from tenon import nn

DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "bfloat16",
]


def test_a_module_goes_round(tmp_path):
    path = tmp_path / "model.safetensors"
    net = nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    tn.save(net.state_dict(), path)
    other = nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    other.load_state_dict(tn.load(path))
    x = tn.tensor([[0, 4], [2, 2]])
    assert other(x).tolist() == net(x).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_go_round(tmp_path, dtype):
    x = tn.tensor([[0, 1, 1], [1, 0, 100]]).to(getattr(tn, dtype))
    tn.save({"x": x, "empty": x[:0], "scalar": x[0, 1]}, tmp_path / "f")
    back = tn.load(tmp_path / "f")
    assert list(back) == ["x", "empty", "scalar"]
    for name, value in {"x": x, "empty": x[:0], "scalar": x[0, 1]}.items():
        assert back[name].dtype == value.dtype and back[name].shape == value.shape
        assert back[name].tolist() == value.tolist()


def test_views_pending_values_and_parameters_are_saved_by_value(tmp_path):
    base = tn.arange(12.0).reshape(3, 4)
    pending = base * 2 + 1
    p = nn.Parameter(tn.ones(2))
    tn.save(
        {"t": base.t(), "slice": base[::2, 1:], "flip": base.flip(0), "pending": pending, "p": p},
        tmp_path / "f",
    )
    back = tn.load(tmp_path / "f")
    assert back["t"].tolist() == np.arange(12.0).reshape(3, 4).T.tolist()
    assert back["slice"].tolist() == [[1, 2, 3], [9, 10, 11]]
    assert back["pending"][2].tolist() == [17, 19, 21, 23]
    assert back["flip"][0].tolist() == [8, 9, 10, 11]
    assert not back["p"].requires_grad


def test_loaded_tensors_are_ones_own(tmp_path):
    tn.save({"x": tn.zeros(3)}, tmp_path / "f")
    x = tn.load(tmp_path / "f")["x"]
    x += 1
    assert x.tolist() == [1, 1, 1]
    assert tn.load(tmp_path / "f")["x"].tolist() == [0, 0, 0]


def test_the_reference_package_reads_and_writes_the_same(tmp_path):
    reference = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(0)
    arrays = {
        "weight": rng.standard_normal((3, 5)).astype(np.float32),
        "scale": rng.standard_normal(7),
        "half": rng.standard_normal((2, 2)).astype(np.float16),
        "mask": rng.integers(0, 2, 9).astype(bool),
        "count": np.array(5),
        "bytes": rng.integers(0, 255, (3,)).astype(np.uint8),
        "nothing": np.zeros((0, 4), np.float32),
    }
    reference.save_file(arrays, tmp_path / "theirs", {"format": "np", "ünï": "✓"})
    loaded = tn.load(tmp_path / "theirs")
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        assert (
            np.array_equal(loaded[name].numpy(), array)
            and loaded[name].numpy().dtype == array.dtype
        )
    tn.save(loaded, tmp_path / "ours", {"made by": 'tenon "x"\n'})
    back = reference.load_file(tmp_path / "ours")
    for name, array in arrays.items():
        assert np.array_equal(back[name], array) and back[name].dtype == array.dtype
    with __import__("safetensors").safe_open(tmp_path / "ours", "np") as file:
        assert file.metadata() == {"made by": 'tenon "x"\n'}


def test_bfloat16_agrees_with_the_reference(tmp_path):
    reference = pytest.importorskip("safetensors.torch")
    torch = pytest.importorskip("torch")
    x = torch.randn(64, 3).to(torch.bfloat16)
    reference.save_file({"x": x}, tmp_path / "f")
    assert tn.load(tmp_path / "f")["x"].float().tolist() == x.float().tolist()


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        tn.load(tmp_path / "missing")
    with pytest.raises(OSError):
        tn.save({"x": tn.zeros(1)}, tmp_path / "no" / "folder")
    with pytest.raises(TypeError):
        tn.save({"x": 3}, tmp_path / "f")
    with pytest.raises(TypeError):
        tn.save({3: tn.zeros(1)}, tmp_path / "f")
    with pytest.raises(ValueError):
        tn.save({"__metadata__": tn.zeros(1)}, tmp_path / "f")
    x = {"x": tn.zeros(1)}
    with pytest.raises(TypeError, match="the metadata of 'step' is no str but <class 'int'>"):
        tn.save(x, tmp_path / "f", {"step": 3})
    with pytest.raises(TypeError, match="the key of 3"):
        tn.save(x, tmp_path / "f", {3: "step"})
    with pytest.raises(ValueError, match=r"the metadata of 'by' has a surrogate"):
        tn.save(x, tmp_path / "f", {"by": "\ud800"})
    with pytest.raises(ValueError, match=r"the name of '\\ud800' has a surrogate"):
        tn.save({"\ud800": tn.zeros(1)}, tmp_path / "f")
    assert not (tmp_path / "f").exists()
    (tmp_path / "bad").write_bytes(b'\x08\0\0\0\0\0\0\0{"a": 1}')
    with pytest.raises(ValueError, match="safetensors"):
        tn.load(tmp_path / "bad")
    assert os.listdir(tmp_path) == ["bad"]


def test_permissions_follow_the_umask_and_the_old_file(tmp_path):
    old = os.umask(0o027)
    try:
        tn.save({"x": tn.zeros(1)}, tmp_path / "f")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640
    (tmp_path / "f").chmod(0o600)
    tn.save({"x": tn.zeros(2)}, tmp_path / "f")
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


CHILD = """
    import resource, signal, sys
    import tenon as tn
    path, limit = sys.argv[1], int(sys.argv[2])
    x = {"x": tn.arange(100000.0) + 1}
    print("ready", flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        tn.save(x, path)
    except OSError as error:
        print(type(error).__name__)
        sys.exit(7)
"""


@pytest.mark.parametrize("limit", [0, 5, 100, 200_000, 399_999])
def test_a_full_disk_leaves_the_old_file(tmp_path, limit):
    path = tmp_path / "f"
    tn.save({"x": tn.zeros(3)}, path)
    before = path.read_bytes()
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), path, str(limit)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 7, run.stderr
    assert "OSError" in run.stdout
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["f"]


def test_a_kill_while_saving_leaves_the_old_file(tmp_path):
    path = tmp_path / "f"
    tn.save({"x": tn.zeros(3)}, path)
    endless = """
        import sys
        import tenon as tn
        x = {"x": tn.arange(3000000.0)}
        print("ready", flush=True)
        while True:
            tn.save(x, sys.argv[1])
    """
    whole = 3_000_000 * 4
    for delay in (0.001, 0.004, 0.01, 0.03):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(endless), path],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout.readline() == "ready\n"
        try:
            child.wait(delay)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        child.wait()
        assert tn.load(path)["x"].numel() in (3, whole // 4)

"""Without a CUDA device: questions have answers; what needs a device says why there is none."""

import doctest
import os
import re
import subprocess
import sys

import pytest

import tenon as tn

pytestmark = pytest.mark.skipif(tn.cuda.is_available(), reason="there is a device: see device/")
REASON = re.escape(tn.cuda.unavailable_reason())


def test_questions():
    assert "cuda" in dir(tn)
    assert tn.cuda.is_available() is False
    assert tn.cuda.unavailable_reason()
    assert tn.cuda.device_count() == 0
    assert not tn.cuda.is_initialized() and not tn.cuda.is_bf16_supported()
    assert tn.cuda.memory_allocated() == tn.cuda.max_memory_allocated() == 0
    tn.cuda.empty_cache()
    tn.cuda.manual_seed_all(3)
    assert str(tn.device("cuda")) == "cuda:0"  # a name, which nobody has used yet
    assert doctest.testmod(tn.cuda).failed == 0


@pytest.mark.parametrize(
    "use",
    [
        lambda: tn.cuda.synchronize(),
        lambda: tn.cuda.current_device(),
        lambda: tn.cuda.set_device(0),
        lambda: tn.cuda.get_device_name(0),
        lambda: tn.cuda.get_device_properties(0),
        lambda: tn.zeros(3, device="cuda"),
        lambda: tn.rand(3, device="cuda"),
        lambda: tn.randn(3, device=tn.device("cuda:1")),
        lambda: tn.arange(3, device="cuda"),
        lambda: tn.zeros_like(tn.ones(2), device="cuda"),
        lambda: tn.tensor([1.0], device="cuda"),
        lambda: tn.as_tensor([1.0], device="cuda"),
        lambda: tn.ones(2).to("cuda"),
        lambda: tn.ones(2).to(tn.device("cuda:0"), tn.float64),
        lambda: tn.ones(2).cuda(),
        lambda: tn.ones(2).cuda("cuda:1"),
        lambda: tn.nn.Linear(2, 2).cuda(),
        lambda: tn.nn.Linear(2, 2, device="cuda"),
    ],
)
def test_what_needs_a_device(use):
    with pytest.raises(RuntimeError, match=f"cuda.*{REASON}"):
        use()
    assert tn.ones(2).sum().item() == 2  # and work on the CPU goes on


@pytest.mark.parametrize("folder", ["empty", "broken"])
def test_the_reason_names_what_was_looked_for(tmp_path, folder):
    if folder == "broken":
        (tmp_path / "libcuda.so.1").write_text("no library" * 100)
    program = "import tenon as tn; print(tn.cuda.is_available(), tn.cuda.unavailable_reason())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TENON_CUDA_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("False ")
    if "no NVIDIA driver" in done.stdout:  # there is none in the system's folders either
        assert "libcuda.so.1" in done.stdout and str(tmp_path) in done.stdout
        assert ("invalid ELF header" in done.stdout) == (folder == "broken")

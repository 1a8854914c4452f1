"""Runs the tests of CUDA devices (tests/python/device) without one: on fakes of the driver, of
NVRTC and of cuBLASLt, which check every call and run kernels on the emulation (tests/cuda)."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parent / "cuda"
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")


@pytest.fixture(scope="session")
def fakes(tmp_path_factory):
    """The folder of the fake libraries."""
    folder = tmp_path_factory.mktemp("fakes")
    for source, name in [
        ("fake_driver.cpp", "libcuda.so.1"),
        ("fake_nvrtc.cpp", "libnvrtc.so.13"),
        ("fake_cublaslt.cpp", "libcublasLt.so.13"),
    ]:
        others = [] if name == "libcuda.so.1" else [f"-L{folder}", "-l:libcuda.so.1"]
        subprocess.run(
            [
                *COMPILER.split(),
                *("-std=c++20", "-O1", "-fPIC", "-shared", f"-I{HERE.parent.parent}"),
                f'-DTENON_EMULATION_HEADER="{SOURCES / "emulation.h"}"',
                f'-DTENON_HOST_COMPILER="{COMPILER}"',
                *(str(SOURCES / source), "-o", str(folder / name), f"-Wl,-soname,{name}"),
                *(*others, "-Wl,-rpath,$ORIGIN"),
            ],
            check=True,
        )
    return folder


@pytest.mark.skipif(COMPILER is None, reason="the fakes are compiled by c++")
def test_devices(fakes, tmp_path):
    environment = {
        **os.environ,
        "TENON_CUDA_LIBRARY_PATH": str(fakes),
        "TENON_TEST_FAKES": str(fakes),
        "TENON_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "device")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) >= 35, done.stdout[-400:]

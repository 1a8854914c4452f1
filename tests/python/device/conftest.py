"""Tests of CUDA devices: run where there is one, and by ../test_cuda_fakes.py without one."""

import ctypes
import os

import pytest

import tenon as tn

if not tn.cuda.is_available():
    collect_ignore_glob = ["test_*.py"]

FAKES = os.environ.get("TENON_TEST_FAKES")


@pytest.fixture(autouse=True)
def nothing_wrong():
    """No test calls the fake driver wrongly, or leaves memory on the device."""
    if FAKES is None:
        yield
        return
    driver = ctypes.CDLL(f"{FAKES}/libcuda.so.1")
    driver.fake_violations.restype = ctypes.c_char_p
    yield
    assert driver.fake_violations() == b""


@pytest.fixture
def fake_driver():
    if FAKES is None:
        pytest.skip("a real device")
    return ctypes.CDLL(f"{FAKES}/libcuda.so.1")

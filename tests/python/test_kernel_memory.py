"""Kernels stay in memory; what they take of the kernel's tables must not grow with them."""

import itertools
import sys
from pathlib import Path

import pytest

import tenon as tn

MAPS = Path("/proc/self/maps")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_many_kernels_take_few_mappings():
    functions = [tn.sin, tn.cos, tn.exp, tn.tanh, tn.abs, tn.neg]
    x = tn.rand(100)
    tn.eval(x)
    tn.jit.reset()
    before = len(MAPS.read_text().splitlines())
    for chosen in itertools.product(functions, repeat=3):
        y = x
        for f in chosen:
            y = f(y)
        tn.eval(y)
    made = tn.jit.counters()["kernels"]
    assert made > 150
    assert len(MAPS.read_text().splitlines()) - before < made / 2

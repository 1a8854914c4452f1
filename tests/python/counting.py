"""Counts of what the JIT made while something ran."""

import numpy as np

import tenon as tn


def made(run):
    """Counts of what `run` made anew."""
    tn.jit.reset()
    run()
    counts = tn.jit.counters()
    assert counts["programs"] > 0, "nothing ran"
    return counts


def floats(*shape):
    return tn.tensor(np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape))

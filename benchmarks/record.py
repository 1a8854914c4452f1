"""Nanoseconds that recording an operation takes, over the forward pass of the GPT with gradients.

    python benchmarks/record.py

The model is so small that nothing but overhead is left: sequences of 8 characters, 16 wide. The
Python of the modules is part of what is timed. Tenon is timed while the recorder finds what it
recorded last time ("matched"), and while every pass follows work of another kind ("unmatched");
running what was recorded is outside the clock. For PyTorch the same calls also compute, on tensors
too small to matter.

Two averages: over the calls of functions and methods that the forward makes (counted in PyTorch by
`TorchFunctionMode`), and over what a framework breaks them into: nodes of Tenon's trace, operations
that PyTorch dispatches. Before them, one call by itself: `x + y` in a loop, `x` requiring a
gradient.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import numpy as np
from harness import Options, Peer, Runner, main
from task import Config
from twin import load

# Calls of one forward of `small`; PyTorch's peer checks it.
CALLS = 66
BATCH, LENGTH = 1, 8


def small(framework: str):
    """The model, and tokens of one short sequence."""
    gpt = load(framework)
    config = Config(vocabulary=32, context=LENGTH, layers=4, heads=2, width=16)
    model = gpt.GPT(config)
    gpt.initialize(model)
    tokens = np.random.default_rng(0).integers(0, 32, (BATCH, LENGTH))
    return model, gpt.tensors([tokens])[0]


class Clock:
    """Runs `record` and `finish` in turns, and has timed `record` only: the median pass, since a
    pass of 50 us that the system interrupts takes several times as long.
    """

    def __init__(self, record, finish) -> None:
        self.record, self.finish = record, finish

    def __call__(self, seconds: float) -> float:
        spent: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(spent) < 20:
            begin = time.perf_counter()
            value = self.record()
            spent.append(time.perf_counter() - begin)
            self.finish(value)
        return statistics.median(spent)


def recorded_nodes(model, tokens) -> int:
    """Nodes that a forward adds to the trace."""
    import tenon as tn

    tn.flush()
    value = model(tokens)
    lines = tn.pending_trace().splitlines()
    tn.eval(value)
    return sum(" = " in line and " = input" not in line for line in lines)


ADDITIONS = 500


def additions(tensor, finish) -> Runner:
    """A loop of `x + y` on three elements, whose results are dropped."""
    x, y = tensor([1.0, 2.0, 3.0]), tensor([0.5, 0.25, 0.125])
    x.requires_grad_(True)

    def record():
        for _ in range(ADDITIONS):
            x + y

    return Runner(
        run=record,
        result=lambda: (x + y).detach().numpy(),
        units=ADDITIONS,
        timed=Clock(record, lambda _: finish()),
    )


def tenon(case: str, between) -> Runner:
    import tenon as tn

    if case == "x + y":

        def finish_additions() -> None:
            tn.flush()
            between()

        return additions(tn.tensor, finish_additions)
    model, tokens = small("tenon")

    def finish(value) -> None:
        tn.eval(value)
        between()

    return Runner(
        run=lambda: tn.eval(model(tokens)),
        result=lambda: model(tokens).detach().numpy(),
        units=CALLS if case == "a call" else recorded_nodes(model, tokens),
        timed=Clock(lambda: model(tokens), finish),
    )


def tenon_matched(case: str) -> Runner:
    return tenon(case, lambda: None)


def tenon_unmatched(case: str) -> Runner:
    import tenon as tn

    turns = itertools.count()

    def between() -> None:
        turn, x = next(turns), tn.ones(3)
        for bit in range(8):
            x = x.sin() if turn >> bit & 1 else x.cos()
        tn.eval(x)

    return tenon(case, between)


def torch(case: str) -> Runner:
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    class Calls(TorchFunctionMode):
        count = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            # Attributes such as `shape` arrive here as getters.
            self.count += getattr(func, "__name__", "") != "__get__"
            return func(*args, **(kwargs or {}))

    class Dispatched(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.count += 1
            return func(*args, **(kwargs or {}))

    torch.set_num_threads(1)
    if case == "x + y":
        return additions(torch.tensor, lambda: None)
    model, tokens = small("torch")
    with Calls() as calls:
        model(tokens)
    with Dispatched() as dispatched:
        model(tokens)
    assert calls.count == CALLS, f"the forward makes {calls.count} calls, not {CALLS}"
    return Runner(
        run=lambda: model(tokens),
        result=lambda: model(tokens).detach().numpy(),
        units=CALLS if case == "a call" else dispatched.count,
        timed=Clock(lambda: model(tokens), lambda _: None),
    )


PEERS: dict[str, Peer] = {
    "tenon matched": tenon_matched,
    "tenon unmatched": tenon_unmatched,
    "torch": torch,
}

if __name__ == "__main__":
    options = Options(tolerance=1e-4, unit="ns")
    main(__doc__, PEERS, ["x + y", "a call", "a primitive"], options)

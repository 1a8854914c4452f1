"""A step of AdamW over 100 tensors, written as anybody writes it, beside PyTorch's fused one.

python benchmarks/adamw.py [--case 128 256 512] [--peers tenon torch "torch foreach"]

A case is the side of the square tensors. Each step reads parameter, gradient and both moments and
writes all but the gradient: 28 bytes an element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Options, Peer, Runner, main

COUNT = 100


def arrays(case: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    side = int(case)
    return [rng.normal(size=(side, side)).astype(np.float32) for _ in range(2 * COUNT)]


def runner(
    t: Any, case: str, finish: Callable[..., Any] = lambda *_: None, **options: Any
) -> Runner:
    values = [t.from_numpy(a) for a in arrays(case)]
    parameters = [x.clone().requires_grad_() for x in values[:COUNT]]
    for p, g in zip(parameters, values[COUNT:], strict=True):
        p.grad = g.clone()
    optimizer = t.optim.AdamW(parameters, lr=1e-3, **options)
    steps = 0

    def run() -> None:
        nonlocal steps
        optimizer.step()
        finish(*parameters)
        steps += 1

    def result() -> np.ndarray:
        assert steps == 3  # of the harness' warm-up
        return np.concatenate([p.detach().numpy().ravel() for p in parameters])

    return Runner(run, result)


def tenon(case: str) -> Runner:
    import tenon

    return runner(tenon, case, tenon.eval)


def torch(case: str) -> Runner:
    import torch

    return runner(torch, case, fused=True)


def torch_foreach(case: str) -> Runner:
    import torch

    return runner(torch, case, foreach=True)


PEERS: dict[str, Peer] = {"tenon": tenon, "torch": torch, "torch foreach": torch_foreach}

if __name__ == "__main__":
    main(__doc__, PEERS, ["128", "256", "512"], Options(unit="ms"))

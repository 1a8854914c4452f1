"""A multilayer perceptron's training steps: sizes, data and initial values in NumPy alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

SIZES, BATCH, LR = (784, 512, 512, 10), 128, 1e-3


def initial_values() -> list[np.ndarray]:
    """A weight (out, in) and a bias a layer."""
    rng = np.random.default_rng(0)
    values = []
    for inputs, outputs in itertools.pairwise(SIZES):
        scale = (2 / inputs) ** 0.5
        values.append((rng.standard_normal((outputs, inputs)) * scale).astype(np.float32))
        values.append(np.zeros(outputs, np.float32))
    return values


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((BATCH, SIZES[0])).astype(np.float32)
    return x, rng.integers(0, SIZES[-1], BATCH)


def make_model(t: Any) -> Any:
    """In a framework with PyTorch's interface."""
    layers: list[Any] = []
    for inputs, outputs in itertools.pairwise(SIZES):
        layers += [t.nn.Linear(inputs, outputs), t.nn.ReLU()]
    model = t.nn.Sequential(*layers[:-1])
    with t.no_grad():
        for parameter, value in zip(model.parameters(), initial_values(), strict=True):
            parameter.copy_(t.from_numpy(value))
    return model


def train(t: Any, model: Any, **adamw: Any) -> Iterator[Any]:
    optimizer = t.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01, **adamw)
    x, labels = (t.from_numpy(a) for a in data())
    while True:
        loss = t.nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss

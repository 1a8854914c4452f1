"""What the GPT learns, its sizes, schedule and initial values, in NumPy alone."""

from __future__ import annotations

import math
import pydoc_data.topics
from dataclasses import dataclass

import numpy as np


@dataclass
class Config:
    """Sizes of the model. The vocabulary is the set of characters of the text."""

    vocabulary: int
    context: int = 128
    layers: int = 4
    heads: int = 4
    width: int = 128


@dataclass
class Training:
    """How it is trained: AdamW, the learning rate rising linearly and falling as a cosine."""

    steps: int = 1000
    batch: int = 16
    lr: float = 4e-3
    warmup: int = 50
    weight_decay: float = 0.1
    seed: int = 1

    def learning_rate(self, step: int) -> float:
        fall = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.lr * min(1.0, (step + 1) / self.warmup) * fall


class Text:
    """The documentation of Python's topics, which every CPython carries, as numbers."""

    def __init__(self, held_out: float = 0.1) -> None:
        topics = pydoc_data.topics.topics
        text = "\n".join(topics[name] for name in sorted(topics))
        self.alphabet = sorted(set(text))
        number = {c: i for i, c in enumerate(self.alphabet)}
        numbers = np.fromiter((number[c] for c in text), dtype=np.int64, count=len(text))
        cut = int(len(numbers) * (1 - held_out))
        self.train, self.held_out = numbers[:cut], numbers[cut:]

    def encode(self, text: str) -> np.ndarray:
        number = {c: i for i, c in enumerate(self.alphabet)}
        return np.array([number[c] for c in text], dtype=np.int64)

    def decode(self, numbers) -> str:
        return "".join(self.alphabet[i] for i in numbers)

    def batch(self, rng: np.random.Generator, size: int, context: int):
        """Random windows of the training part: inputs, and targets one character later."""
        starts = rng.integers(0, len(self.train) - context - 1, size)
        windows = self.train[starts[:, None] + np.arange(context + 1)]
        return self._pair(windows)

    def held_out_batches(self, size: int, context: int):
        """The whole held-out part in windows that don't overlap."""
        count = (len(self.held_out) - 1) // context
        starts = np.arange(count) * context
        for i in range(0, count, size):
            windows = self.held_out[starts[i : i + size, None] + np.arange(context + 1)]
            yield self._pair(windows)

    @staticmethod
    def _pair(windows: np.ndarray):
        return np.ascontiguousarray(windows[:, :-1]), np.ascontiguousarray(windows[:, 1:])


def initial_value(
    name: str, shape: tuple[int, ...], layers: int, rng: np.random.Generator
) -> np.ndarray:
    """GPT-2's initial values: normal, smaller where a layer adds to the residual stream."""
    if len(shape) < 2:
        return np.full(shape, 1.0 if "norm" in name and "weight" in name else 0.0, np.float32)
    residual = name.endswith(("proj.weight", "mlp.2.weight"))
    scale = 0.02 / np.sqrt(2 * layers) if residual else 0.02
    return rng.normal(0.0, scale, shape).astype(np.float32)

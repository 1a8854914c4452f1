"""The cases that the spec declares, with samples evaluated for Tenon and for PyTorch alike."""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "spec"))

from generator.cases import write_cases  # noqa: E402
from generator.operations import read_operations  # noqa: E402
from generator.primitives import read_primitives  # noqa: E402


def load_cases() -> list[dict[str, Any]]:
    primitives = read_primitives(ROOT / "spec" / "primitives.toml")
    operations = read_operations(sorted((ROOT / "spec" / "ops").glob("*.toml")), primitives)
    return json.loads(write_cases(operations))


class Samples:
    """Makers of the letters in samples: F floats, P positive, U in (-1, 1), Q in (0, 1), A above 1,
    I integers, B bools, C complex numbers. The same text gives the same numbers everywhere."""

    def __init__(self, framework: Any, text: str, dtype: Any = None, integer: Any = None) -> None:
        self.framework = framework
        self.text = text
        self.dtype = dtype
        self.integer = integer
        self.made: list[Any] = []  # the floating tensors, in order

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(f"{self.text}{len(self.made)}".encode()))

    def _float(self, values: np.ndarray) -> Any:
        dtype = self.dtype or self.framework.float32
        if not dtype.is_floating_point:  # whole numbers that every dtype holds
            values = np.abs(np.round(np.asarray(values)))
        x = self.framework.tensor(np.asarray(values).tolist(), dtype=dtype)
        x = x.reshape(values.shape)  # nested lists forget sizes behind a zero
        self.made.append(x)
        return x

    def evaluate(
        self, extra: dict[str, Any] | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """(arguments, keyword arguments) of the sample."""
        rng = self._rng

        def letter(make: Any) -> Any:
            return lambda *shape: self._float(make(rng(), shape))

        def integers(*shape: int) -> Any:
            values = rng().integers(0, 10, shape)
            self.made.append(None)
            dtype = self.integer or self.framework.int64
            return self.framework.tensor(values.tolist(), dtype=dtype).reshape(values.shape)

        def bools(*shape: int) -> Any:
            values = rng().integers(0, 2, shape).astype(bool)
            self.made.append(None)
            return self.framework.tensor(values.tolist(), dtype=self.framework.bool).reshape(
                values.shape
            )

        def complex_numbers(*shape: int) -> Any:
            values = rng().normal(size=shape) + 1j * rng().normal(size=shape)
            self.made.append(None)
            double = self.dtype is not None and str(self.dtype).endswith("float64")
            dtype = self.framework.complex128 if double else self.framework.complex64
            return self.framework.tensor(values.tolist(), dtype=dtype).reshape(values.shape)

        names = {
            "F": letter(lambda r, s: r.normal(size=s)),
            "P": letter(lambda r, s: r.uniform(0.3, 3, s)),
            "Q": letter(lambda r, s: r.uniform(0.05, 0.95, s)),
            "U": letter(lambda r, s: r.uniform(-0.9, 0.9, s)),
            "A": letter(lambda r, s: r.uniform(1.2, 4, s)),
            "C": complex_numbers,
            "I": integers,
            "B": bools,
            "tn": self.framework,
            "collect": lambda *args, **kwargs: (args, kwargs),
            **(extra or {}),
        }
        return eval(f"collect({self.text})", names)

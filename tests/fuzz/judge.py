"""PyTorch as the judge of values, with Tenon's random numbers where both can draw the same.

Uniform numbers are Philox4x32-10's (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
SC 2011), computed here in NumPy: element i of a call is word i % 4 of the block whose counter is
(i // 4, call), under the seed as key; 27 and 26 bits of two calls make a float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

WORD = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def philox(seed: int, call: int, count: int) -> np.ndarray:
    """`count` words of 32 bits."""
    group = np.arange((count + 3) // 4, dtype=np.uint64)
    words = [group & WORD, group >> HALF]
    words += [np.full_like(group, call & 0xFFFFFFFF), np.full_like(group, call >> 32)]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p0, p1 = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        words = [
            (p1 >> HALF) ^ words[1] ^ np.uint64(key[0]),
            p1 & WORD,
            (p0 >> HALF) ^ words[3] ^ np.uint64(key[1]),
            p0 & WORD,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(words, 1).ravel()[:count]


class Uniform:
    """Tenon's generator: a seed and a count of calls."""

    def __init__(self, torch: Any):
        self.torch = torch
        self.manual_seed(0)

    def manual_seed(self, seed: int) -> None:
        self.seed, self.calls = seed, 0

    def rand(self, *size: int, dtype: Any) -> Any:
        high, low = (
            philox(self.seed, self.calls + k, int(np.prod(size, dtype=np.int64))) for k in range(2)
        )
        self.calls += 2
        unit = ((high >> np.uint64(5)) * 67108864.0 + (low >> np.uint64(6))) * 2.0**-53
        return self.torch.from_numpy(unit.reshape(size)).to(dtype)

    def rand_like(self, x: Any) -> Any:
        return self.rand(*x.shape, dtype=x.dtype)


def find_judge(name: str) -> Any | None:
    """torch, made to draw as Tenon does and to take no notice of cuts; None where it is missing."""
    if name == "none":
        return None
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    uniform = Uniform(torch)
    for method in ("manual_seed", "rand", "rand_like"):
        setattr(torch, method, getattr(uniform, method))
    torch.eval = lambda *tensors: None  # type: ignore[attr-defined]
    return torch

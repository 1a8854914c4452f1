"""Networks of convolutions: whatever lies between them, the bits are those without its layout."""

from __future__ import annotations

import random

import numpy as np
import pytest

import tenon as tn
import tenon.nn.functional as F

try:
    import torch
except ImportError:
    torch = None

SEEDS = range(24)


def draw(rng: random.Random) -> tuple[list[tuple], tuple[int, ...]]:
    """Layers as names with arguments, and the input's shape."""
    spatial = rng.choice([1, 2, 2, 2, 3])
    channels = rng.choice([1, 3, 5, 16, 17])
    extents = tuple(
        rng.choice([2, 5, 9, 16] if spatial > 1 else [7, 70, 131]) for _ in range(spatial)
    )
    shape = (rng.choice([1, 2, 5]), channels, *extents)
    layers: list[tuple] = []
    for _ in range(rng.randint(2, 6)):
        kind = rng.choice(
            ["conv", "conv", "conv", "norm", "relu", "skip", "pool", "group", "cat", "sum", "tanh"]
        )
        if kind == "conv":
            out = rng.choice([3, 8, 16, 33, 64])
            layers.append(("conv", channels, out, rng.choice([1, 3]), rng.choice([1, 1, 2])))
            channels = out
        elif kind == "cat":
            layers.append(("cat",))
            channels *= 2
        else:
            layers.append((kind,))
    layers.append(("conv", channels, 4, 1, 1))
    return layers, shape


def weights(layers: list[tuple], spatial: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    result = []
    for layer in layers:
        if layer[0] == "conv":
            _, channels, out, kernel, _ = layer
            w = rng.normal(size=(out, channels) + (kernel,) * spatial)
            result.append((w / (channels * kernel**spatial) ** 0.5).astype(np.float32))
    return result


def forward(t, functional, layers, parameters, x):
    """The layers' result, with what some of them are reduced to on the way."""
    spatial = x.ndim - 2
    convolve = getattr(functional, f"conv{spatial}d")
    pool = getattr(functional, f"max_pool{spatial}d")
    ws = iter(parameters)
    positions = tuple(range(2, 2 + spatial))
    seen = []
    for layer in layers:
        match layer[0]:
            case "conv":
                x = convolve(x, next(ws), None, layer[4], layer[3] // 2)
            case "norm":
                x = functional.batch_norm(x, None, None, None, None, True)
            case "group":
                x = functional.group_norm(x, 1)
            case "relu":
                x = functional.relu(x)
            case "tanh":
                x = t.tanh(x)
            case "skip":
                x = x + functional.relu(x * 0.5)
            case "pool":
                if min(x.shape[2:]) >= 2:
                    x = pool(x, 2)
            case "cat":
                x = t.cat([x, -x], 1)
            case "sum":
                seen.append(x.sum(positions) * x.amax((0, *positions)))
    return x, seen


def values_and_gradients(t, functional, layers, arrays, array, *, whole: bool, half: bool = False):
    dtype = t.bfloat16 if half else t.float32
    parameters = [t.tensor(w, dtype=dtype, requires_grad=True) for w in arrays]
    x = t.tensor(array, dtype=dtype, requires_grad=True)
    y, seen = forward(t, functional, layers, parameters, x)
    loss = (y * y).mean() if whole else (y.mean(tuple(range(2, y.ndim))) * 0.7).tanh().sum()
    for s in seen:
        loss = loss + s.sum() * 0.01
    loss.backward()
    results = [loss.detach(), x.grad, *[p.grad for p in parameters]]
    return [r.float().numpy().copy() for r in results]


@pytest.mark.parametrize("seed", SEEDS)
def test_bits_are_those_of_the_plain_layout(seed: int) -> None:
    rng = random.Random(seed)
    layers, shape = draw(rng)
    arrays = weights(layers, len(shape) - 2, seed)
    array = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    if np.prod(shape) // shape[1] < 40:  # a norm over almost nothing has no derivative to compare
        layers = [layer for layer in layers if layer[0] != "norm"]
    for whole, half in ((False, False), (True, False), (False, True)):
        found = values_and_gradients(tn, F, layers, arrays, array, whole=whole, half=half)
        with tn.jit.disable("channels_last"):
            plain = values_and_gradients(tn, F, layers, arrays, array, whole=whole, half=half)
        for a, b in zip(found, plain, strict=True):
            np.testing.assert_array_equal(a, b)
        if torch is None or half:
            continue
        judged = values_and_gradients(
            torch, torch.nn.functional, layers, arrays, array, whole=whole
        )
        for a, b in zip(found, judged, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


def test_a_network_between_convolutions_has_its_channels_last() -> None:
    x = tn.randn(2, 3, 12, 12)
    w1, w2 = tn.randn(16, 3, 3, 3), tn.randn(8, 16, 3, 3)
    y = F.conv2d(F.relu(F.conv2d(x, w1)), w2)
    total = y.sum()
    text = tn.jit.explain()
    total.item()
    assert "channels last" in text


def test_what_is_shown_keeps_its_strides() -> None:
    x = tn.randn(2, 3, 9, 8)
    w1, w2 = tn.randn(5, 3, 3, 3), tn.randn(4, 5, 3, 3)
    hidden = F.conv2d(x, w1).relu()
    y = F.conv2d(hidden, w2)
    y.sum().item()
    assert hidden.stride() == (5 * 7 * 6, 7 * 6, 6, 1)
    assert y.stride() == (4 * 5 * 4, 5 * 4, 4, 1)

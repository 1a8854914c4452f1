"""The models of `training_steps.py` in JAX, channels last, a step under `jax.jit`.

    python benchmarks/training_jax.py MODEL

Initial values, data and order of the parameters are those of `training_steps.py`, which starts it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gpt_jax  # also puts examples/ on the path
import jax
import jax.numpy as jnp
import numpy as np
from gpt_worker import serve
from mlp import BATCH as MLP_BATCH
from mlp import LR, SIZES
from mlp import data as mlp_data
from mlp import initial_values as mlp_values
from task import Training

Step = Callable[[], float]


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()


def mlp() -> Step:
    p = [jnp.asarray(v) for v in mlp_values()]
    x, labels = (jnp.asarray(a) for a in mlp_data())

    def loss_of(p, x, labels):
        for i in range(len(SIZES) - 1):
            x = x @ p[2 * i].T + p[2 * i + 1]
            x = jax.nn.relu(x) if i + 2 < len(SIZES) else x
        return cross_entropy(x, labels)

    def update(p, m, v, x, labels, count):
        loss, g = jax.value_and_grad(loss_of)(p, x, labels)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        scale, root = LR / (1 - 0.9**count), jnp.sqrt(1 - 0.999**count)
        p = jax.tree.map(
            lambda p, m, v: p * (1 - LR * 0.01) - scale * m / (jnp.sqrt(v) / root + 1e-8), p, m, v
        )
        return p, m, v, loss

    assert x.shape[0] == MLP_BATCH
    jitted = jax.jit(update, donate_argnums=(0, 1, 2))
    m, v, count = jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p), 0

    def step() -> float:
        nonlocal p, m, v, count
        count += 1
        p, m, v, loss = jitted(p, m, v, x, labels, float(count))
        return float(jax.block_until_ready((loss, p))[0])

    return step


class Values:
    """Initial values in the order of PyTorch's modules (see `resnet.make_model`)."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.parameters: list[Any] = []

    def matrix(self, *shape: int) -> int:
        values = self.rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
        values = values.astype(np.float32)
        # Kernels (out, in, h, w) as (h, w, in, out).
        self.parameters.append(values.transpose(2, 3, 1, 0) if len(shape) == 4 else values)
        return len(self.parameters) - 1

    def vector(self, size: int, value: float) -> int:
        self.parameters.append(np.full(size, value, np.float32))
        return len(self.parameters) - 1


def convolve(x, w, stride=1, padding=0):
    pads = [(padding, padding)] * 2
    return jax.lax.conv_general_dilated(
        x, w, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def pool(x, size, stride, padding):
    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, pads)


def resnet18() -> tuple[list[Any], Callable[..., Any]]:
    """Parameters, and logits and the norms' batch statistics as a function of them."""
    values = Values()

    def norm(size: int) -> tuple[int, int]:
        return values.vector(size, 1), values.vector(size, 0)

    stem = values.matrix(64, 3, 7, 7), norm(64)
    blocks, channels = [], 64
    for stage, out in enumerate((64, 128, 256, 512)):
        for first in (True, False):
            stride = 2 if first and stage else 1
            block = [stride, values.matrix(out, channels, 3, 3), norm(out)]
            block += [values.matrix(out, out, 3, 3), norm(out)]
            if stride != 1 or channels != out:
                block += [values.matrix(out, channels, 1, 1), norm(out)]
            blocks.append(block)
            channels = out
    head = values.matrix(1000, 512), values.vector(1000, 0)

    def forward(p, x):
        statistics = []

        def normalize(x, weights):
            mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
            statistics.append((mean, variance))
            return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * p[weights[0]] + p[weights[1]]

        x = jax.nn.relu(normalize(convolve(x, p[stem[0]], 2, 3), stem[1]))
        x = pool(x, 3, 2, 1)
        for stride, w1, n1, w2, n2, *shortcut in blocks:
            y = jax.nn.relu(normalize(convolve(x, p[w1], stride, 1), n1))
            y = normalize(convolve(y, p[w2], 1, 1), n2)
            if shortcut:
                x = normalize(convolve(x, p[shortcut[0]], stride), shortcut[1])
            x = jax.nn.relu(y + x)
        return x.mean((1, 2)) @ p[head[0]].T + p[head[1]], statistics

    return values.parameters, forward


def convnet() -> tuple[list[Any], Callable[..., Any]]:
    values = Values()
    w1, b1 = values.matrix(32, 1, 3, 3), values.vector(32, 0)
    w2, b2 = values.matrix(64, 32, 3, 3), values.vector(64, 0)
    w3, b3 = values.matrix(128, 9216), values.vector(128, 0)
    w4, b4 = values.matrix(10, 128), values.vector(10, 0)

    def forward(p, x):
        x = jax.nn.relu(convolve(x, p[w1]) + p[b1])
        x = jax.nn.relu(convolve(x, p[w2]) + p[b2])
        x = pool(x, 2, 2, 0).transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        x = jax.nn.relu(x @ p[w3].T + p[b3])
        return x @ p[w4].T + p[b4], []

    return values.parameters, forward


def images(make: Callable[[], tuple], shape: tuple[int, ...], classes: int, batch: int) -> Step:
    parameters, forward = make()
    p = [jnp.asarray(v) for v in parameters]
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((batch, *shape)).astype(np.float32).transpose(0, 2, 3, 1))
    labels = jnp.asarray(rng.integers(0, classes, batch))

    def loss_of(p, x, labels):
        logits, statistics = forward(p, x)
        return cross_entropy(logits, labels), statistics

    def update(p, momentum, running, x, labels):
        (loss, new), g = jax.value_and_grad(loss_of, has_aux=True)(p, x, labels)
        momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, g)
        p = jax.tree.map(lambda p, m: p - 0.01 * m, p, momentum)
        return p, momentum, jax.tree.map(lambda r, s: 0.9 * r + 0.1 * s, running, new), loss

    statistics = jax.eval_shape(forward, p, x)[1]
    running = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), statistics)
    momentum = jax.tree.map(jnp.zeros_like, p)
    jitted = jax.jit(update, donate_argnums=(0, 1, 2))

    def step() -> float:
        nonlocal p, momentum, running
        p, momentum, running, loss = jitted(p, momentum, running, x, labels)
        return float(jax.block_until_ready((loss, p))[0])

    return step


def gpt() -> Step:
    return gpt_jax.training(Training())


def gpt_384() -> Step:
    gpt_jax.CONTEXT, gpt_jax.LAYERS, gpt_jax.HEADS, gpt_jax.WIDTH = 256, 6, 6, 384
    return gpt_jax.training(Training(batch=4))


STEPS: dict[str, Callable[[], Step]] = {
    "mlp": mlp,
    "gpt": gpt,
    "gpt-384": gpt_384,
    "resnet18": lambda: images(resnet18, (3, 64, 64), 1000, 8),
    "convnet": lambda: images(convnet, (1, 28, 28), 10, 64),
}

if __name__ == "__main__":
    serve({"version": jax.__version__}, STEPS[sys.argv[1]](), lambda: float("nan"))

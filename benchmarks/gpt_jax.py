"""The GPT of `examples/gpt.py` in JAX: a pure function of parameters, its step under `jax.jit`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import jax
import jax.numpy as jnp
import numpy as np
from task import Text, Training, initial_value

CONTEXT, LAYERS, HEADS, WIDTH = 128, 4, 4, 128


def shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Parameters in the order in which PyTorch names them, weights as (out, in)."""
    result: dict[str, tuple[int, ...]] = {
        "token.weight": (vocabulary, WIDTH),
        "position.weight": (CONTEXT, WIDTH),
    }

    def linear(name: str, inputs: int, outputs: int) -> None:
        result[f"{name}.weight"], result[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def norm(name: str) -> None:
        result[f"{name}.weight"], result[f"{name}.bias"] = (WIDTH,), (WIDTH,)

    for i in range(LAYERS):
        norm(f"blocks.{i}.norm1")
        linear(f"blocks.{i}.attention.qkv", WIDTH, 3 * WIDTH)
        linear(f"blocks.{i}.attention.proj", WIDTH, WIDTH)
        norm(f"blocks.{i}.norm2")
        linear(f"blocks.{i}.mlp.0", WIDTH, 4 * WIDTH)
        linear(f"blocks.{i}.mlp.2", 4 * WIDTH, WIDTH)
    norm("norm")
    result["head.weight"] = (vocabulary, WIDTH)
    return result


def forward(p: dict, tokens):
    def linear(name, x):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(name, x):
        mean = x.mean(-1, keepdims=True)
        variance = x.var(-1, keepdims=True)
        x = (x - mean) * jax.lax.rsqrt(variance + 1e-5)
        return x * p[f"{name}.weight"] + p[f"{name}.bias"]

    x = p["token.weight"][tokens] + p["position.weight"]
    batch, length, width = x.shape
    for i in range(LAYERS):
        name = f"blocks.{i}"
        qkv = linear(f"{name}.attention.qkv", norm(f"{name}.norm1", x))
        q, k, v = jnp.moveaxis(qkv.reshape(batch, length, 3, HEADS, width // HEADS), 2, 0)
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + linear(f"{name}.attention.proj", y.reshape(batch, length, width))
        h = linear(f"{name}.mlp.0", norm(f"{name}.norm2", x))
        x = x + linear(f"{name}.mlp.2", jax.nn.gelu(h, approximate=False))
    return norm("norm", x) @ p["head.weight"].T


def loss_of(p: dict, tokens, targets):
    logits = jax.nn.log_softmax(forward(p, tokens))
    return -jnp.take_along_axis(logits, targets[..., None], -1).mean()


def update(p: dict, m: dict, v: dict, tokens, targets, lr, count, weight_decay):
    """AdamW as in PyTorch, betas (0.9, 0.99)."""
    loss, g = jax.value_and_grad(loss_of)(p, tokens, targets)
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, v, g)
    scale, root = lr / (1 - 0.9**count), jnp.sqrt(1 - 0.99**count)
    p = jax.tree.map(
        lambda p, m, v: p * (1 - lr * weight_decay) - scale * m / (jnp.sqrt(v) / root + 1e-8),
        p,
        m,
        v,
    )
    return p, m, v, loss


def training(options: Training) -> Callable[[], float]:
    """A step, which returns its loss."""
    text = Text()
    rng = np.random.default_rng(0)
    p = {
        name: jnp.asarray(initial_value(name, shape, LAYERS, rng))
        for name, shape in shapes(len(text.alphabet)).items()
    }
    m, v = jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p)
    batches = np.random.default_rng(options.seed)
    jitted = jax.jit(update, donate_argnums=(0, 1, 2))
    count = 0

    def step() -> float:
        nonlocal p, m, v, count
        lr = options.learning_rate(count)
        count += 1
        tokens, targets = text.batch(batches, options.batch, CONTEXT)
        p, m, v, loss = jitted(p, m, v, tokens, targets, lr, float(count), options.weight_decay)
        # The update has to have ended too, as an eager step's has.
        return float(jax.block_until_ready((loss, p))[0])

    return step

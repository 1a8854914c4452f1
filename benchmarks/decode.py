"""Greedy decoding of one sequence by a GPT (6 layers of 384) with a key-value cache, time a token.

    python benchmarks/decode.py [--peers tenon torch jax.jit]

JAX keeps its cache as donated arguments of one jitted step.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import numpy as np
from harness import Options, Peer, Runner, main
from task import Config
from twin import load

TOKENS, VOCABULARY, CONTEXT, LAYERS, HEADS, WIDTH = 64, 65, 512, 6, 6, 384


def weights(model) -> dict[str, np.ndarray]:
    """The same for all: by the names and shapes of `model`."""
    rng = np.random.default_rng(0)
    values = {}
    for name, p in sorted(model.state_dict().items()):
        scale = 1.0 if "token" in name else 0.05
        values[name] = (scale * rng.normal(size=tuple(p.shape))).astype(np.float32)
    return values


def twin(framework: str, *, compiles: bool = False) -> Runner:
    gpt = load(framework)
    t = gpt.tn
    config = Config(vocabulary=VOCABULARY, context=CONTEXT, layers=LAYERS, heads=HEADS, width=WIDTH)
    model = gpt.GPT(config)
    model.load_state_dict({name: t.from_numpy(w) for name, w in weights(model).items()})
    call = t.compile(model) if compiles else model

    @t.no_grad()
    def run():
        caches = model.new_caches()
        token, tokens = t.tensor([[3]]), []
        for i in range(TOKENS):
            token = call(token, caches, i)[:, -1].argmax(-1, keepdim=True)
            tokens.append(token.item())
        return np.array(tokens)

    return Runner(run, run, units=TOKENS)


def jax_jit(case: str) -> Runner:
    import jax
    import jax.numpy as jnp

    gpt = load("tenon")
    config = Config(vocabulary=VOCABULARY, context=CONTEXT, layers=LAYERS, heads=HEADS, width=WIDTH)
    p = {name: jnp.asarray(w) for name, w in weights(gpt.GPT(config)).items()}
    depth = WIDTH // HEADS

    def linear(p, name, x):
        # In this order: `x @ weight.T` takes XLA seven times as long.
        return p[f"{name}.weight"] @ x + p[f"{name}.bias"]

    def norm(p, name, x):
        x = (x - x.mean()) * jax.lax.rsqrt(x.var() + 1e-5)
        return x * p[f"{name}.weight"] + p[f"{name}.bias"]

    def step(p, caches, token, at):
        x = p["token.weight"][token] + p["position.weight"][at]
        kept = []
        for i, (keys, values) in enumerate(caches):
            name = f"blocks.{i}"
            qkv = linear(p, f"{name}.attention.qkv", norm(p, f"{name}.norm1", x))
            q, k, v = qkv.reshape(3, HEADS, depth)
            keys = jax.lax.dynamic_update_slice(keys, k[:, None], (0, at, 0))
            values = jax.lax.dynamic_update_slice(values, v[:, None], (0, at, 0))
            kept.append((keys, values))
            scores = jnp.einsum("hd,hsd->hs", q, keys) / np.sqrt(depth)
            scores = jnp.where(jnp.arange(CONTEXT) <= at, scores, -jnp.inf)
            y = jnp.einsum("hs,hsd->hd", jax.nn.softmax(scores, -1), values).reshape(WIDTH)
            x = x + linear(p, f"{name}.attention.proj", y)
            h = linear(p, f"{name}.mlp.0", norm(p, f"{name}.norm2", x))
            x = x + linear(p, f"{name}.mlp.2", jax.nn.gelu(h, approximate=False))
        return kept, jnp.argmax(p["head.weight"] @ norm(p, "norm", x))

    compiled = jax.jit(step, donate_argnums=1)

    def run():
        shape = (HEADS, CONTEXT, depth)
        caches = [(jnp.zeros(shape), jnp.zeros(shape)) for _ in range(LAYERS)]
        token, tokens = 3, []
        for i in range(TOKENS):
            caches, token = compiled(p, caches, token, i)
            tokens.append(int(token))
        return np.array(tokens)

    return Runner(run, run, units=TOKENS)


PEERS: dict[str, Peer] = {
    "tenon": lambda case: twin("tenon"),
    "torch": lambda case: twin("torch"),
    "torch.compile": lambda case: twin("torch", compiles=True),
    "jax.jit": jax_jit,
}

if __name__ == "__main__":
    main(__doc__, PEERS, ["6x384"], Options(tolerance=0, rounds=5, unit="us"))

"""What the first call costs beyond a steady one, against the length and the depth of a program.

    python benchmarks/compile_time.py [--peers tenon jax.jit torch.compile] [--rounds 3]

Chains are elementwise operations in random order, so that no two kernels are equal; depths are
residual blocks (norm, product, GELU, product) with their gradients, which are equal. Every
measurement is a process of its own: with an empty cache, then with what that one left on disk.
Results are compared first. Peers whose first call takes more than a minute are asked no more.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PEERS = ("tenon", "jax.jit", "torch.compile")
CHAINS = (10, 100, 1000, 10_000)
DEPTHS = (2, 6, 12, 24)
ROUNDS = 3
PATIENCE = 60.0
SIDE, WIDTH = 64, 64


def chain(sin: Callable, tanh: Callable, length: int) -> Callable:
    choices = [
        lambda y, x: y * 0.9,
        lambda y, x: y + x,
        lambda y, x: sin(y),
        lambda y, x: y - 0.1,
        lambda y, x: tanh(y),
        lambda y, x: y * x,
    ]
    rng = random.Random(1)
    sequence = [rng.choice(choices) for _ in range(length)]

    def f(x):
        y = x
        for operation in sequence:
            y = operation(y, x)
        return y

    return f


def weights(depth: int) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    shapes = [(WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)] * depth
    return [(rng.normal(size=s) / s[0] ** 0.5).astype(np.float32) for s in shapes]


def blocks(norm: Callable, gelu: Callable, ws: list, x: Any) -> Any:
    for i in range(0, len(ws), 2):
        x = x + gelu(norm(x) @ ws[i]) @ ws[i + 1]
    return x


def eager(t: Any, kind: str, size: int, x: np.ndarray, compiled: bool) -> Callable[[], np.ndarray]:
    """A call in a framework with PyTorch's interface; ends when its result can be read."""
    x = t.from_numpy(x).clone()
    f = t.nn.functional
    if kind == "chain":
        run = chain(t.sin, t.tanh, size)
        run = t.compile(run, dynamic=False) if compiled else run
        return lambda: run(x).numpy()
    ws = [t.from_numpy(w).clone().requires_grad_() for w in weights(size)]

    def loss(x, ws):
        return blocks(lambda y: f.layer_norm(y, (WIDTH,)), f.gelu, ws, x).square().mean()

    run_loss = t.compile(loss, dynamic=False) if compiled else loss

    def step() -> np.ndarray:
        for w in ws:
            w.grad = None
        run_loss(x, ws).backward()
        return np.concatenate([w.grad.numpy().ravel() for w in ws])

    return step


def jax_call(kind: str, size: int, array: np.ndarray) -> Callable[[], np.ndarray]:
    import jax
    import jax.numpy as jnp

    x = jnp.asarray(array)
    if kind == "chain":
        run = jax.jit(chain(jnp.sin, jnp.tanh, size))
        return lambda: np.asarray(run(x))
    ws = [jnp.asarray(w) for w in weights(size)]

    def norm(y):
        centred = y - y.mean(-1, keepdims=True)
        return centred / jnp.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)

    def loss(ws):
        y = blocks(norm, lambda h: jax.nn.gelu(h, approximate=False), ws, x)
        return (y * y).mean()

    gradient = jax.jit(jax.grad(loss))
    return lambda: np.concatenate([np.asarray(g).ravel() for g in gradient(ws)])


def work(peer: str, kind: str, size: int, path: str) -> None:
    """The process of one measurement."""
    x = np.random.default_rng(0).normal(size=(SIDE, WIDTH)).astype(np.float32)
    if peer == "jax.jit":
        run = jax_call(kind, size, x)
    else:
        framework = __import__(peer.split(".")[0])
        (framework.ones(3) + 1).numpy()  # what starting the compiler costs is not the program's
        run = eager(framework, kind, size, x, peer == "torch.compile")
    begin = time.perf_counter()
    result = run()
    first = time.perf_counter() - begin
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    np.save(path, result)
    print(json.dumps(first - min(times)))


def measure(peer: str, kind: str, size: int, cache: str, path: str) -> float:
    env = dict(os.environ)
    env["TENON_CACHE_DIR"] = env["TORCHINDUCTOR_CACHE_DIR"] = cache
    env["JAX_COMPILATION_CACHE_DIR"] = cache
    env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    command = [sys.executable, __file__, "--work", peer, kind, str(size), path]
    return json.loads(subprocess.run(command, env=env, check=True, capture_output=True).stdout)


def compare(kind: str, size: int, peers: list[str], rounds: int) -> list[str]:
    """Prints a line a peer; those that were quick enough for a larger size."""
    costs: dict[str, list[tuple[float, float]]] = {peer: [] for peer in peers}
    with tempfile.TemporaryDirectory() as folder:
        results = {}
        for round_ in range(rounds):
            for peer in peers:
                if costs[peer] and costs[peer][0][0] > PATIENCE:
                    continue
                cache = str(Path(folder) / f"{peer}{round_}")
                os.mkdir(cache)
                path = str(Path(folder) / f"{peer}.npy")
                first = measure(peer, kind, size, cache, path)
                costs[peer].append((first, measure(peer, kind, size, cache, path)))
                results[peer] = np.load(path)
        reference = results[peers[0]]
        for peer in peers[1:]:
            error = np.abs(results[peer] - reference).max() / np.abs(reference).max()
            if not error <= 1e-3:
                raise SystemExit(f"{peer} differs from {peers[0]} by {error:.1e}")
    for peer in peers:
        cold = [1e3 * c for c, _ in costs[peer]]
        warm = [1e3 * w for _, w in costs[peer]]
        per_operation = statistics.median(cold) / size
        print(
            f"{kind + ' ' + str(size):14}{peer:16}"
            f"{statistics.median(cold):>10.0f} ms ({min(cold):.0f}-{max(cold):.0f})"
            f"{statistics.median(warm):>10.0f} ms ({min(warm):.0f}-{max(warm):.0f})"
            f"{per_operation:>10.2f} ms",
            flush=True,
        )
    return [peer for peer in peers if costs[peer][0][0] <= PATIENCE]


def main() -> None:
    from harness import installed, machine

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--kind", nargs="+", default=["chain", "depth"])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    print(machine())
    print(f"{'':30}{'cold':>10}{'warm disk':>26}{'cold, an operation or block':>34}")
    for kind, sizes in (("chain", CHAINS), ("depth", DEPTHS)):
        peers = installed(args.peers) if kind in args.kind else []
        for size in sizes:
            if peers:
                peers = compare(kind, size, peers, args.rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
    else:
        main()

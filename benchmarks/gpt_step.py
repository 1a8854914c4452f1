"""Training steps of the GPT in `examples/`: the first, with cold and warm caches, and later ones.

    python benchmarks/gpt_step.py [--peers tenon torch torch.compile jax.jit]

Every peer starts twice with a cache folder of its own: empty, then as the first process left it.
What the first step costs is its time less that of a steady step. Losses are compared first; steady
steps are timed in turns. A step ends when its loss has been read and the parameters are updated.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from compare_gpt import Worker
from harness import installed, machine
from task import Training

PEERS = ("tenon", "torch", "torch.compile", "jax.jit")
CHECKED, ROUNDS, STEPS_A_ROUND = 30, 9, 5


def environment(peer: str, cache: str) -> dict[str, str]:
    """The process environment with every cache in one folder."""
    env = dict(os.environ)
    env["TENON_CACHE_DIR"] = cache
    env["TORCHINDUCTOR_CACHE_DIR"] = cache
    env["JAX_COMPILATION_CACHE_DIR"] = cache
    env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    return env


def start(peer: str, options: Training, cache: str) -> Worker:
    env = environment(peer, cache)
    if peer == "jax.jit":
        return Worker(peer, options, env, Path(__file__).with_name("gpt_jax.py"))
    return Worker(peer, options, env)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--batch", type=int, default=Training.batch)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    peers = installed(args.peers)
    options = Training(batch=args.batch)
    print(machine())

    with tempfile.TemporaryDirectory() as folder:
        caches = {peer: str(Path(folder) / peer) for peer in peers}
        cold, warm, losses = {}, {}, {}
        workers = []
        for peer in peers:
            os.mkdir(caches[peer])
            worker = start(peer, options, caches[peer])
            cold[peer] = worker.ask("steps 1")["seconds"][0]
            # A few more, so that what is compiled in the background reaches the cache.
            worker.ask("steps 5")
            worker.close()
            worker = start(peer, options, caches[peer])
            answer = worker.ask("steps 1")
            warm[peer] = answer["seconds"][0]
            losses[peer] = answer["losses"] + worker.ask(f"steps {CHECKED - 1}")["losses"]
            workers.append(worker)
        for peer in peers[1:]:
            pairs = list(zip(losses[peer], losses[peers[0]], strict=True))
            largest = max(abs(a - b) for a, b in pairs)
            print(f"{peer}: losses of {CHECKED} steps within {largest:.1e} of {peers[0]}'s")
            if max(abs(a - b) for a, b in pairs[:10]) > 2e-3 or largest > 0.05:
                raise SystemExit("the losses differ: nothing is timed")
        rounds: dict[str, list[float]] = {peer: [] for peer in peers}
        for _ in range(args.rounds):
            for worker in workers:
                seconds = worker.ask(f"steps {STEPS_A_ROUND}")["seconds"]
                rounds[worker.name].append(statistics.median(seconds))

        print(
            f"\n{'':16}{'version':14}{'a step':>9}{'min':>9}{'max':>9}{'ratio':>7}"
            f"{'spread':>12}{'first: cold':>13}{'warm':>9}{'peak':>9}"
        )
        base = rounds[peers[0]]
        for worker in workers:
            times = rounds[worker.name]
            steady = statistics.median(times)
            ratios = [a / b for a, b in zip(times, base, strict=True)]
            spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
            print(
                f"{worker.name:16}{worker.started['version']:14}"
                f"{1e3 * steady:>6.0f} ms{1e3 * min(times):>6.0f} ms{1e3 * max(times):>6.0f} ms"
                f"{statistics.median(ratios):>7.2f}{spread:>12}"
                f"{cold[worker.name] - steady:>11.2f} s"
                f"{warm[worker.name] - steady:>7.2f} s"
                f"{worker.ask('memory')['peak_mb']:>6.0f} MB"
            )
            worker.close()


if __name__ == "__main__":
    main()

"""Training steps of an MLP, two GPTs, ResNet-18 and a convnet: the first, and later ones.

    python benchmarks/training_steps.py [--model mlp gpt gpt-384 resnet18 convnet] [--steps-only]

`gpt` is that of `examples/` (4 layers of 128, batch 16), `gpt-384` has 6 layers of 384, batch 4.

Each peer starts twice with a cache folder of its own: empty, then as its first process left it;
what the first step costs is its time less that of a steady one. Losses are compared first; steps
are then timed in turns, each peer in a process of its own. A step ends when its loss has been read
and the parameters are updated.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from gpt_worker import Served, serve
from harness import check_losses, installed, machine

MODELS = ("mlp", "gpt", "gpt-384", "resnet18", "convnet")
PEERS = ("tenon", "tenon.compile", "torch", "torch.compile", "jax.jit")
CHECKED, ROUNDS, STEPS_A_ROUND = 10, 7, 5


def steps_of(name: str, framework: str, library: Any, compiled: bool) -> Any:
    import mlp
    from task import Config, Text, Training
    from twin import load

    fused = {"fused": True} if framework == "torch" else {}
    if name == "mlp":
        model = mlp.make_model(library)
        return mlp.train(library, library.compile(model) if compiled else model, **fused)
    if name.startswith("gpt"):
        gpt, text = load(framework), Text()
        large = {"context": 256, "layers": 6, "heads": 6, "width": 384} if "384" in name else {}
        config = Config(len(text.alphabet), **large)
        model = gpt.GPT(config)
        gpt.initialize(model)
        trained = library.compile(model) if compiled else model
        if compiled:
            trained.config = config
        options = Training(batch=4) if large else Training()
        return gpt.train(trained, text, options, **fused)
    resnet = load(framework, "resnet")
    model = resnet.make_model(name)
    batch = {"resnet18": 8, "convnet": 64}[name]
    return resnet.train(library.compile(model) if compiled else model, name, batch)


def work(name: str, peer: str) -> None:
    """The process of one peer: answers the commands of `gpt_worker.serve`."""
    framework, _, how = peer.partition(".")
    library = __import__(framework)
    steps = steps_of(name, framework, library, how == "compile")
    serve({"version": library.__version__}, lambda: next(steps).item(), lambda: float("nan"))


def start(name: str, peer: str, cache: str) -> Served:
    env = dict(os.environ)
    env["TENON_CACHE_DIR"] = cache
    env["TORCHINDUCTOR_CACHE_DIR"] = cache
    env["JAX_COMPILATION_CACHE_DIR"] = cache
    env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    if peer == "jax.jit":
        script = Path(__file__).with_name("training_jax.py")
        return Served(peer, [sys.executable, str(script), name], env)
    return Served(peer, [sys.executable, __file__, "--work", name, peer], env)


def measure(name: str, names: list[str], rounds: int, folder: str, first_steps: bool) -> None:
    peers, cold, warm = [], {}, {}
    losses: dict[str, list[float]] = {}
    for peer in names:
        cache = str(Path(folder) / f"{name}-{peer}")
        os.mkdir(cache)
        if first_steps:
            process = start(name, peer, cache)
            cold[peer] = process.ask("steps 1")["seconds"][0]
            # A few more, so that what is compiled in the background reaches the cache.
            process.ask("steps 5")
            process.close()
        process = start(name, peer, cache)
        answer = process.ask("steps 1")
        warm[peer] = answer["seconds"][0]
        losses[peer] = answer["losses"] + process.ask(f"steps {CHECKED - 1}")["losses"]
        peers.append(process)
    check_losses(losses, 1e-2)
    times: dict[str, list[float]] = {peer: [] for peer in names}
    for _ in range(rounds):
        for process in peers:
            seconds = process.ask(f"steps {STEPS_A_ROUND}")["seconds"]
            times[process.name].append(1e3 * statistics.median(seconds))
    print(
        f"\n{name:16}{'version':12}{'a step':>10}{'min-max':>14}{'ratio':>7}{'spread':>12}"
        f"{'first: cold':>13}{'warm':>9}{'peak':>9}"
    )
    base = times[names[0]]
    for process in peers:
        own = times[process.name]
        steady = statistics.median(own)
        ratios = [a / b for a, b in zip(own, base, strict=True)]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        first = f"{cold[process.name] - steady / 1e3:.2f} s" if first_steps else "-"
        print(
            f"{process.name:16}{process.started['version'][:10]:12}{steady:>7.1f} ms"
            f"{f'{min(own):.1f}-{max(own):.1f}':>14}{statistics.median(ratios):>7.2f}{spread:>12}"
            f"{first:>13}{warm[process.name] - steady / 1e3:>7.2f} s"
            f"{process.ask('memory')['peak_mb']:>6.0f} MB"
        )
        process.close()
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--steps-only", action="store_true", help="no first steps with cold caches")
    args = parser.parse_args()
    print(machine())
    names = installed(args.peers)
    with tempfile.TemporaryDirectory() as folder:
        for name in args.model:
            measure(name, names, args.rounds, folder, not args.steps_only)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:4])
    else:
        main()

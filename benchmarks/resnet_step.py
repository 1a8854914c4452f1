"""Training steps of the networks in `examples/resnet.py`: ResNet-18 and a small convnet.

    python benchmarks/resnet_step.py [--model resnet18 convnet] [--peers tenon torch torch.compile]

Losses are compared first; steps are then timed in turns, each peer in a process of its own. A step
ends when its loss has been read and the parameters are updated.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from gpt_worker import Served, serve

PEERS = ("tenon", "torch", "torch.compile")
BATCH = {"resnet18": 8, "convnet": 64}
CHECKED, ROUNDS, STEPS_A_ROUND = 10, 7, 5


def work(model_name: str, peer: str) -> None:
    """The process of one peer: answers the commands of `gpt_worker.serve`."""
    from twin import load

    framework = peer.split(".")[0]
    library = __import__(framework)
    resnet = load(framework, "resnet")
    model = resnet.make_model(model_name)
    trained = library.compile(model) if peer == "torch.compile" else model
    steps = resnet.train(trained, model_name, BATCH[model_name])
    serve({"version": library.__version__}, lambda: next(steps).item(), lambda: float("nan"))


def measure(model: str, names: list[str], rounds: int) -> None:
    peers = [Served(n, [sys.executable, __file__, "--work", model, n]) for n in names]
    first, losses = {}, {}
    for peer in peers:
        begin = time.perf_counter()
        answer = peer.ask("steps 1")
        first[peer.name] = time.perf_counter() - begin
        losses[peer.name] = answer["losses"] + peer.ask(f"steps {CHECKED - 1}")["losses"]
    for peer in peers[1:]:
        pairs = zip(losses[peer.name], losses[names[0]], strict=True)
        largest = max(abs(a - b) for a, b in pairs)
        print(f"{peer.name}: losses of {CHECKED} steps within {largest:.1e} of {names[0]}'s")
        if largest > 1e-2:
            raise SystemExit("the losses differ: nothing is timed")
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for peer in peers:
            seconds = peer.ask(f"steps {STEPS_A_ROUND}")["seconds"]
            times[peer.name].append(1e3 * statistics.median(seconds))
    base = statistics.median(times[names[0]])
    print(
        f"\n{model + f', batch {BATCH[model]}':24}{'version':12}{'a step':>10}{'min-max':>14}",
        end="",
    )
    print(f"{'ratio':>8}{'first':>9}{'peak':>10}")
    for peer in peers:
        steady = statistics.median(times[peer.name])
        spread = f"{min(times[peer.name]):.0f}-{max(times[peer.name]):.0f}"
        ratio, version = steady / base, peer.started["version"][:9]
        print(
            f"{peer.name:24}{version:12}{steady:>7.1f} ms{spread:>14}{ratio:>8.2f}"
            f"{first[peer.name] - steady / 1e3:>7.2f} s{peer.ask('memory')['peak_mb']:>7.0f} MB"
        )
        peer.close()


def main() -> None:
    from harness import installed, machine

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", nargs="+", default=list(BATCH), choices=list(BATCH))
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    print(machine())
    for model in args.model:
        measure(model, installed(args.peers), args.rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:4])
    else:
        main()

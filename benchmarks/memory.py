"""Peak memory of training steps: the GPT of 6 layers of 384 (batch 4 of 256) and ResNet-18.

    python benchmarks/memory.py [--model gpt resnet18] [--peers tenon "tenon, half" torch]

Each peer is a process of its own; its peak is the largest resident set of the whole process, with
what importing the framework takes. "tenon, half", for the GPT, has a budget of what its tensors
take at least (parameters, moments, gradients) and half of what a step takes beyond that; of
ResNet-18's step at these sizes nine tenths are the parameters' own. Losses of the steps are
compared first; the time of a step is the median, in turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from gpt_worker import Served, serve
from harness import check_losses, installed, machine

PEERS = ("tenon", "tenon, half", "torch")
MODELS = ("gpt", "resnet18")
STEPS, ROUNDS = 6, 5


def work(model_name: str, peer: str) -> None:
    from task import Config, Text, Training
    from twin import load

    framework = peer.split(",")[0]
    library = __import__(framework)
    if model_name == "gpt":
        gpt, text = load(framework), Text()
        config = Config(len(text.alphabet), context=256, layers=6, heads=6, width=384)
        model = gpt.GPT(config)
        gpt.initialize(model)
        fused = {"fused": True} if framework == "torch" else {}
        steps = gpt.train(model, text, Training(batch=4), **fused)
    else:
        resnet = load(framework, "resnet")
        steps = resnet.train(resnet.make_model(model_name), model_name, 8)
    if "BUDGET" in os.environ:
        library.set_memory_budget(int(os.environ["BUDGET"]))

    def step() -> float:
        return next(steps).item()

    started: dict[str, object] = {"version": library.__version__}
    if peer == "tenon, half" and "BUDGET" not in os.environ:  # what a step takes, for the budget
        for _ in range(2):
            step()
        stats = library.jit.memory_stats()
        started["budget"] = stats["allocated"] + (stats["peak"] - stats["allocated"]) // 2
    serve(started, step, lambda: float("nan"))


def start(model: str, peer: str) -> Served:
    command = [sys.executable, __file__, "--work", model, peer]
    started = Served(peer, command)
    if peer != "tenon, half":
        return started
    budget = str(started.started["budget"])
    started.close()
    return Served(peer, command, {**os.environ, "BUDGET": budget})


def measure(model: str, peers: list[str]) -> None:
    processes = {peer: start(model, peer) for peer in peers}
    losses = {peer: p.ask(f"steps {STEPS}")["losses"] for peer, p in processes.items()}
    check_losses(losses, 1e-3)
    times: dict[str, list[float]] = {peer: [] for peer in peers}
    for _ in range(ROUNDS):
        for peer, process in processes.items():
            times[peer].append(statistics.median(process.ask("steps 3")["seconds"]))
    peaks = {peer: p.ask("memory")["peak_mb"] for peer, p in processes.items()}
    base = peaks.get("torch", peaks[peers[0]])
    print(f"\n{model:16}{'peak':>8}{'of torch':>12}{'a step':>12}{'min-max':>14}")
    for peer, process in processes.items():
        scaled = [1e3 * t for t in times[peer]]
        print(
            f"  {peer:14}{peaks[peer]:>5.0f} MB{peaks[peer] / base:>12.2f}"
            f"{statistics.median(scaled):>9.0f} ms{f'{min(scaled):.0f}-{max(scaled):.0f}':>14}"
        )
        process.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    args = parser.parse_args()
    print(machine())
    installed_packages = installed([p.split(",")[0] for p in args.peers])
    for model in args.model:
        peers = [p for p in args.peers if p.split(",")[0] in installed_packages]
        measure(model, [p for p in peers if model == "gpt" or p != "tenon, half"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:4])
    else:
        main()

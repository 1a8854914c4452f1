"""The GPT of `train_gpt.py` beside PyTorch: same model, weights and batches, a process each.

    python examples/compare_gpt.py [--steps N]

Losses are compared before anything is timed; steps are then timed in turns.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import statistics
import sys
from pathlib import Path

from gpt_worker import Served
from task import Training

FRAMEWORKS = ("tenon", "torch", "torch.compile")
WORKER = Path(__file__).with_name("gpt_worker.py")
CHECKED = 50  # Steps whose losses are compared.
ROUNDS, STEPS_A_ROUND = 5, 6


class Worker(Served):
    """A running `gpt_worker.py`."""

    def __init__(self, framework: str, options: Training) -> None:
        fields = json.dumps(dataclasses.asdict(options))
        super().__init__(framework, [sys.executable, str(WORKER), framework, fields])


def compare(options: Training, held_out: float | None = None) -> None:
    """Prints the table; with a held-out loss of Tenon's, trains PyTorch as long and compares."""
    if importlib.util.find_spec("torch") is None:
        raise SystemExit("--compare needs PyTorch: pip install torch")
    print("\ncomparing with PyTorch on the same weights and batches ...")
    workers = [Worker(framework, options) for framework in FRAMEWORKS]
    first, losses = {}, {}
    for w in workers:
        answer = w.ask("steps 1")
        first[w.name] = answer["seconds"][0]
        losses[w.name] = answer["losses"] + w.ask(f"steps {CHECKED - 1}")["losses"]
    for framework in FRAMEWORKS[:1] + FRAMEWORKS[2:]:
        differences = [abs(a - b) for a, b in zip(losses[framework], losses["torch"], strict=True)]
        print(f"{framework}: losses of {CHECKED} steps within {max(differences):.1e} of torch's")
        # Rounding grows from step to step; a wrong gradient shows at once.
        if max(differences[:10]) > 1e-3 or max(differences) > 0.05:
            raise SystemExit("the losses differ: nothing is timed")
    seconds: dict[str, list[float]] = {framework: [] for framework in FRAMEWORKS}
    for _ in range(ROUNDS):
        for w in workers:
            seconds[w.name] += w.ask(f"steps {STEPS_A_ROUND}")["seconds"]

    print(f"\n{'':16}{'import':>10}{'first step':>12}{'a step':>22}{'peak memory':>14}")
    for w in workers:
        times = [1e3 * s for s in seconds[w.name]]
        step = f"{statistics.median(times):.0f} ms ({min(times):.0f}-{max(times):.0f})"
        print(
            f"{w.name:16}{w.started['import_seconds']:>8.2f} s{first[w.name]:>10.2f} s"
            f"{step:>22}{w.ask('memory')['peak_mb']:>11.0f} MB"
        )
    print("versions: " + ", ".join(f"{w.name} {w.started['version']}" for w in workers[:2]))

    if held_out is not None:
        torch_worker = workers[1]
        rest = options.steps - CHECKED - ROUNDS * STEPS_A_ROUND
        if rest > 0:
            torch_worker.ask(f"steps {rest}")
            other = torch_worker.ask("held_out")["loss"]
            print(
                f"held-out loss after {options.steps} steps: {held_out:.4f}, PyTorch {other:.4f}, "
                f"difference {abs(held_out - other):.4f}"
            )
    for w in workers:
        w.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=Training.steps)
    compare(Training(steps=parser.parse_args().steps))


if __name__ == "__main__":
    main()

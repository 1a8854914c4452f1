"""Trains a character-level GPT on the documentation of Python's topics, and lets it write.

    python examples/train_gpt.py                  # a few minutes on two cores
    python examples/train_gpt.py --compare        # then the same in PyTorch, where it is installed

Leaves the model (safetensors), the losses (JSON) and their plot (PNG) in out/gpt/.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from gpt import GPT, generate, held_out_loss, initialize, train
from progress import Progress
from task import Config, Text, Training

import tenon as tn


def plot(losses: list[float], every: int, held_out: list[tuple[int, float]], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot([i * every for i in range(len(losses))], losses, lw=1, label="training batch")
    axes.plot(*zip(*held_out, strict=True), "o-", label="held-out text")
    axes.set(xlabel="step", ylabel="loss, nats a character", title="GPT, 4 layers of 128")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=Training.steps)
    parser.add_argument("--batch", type=int, default=Training.batch)
    parser.add_argument("--lr", type=float, default=Training.lr)
    parser.add_argument("--sample", type=int, default=500, help="characters to write at the end")
    parser.add_argument("--out", type=Path, default=Path("out/gpt"))
    parser.add_argument("--compare", action="store_true", help="a table beside PyTorch")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    text = Text()
    options = Training(steps=args.steps, batch=args.batch, lr=args.lr)
    model = GPT(Config(vocabulary=len(text.alphabet)))
    initialize(model)
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{parameters:,} parameters, {len(text.train):,} characters to learn from, "
        f"{len(text.held_out):,} held out, {len(text.alphabet)} different ones"
    )

    every = 10  # Steps between two looks at the loss.
    losses: list[float] = []
    held_out: list[tuple[int, float]] = []
    begin = time.perf_counter()
    bar = Progress(options.steps, options.batch * model.config.context)
    for step, loss in enumerate(train(model, text, options)):
        if step % every == 0 or step == options.steps - 1:
            losses.append(loss.item())
            bar.show(step + 1, losses[-1])
        if (step + 1) % 250 == 0 or step == options.steps - 1:
            with bar.paused():
                held_out.append((step + 1, held_out_loss(model, text, 32)))
                bar.note(f"step {step + 1}: held-out loss {held_out[-1][1]:.4f}")
    bar.close()
    seconds = time.perf_counter() - begin
    final = held_out[-1][1]

    tn.save_safetensors(model.state_dict(), args.out / "model.safetensors")
    plot(losses, every, held_out, args.out / "loss.png")
    record = {"steps": options.steps, "every": every, "losses": losses, "held_out": held_out}
    (args.out / "loss.json").write_text(json.dumps(record))

    print(f"\nheld-out loss {final:.4f} nats a character after {seconds:.0f} s; it writes:\n")
    begin = time.perf_counter()
    for character in generate(model, text, "The ", args.sample):
        print(character, end="", flush=True)
    rate = args.sample / (time.perf_counter() - begin)
    print(f"\n\n({rate:.0f} characters/s; model, plot and losses are in {args.out}/)")

    if args.compare:
        from compare_gpt import compare

        compare(options, final)


if __name__ == "__main__":
    main()

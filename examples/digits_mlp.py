"""Trains a multilayer perceptron on scikit-learn's 1,797 handwritten digits.

    python examples/digits_mlp.py

Reaches at least 97 % on the fifth of the digits that it never sees.
"""

from __future__ import annotations

import time

import numpy as np
from sklearn.datasets import load_digits

import tenon as tn
import tenon.nn.functional as F
from tenon import nn

EPOCHS, BATCH = 40, 64


def main() -> None:
    digits = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(digits.target))
    images = (digits.data[order] / 16).astype(np.float32)  # 8x8 pixels of 0 to 16.
    labels = digits.target[order].astype(np.int64)
    cut = len(labels) // 5
    held_images, held_labels = tn.from_numpy(images[:cut]), tn.from_numpy(labels[:cut])
    images, labels = images[cut:], labels[cut:]

    tn.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = tn.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)

    begin = time.perf_counter()
    for epoch in range(EPOCHS):
        order = rng.permutation(len(labels))
        for i in range(0, len(order), BATCH):
            chosen = order[i : i + BATCH]
            loss = F.cross_entropy(model(tn.tensor(images[chosen])), tn.tensor(labels[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1:2}: loss of the last batch {loss.item():.4f}")

    model.eval()
    with tn.no_grad():
        right = (model(held_images).argmax(1) == held_labels).sum().item()
    accuracy = right / cut
    print(f"{accuracy:.1%} of {cut} held-out digits are right, {time.perf_counter() - begin:.1f} s")
    if accuracy < 0.97:
        raise SystemExit("less than the 97 % that this model reaches")


if __name__ == "__main__":
    main()

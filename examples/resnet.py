"""ResNet-18 and a small convolutional network for images, as an ordinary PyTorch program.

Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016.
With `tenon` replaced by `torch` in the three imports below the file is a PyTorch program, which is
how the benchmark and the tests make their peer (`twin.load`).
"""

from __future__ import annotations

import numpy as np

import tenon as tn
import tenon.nn.functional as F
from tenon import nn


class Block(nn.Module):
    """Two convolutions and what they add to; the shortcut is a convolution where extents change."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = None
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet18(nn.Module):
    """Images (batch, 3, height, width) float32 to logits (batch, classes)."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()
        )
        self.pool = nn.MaxPool2d(3, 2, 1)
        blocks, channels = [], 64
        for stage, out in enumerate((64, 128, 256, 512)):
            for first in (True, False):
                blocks.append(Block(channels, out, 2 if first and stage else 1))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(512, classes)

    def forward(self, x):
        x = self.blocks(self.pool(self.stem(x)))
        return self.head(x.mean((2, 3)))


class ConvNet(nn.Module):
    """Digits (batch, 1, 28, 28) float32 to logits (batch, 10)."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.linear1 = nn.Linear(9216, 128)
        self.linear2 = nn.Linear(128, classes)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = F.max_pool2d(x, 2).flatten(1)
        return self.linear2(F.relu(self.linear1(x)))


# model: (class, shape of one image, classes)
MODELS = {"resnet18": (ResNet18, (3, 64, 64), 1000), "convnet": (ConvNet, (1, 28, 28), 10)}


def make_model(name: str, seed: int = 0):
    """The model with initial values that are the same in any framework (He's for kernels)."""
    model = MODELS[name][0]()
    rng = np.random.default_rng(seed)
    with tn.no_grad():
        for parameter in model.parameters():
            shape = tuple(parameter.shape)
            if len(shape) > 1:
                scale = (2 / np.prod(shape[1:])) ** 0.5
                values = (rng.standard_normal(shape) * scale).astype(np.float32)
                parameter.copy_(tn.from_numpy(values))
            # vectors keep theirs: the gain 1 of a norm, and below the bias 0
        for name_, parameter in model.named_parameters():
            if name_.endswith("bias"):
                parameter.zero_()
    return model


def train(model, name: str, batch: int, lr: float = 0.01, seed: int = 0):
    """Trains on random images of random classes, yielding every step's loss before it is read."""
    _, image, classes = MODELS[name]
    rng = np.random.default_rng(seed)
    optimizer = tn.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    images = tn.tensor(rng.standard_normal((batch, *image)).astype(np.float32))
    labels = tn.tensor(rng.integers(0, classes, batch))
    while True:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss

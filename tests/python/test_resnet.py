"""The convolutional networks of `examples/` follow PyTorch's losses from the same weights."""

import sys
from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from twin import load


def losses(framework, name, batch, count):
    resnet = load(framework, "resnet")
    model = resnet.make_model(name)
    return [loss.item() for loss in islice(resnet.train(model, name, batch), count)]


@pytest.mark.parametrize("name, batch, steps", [("convnet", 16, 20), ("resnet18", 4, 4)])
def test_losses_follow_pytorch(name, batch, steps):
    expected = losses("torch", name, batch, steps)
    assert losses("tenon", name, batch, steps) == pytest.approx(expected, rel=2e-3, abs=2e-3)
    assert expected[-1] < expected[0]

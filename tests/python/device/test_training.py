"""Models on a device, as they are on the host."""

import sys
from pathlib import Path

import pytest

import tenon as tn
import tenon.nn.functional as F
from tenon import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples"))


def losses(model, optimizer, inputs, targets, steps):
    result = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        result.append(loss.item())
    return result


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_mlp(name):
    def train(device):
        tn.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 3))
        model = model.to(device)
        options = {"momentum": 0.9} if name == "SGD" else {}
        optimizer = getattr(tn.optim, name)(model.parameters(), lr=0.05, **options)
        inputs, targets = tn.randn(10, 6).to(device), tn.arange(10).to(device) % 3
        result = losses(model, optimizer, inputs, targets, 4)
        assert all(p.device == tn.device(device) for p in model.parameters())
        assert all(p.grad.device == p.device for p in model.parameters())
        return result

    for there, here in zip(train("cuda:0"), train("cpu"), strict=True):
        assert abs(there - here) <= 1e-5


def test_gpt():
    """The README's example: its kernels compile, and its losses are the host's."""
    import gpt
    from task import Config, Text

    text = Text()

    def train(device):
        model = gpt.GPT(Config(len(text.alphabet), context=12, layers=2, heads=2, width=16))
        gpt.initialize(model)
        model.to(device)
        options = gpt.Training(steps=2, batch=3)
        return [loss.item() for loss in gpt.train(model, text, options)]

    for there, here in zip(train("cuda"), train("cpu"), strict=True):
        assert abs(there - here) <= 1e-4


def test_dropout_and_state():
    tn.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5)).cuda()
    y = model(tn.ones(3, 4, device="cuda"))
    assert y.is_cuda and 0 < (y == 0).sum().item() < 48
    state = model.state_dict()
    assert all(value.is_cuda for value in state.values())
    other = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5))
    other.load_state_dict(state)
    assert other[0].weight.device == tn.device("cpu")
    assert other[0].weight.tolist() == model[0].weight.tolist()
    assert model.cpu()[0].weight.device == tn.device("cpu")

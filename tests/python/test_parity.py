"""The same weights and batches as PyTorch: losses of 50 steps, and errors against float64.

The judge is PyTorch in float64. Tenon's relative L2 error of the loss and of each parameter's
gradient may be at most twice that of PyTorch in float32, or one unit in the last place.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from task import Config, Text  # noqa: E402
from twin import load  # noqa: E402

ULP = 2.0**-23
STEPS = 50
LEARNING_RATE = {"AdamW": 3e-3, "SGD": 3e-2}


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices, of which several threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Mlp:
    """One framework's perceptron, 20 -> 32 -> 32 -> 5 with GELU and ReLU, and its batches."""

    seeds = range(8)

    def __init__(self, framework, seed=0, dtype="float32"):
        nn = framework.nn
        self.framework, self.dtype = framework, dtype
        self.model = nn.Sequential(
            nn.Linear(20, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 32), nn.ReLU(),
            nn.Linear(32, 5),
        )  # fmt: skip
        rng = np.random.default_rng(seed)
        with framework.no_grad():
            for parameter in self.model.parameters():
                scale = 1 / math.sqrt(parameter.shape[-1])
                values = rng.normal(0, scale, tuple(parameter.shape)).astype(np.float32)
                parameter.copy_(framework.from_numpy(values))
        if dtype == "float64":
            self.model = self.model.double()
        self.rng = np.random.default_rng(seed + 1)
        self.weights = self.rng.normal(size=(20, 5)).astype(np.float32)

    def loss(self):
        x = self.rng.normal(size=(48, 20)).astype(np.float32)
        labels = (x @ self.weights).argmax(1)
        inputs = self.framework.from_numpy(x.astype(self.dtype))
        output = self.model(inputs)
        return self.framework.nn.functional.cross_entropy(output, self.framework.from_numpy(labels))


class Gpt:
    """One framework's three-layer GPT of `examples/gpt.py` on the example's text."""

    seeds = range(4)
    text = None

    def __init__(self, framework, seed=0, dtype="float32"):
        if Gpt.text is None:
            Gpt.text = Text()
        module = load(framework.__name__)
        config = Config(vocabulary=len(Gpt.text.alphabet), context=32, layers=3, heads=4, width=32)
        self.module, self.context = module, config.context
        self.model = module.GPT(config)
        module.initialize(self.model, seed)
        if dtype == "float64":
            self.model = self.model.double()
        self.rng = np.random.default_rng(seed + 1)

    def loss(self):
        batch = Gpt.text.batch(self.rng, 8, self.context)
        return self.module.loss_of(self.model, *self.module.tensors(batch))


def make_optimizer(framework, name, model):
    if name == "AdamW":
        return framework.optim.AdamW(
            model.parameters(), lr=LEARNING_RATE[name], betas=(0.9, 0.99), weight_decay=0.1
        )
    return framework.optim.SGD(
        model.parameters(), lr=LEARNING_RATE[name], momentum=0.9, weight_decay=1e-4
    )


def train(task, framework, optimizer_name, dtype="float32"):
    """Losses of the steps, and the parameters after them."""
    run = task(framework, dtype=dtype)
    optimizer = make_optimizer(framework, optimizer_name, run.model)
    losses = []
    for _ in range(STEPS):
        loss = run.loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss)
    parameters = {name: p.detach().numpy() for name, p in run.model.named_parameters()}
    return np.array([float(loss.item()) for loss in losses]), parameters


def relative_error(value, exact):
    value, exact = np.asarray(value, np.float64), np.asarray(exact, np.float64)
    norm = np.linalg.norm(exact)
    difference = np.linalg.norm(value - exact)
    return float(difference / norm) if norm > 0 else float(difference)


def root_mean_square(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
@pytest.mark.parametrize("task", [Mlp, Gpt])
def test_losses_follow_pytorch(task, optimizer):
    ours, our_parameters = train(task, tn, optimizer)
    theirs, their_parameters = train(task, torch, optimizer)
    exact, exact_parameters = train(task, torch, optimizer, "float64")
    assert exact[-1] < 0.95 * exact[0], "the task must be learnt, or following it shows nothing"

    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    np.testing.assert_allclose(ours, exact, rtol=2e-5)
    assert our_parameters.keys() == exact_parameters.keys()
    for name, value in exact_parameters.items():
        bound = max(4 * relative_error(their_parameters[name], value), 1e-5)
        assert relative_error(our_parameters[name], value) <= bound, name


@pytest.mark.parametrize("task", [Mlp, Gpt])
def test_errors_of_loss_and_gradients_against_float64(task):
    # Root mean squares over seeds: a single error of a few numbers is mostly chance.
    our_errors, their_errors = defaultdict(list), defaultdict(list)
    for seed in task.seeds:
        results = []
        for framework, dtype in ((tn, "float32"), (torch, "float32"), (torch, "float64")):
            run = task(framework, seed, dtype)
            loss = run.loss()
            loss.backward()
            gradients = {name: p.grad.numpy() for name, p in run.model.named_parameters()}
            results.append({"loss": np.asarray(loss.item()), **gradients})
        ours, theirs, exact = results
        assert ours.keys() == exact.keys()
        for name, value in exact.items():
            our_errors[name].append(relative_error(ours[name], value))
            their_errors[name].append(relative_error(theirs[name], value))
    for name, errors in our_errors.items():
        bound = max(2 * root_mean_square(their_errors[name]), ULP)
        assert root_mean_square(errors) <= bound, name

"""Nothing is compiled twice: extents, offsets and scalars are arguments of plans.

Counts of plans and kernels while sizes, learning rates and loop indices sweep. One plan may be made
for each pattern of sizes 0, 1 and other; a size class that was met before makes nothing.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

import tenon as tn
import tenon.nn.functional as F
from tenon import nn
from tests.python.counting import floats, made

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

SIZES = [7, 8, 16, 3, 2, 31, 97, 64, 5, 128, 257, 12]  # coincide with widths below; primes
WIDTH = 16


def size_class(n):
    return min(n, 2)


def check_sweep(run, points, classify, limit=None):
    """Runs every point twice over; only the first of each class may make a plan or a kernel."""
    seen, plans, kernels = set(), 0, 0
    for point in [*points, *points]:
        counts = made(lambda point=point: run(*point))
        key = classify(*point)
        if key in seen:
            assert counts["plans"] == 0, f"{point}: {counts}"
            assert counts["kernels"] == 0, f"{point}: {counts}"
            assert counts["compiled"] == 0, f"{point}: {counts}"
        seen.add(key)
        plans += counts["plans"]
        kernels += counts["kernels"]
    assert plans <= (limit or len(seen)), (plans, seen)
    return plans, kernels


# ---- elementwise, reduction and slicing programs ------------------------------------------------


def elementwise(x):
    return tn.tanh(x * x + tn.sin(x)) * tn.exp(-x * x) + x


def broadcast(x):
    return x * x[:1] + x[:, :1] - 2.5


def softmax(x):
    return (x - 1).softmax(-1)


def row_sum(x):
    return (x * x).sum(1)


def column_mean(x):
    return x.exp().mean(0)


def whole_sum(x):
    return (x * 3).sum()


def layer_norm(x):
    return F.layer_norm(x, (x.shape[1],))


def running_sum(x):
    return (x + 1).cumsum(0)


def halves(x):
    return x[: x.shape[0] // 2] * 2


def every_second(x):
    return x[::2].sum(1)


def reshaped(x):
    return (x * 2).t().reshape(-1)


def joined(x):
    return tn.cat([x, x * 2], 0) + 1


def gathered(x):
    return x[tn.arange(x.shape[0]).flip(0)] * 2


def written(x):
    y = x * 1
    y[0] = 3.0
    y[:, -1] += y[:, 0].clone()
    return y


SMOOTH = [elementwise, broadcast, softmax, row_sum, column_mean, layer_norm]
PROGRAMS = [*SMOOTH, whole_sum, running_sum, reshaped, joined, gathered, written]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_sizes_sweep(program):
    needs_elements = program is written
    sizes = [n for n in (*SIZES, 1, 0) if n > 0 or not needs_elements]
    points = [
        (a, b) for a, b in itertools.product(sizes, sizes) if a in (7, 1, 0) or b in (7, 1, 0)
    ]

    def run(a, b):
        program(floats(a, b)).numpy()

    check_sweep(run, points, lambda a, b: (size_class(a), size_class(b)))


@pytest.mark.parametrize("program", SMOOTH, ids=lambda f: f.__name__)
def test_sizes_sweep_with_derivatives(program):
    def run(a, b):
        x = floats(a, b).requires_grad_()
        (program(x) ** 2).sum().backward()
        x.grad.numpy()

    points = [
        (a, b) for a, b in itertools.product((*SIZES, 1), repeat=2) if 7 in (a, b) or 1 in (a, b)
    ]
    check_sweep(run, points, lambda a, b: (size_class(a), size_class(b)))


@pytest.mark.parametrize("program", [halves, every_second], ids=lambda f: f.__name__)
def test_sizes_of_slices_sweep(program):
    # The slice has a size class of its own.
    def run(a, b):
        program(floats(a, b)).numpy()

    def classify(a, b):
        sliced = a // 2 if program is halves else (a + 1) // 2
        return size_class(a), size_class(sliced), size_class(b)

    check_sweep(run, [(a, b) for a in (*SIZES, 1) for b in (7, 16, 1)], classify)


def test_large_sizes_may_only_add_kernels_of_their_size_class():
    """Rows that no longer fit a cache, or work for all cores, may have kernels of their own."""

    def run(a, b):
        softmax(floats(a, b)).numpy()
        whole_sum(floats(a, b)).numpy()

    sizes = [(4, 1000), (3, 70_000), (2000, 500), (7, 1_000_003)]
    for point in sizes:
        run(*point)
    for a, b in [(5, 1013), (2, 65_537), (1777, 512), (5, 1_000_000)]:
        counts = made(lambda a=a, b=b: run(a, b))
        assert counts["plans"] == counts["kernels"] == 0, (a, b, counts)


def test_scalars_and_indices_sweep():
    x = floats(20, 8)

    def run(i, scale):
        y = x[i] * scale + i
        y = y + x[: i + 2].sum(0) / scale
        y[i % 8] = scale
        tn.where(y > scale, y, -scale).numpy()

    run(1, 0.1)
    counts = made(lambda: [run(i, 0.1 * i + 0.3) for i in range(18)])
    assert counts["plans"] == counts["kernels"] == 0, counts
    # Numbers that are special in algebra are numbers like any other.
    counts = made(lambda: [run(3, s) for s in (1.0, -1.0, 2.0, 1e30, 0.5)])
    assert counts["plans"] == counts["kernels"] == 0, counts


def test_extents_that_coincide_by_chance():
    def run(a, b, c):
        x, y, z = floats(a, b), floats(b, c), floats(c)
        (x.sum(1).sum() + y.sum(0) * z).numpy()

    points = [(5, 6, 7), (5, 5, 5), (5, 5, 7), (7, 5, 5), (5, 7, 5), (6, 6, 6), (11, 13, 11)]
    counts = made(lambda: run(*points[0]))
    assert counts["plans"] == 1
    for point in points[1:]:
        counts = made(lambda point=point: run(*point))
        assert counts["plans"] == counts["kernels"] == 0, (point, counts)


# ---- training steps -----------------------------------------------------------------------------


def mlp_step(model, optimizer, batch):
    x = floats(batch, 12)
    y = tn.arange(batch) % 5
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@pytest.mark.parametrize("name", ["AdamW", "SGD"])
def test_batch_sizes_of_an_mlp(name):
    tn.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(12, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 5)
    )
    options = {"momentum": 0.9} if name == "SGD" else {}
    optimizer = getattr(tn.optim, name)(model.parameters(), lr=1e-3, **options)
    for _ in range(3):  # the first makes the moments
        mlp_step(model, optimizer, 9).item()

    counts = made(lambda: [mlp_step(model, optimizer, n).item() for n in SIZES])
    assert counts["plans"] == counts["kernels"] == 0, counts
    # Primitives of libraries are counted apart; batch sizes bound them.
    assert counts["library_primitives"] <= 3 * 3 * len(SIZES)

    first = made(lambda: mlp_step(model, optimizer, 1).item())
    assert first["plans"] <= 2, first
    again = made(lambda: mlp_step(model, optimizer, 1).item())
    assert again["plans"] == again["kernels"] == again["library_primitives"] == 0, again


def test_learning_rates_and_other_numbers_of_optimizers():
    model = nn.Linear(12, 5)
    optimizer = tn.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = tn.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    for _ in range(3):
        mlp_step(model, optimizer, 8).item()
        schedule.step()

    def run():
        for i in range(20):
            mlp_step(model, optimizer, 8).item()
            schedule.step()
            optimizer.param_groups[0]["weight_decay"] = 0.01 * (i + 1)
            optimizer.param_groups[0]["betas"] = (0.9 - 0.01 * i, 0.99)

    counts = made(run)
    assert counts["plans"] == counts["kernels"] == counts["library_primitives"] == 0, counts


def test_batch_sizes_and_lengths_of_a_gpt():
    import gpt
    from task import Config

    config = Config(vocabulary=50, context=64, layers=2, heads=2, width=WIDTH)
    model = gpt.GPT(config)
    gpt.initialize(model)
    tn.flush()  # else the first step's program starts with the initial values
    rng = np.random.default_rng(0)

    def run(batch, length):
        tokens = rng.integers(0, 50, (batch, length))
        loss = gpt.loss_of(model, tn.tensor(tokens), tn.tensor(tokens))
        model.zero_grad()
        loss.backward()
        loss.item()
        gradients = [p.grad.sum() for p in model.parameters()]
        assert np.isfinite(sum(gradients).item())

    points = [(4, 10), (3, 11), (16, 16), (2, 2), (5, 64), (8, 8), (1, 8), (8, 1), (1, 1), (7, 50),
              (1, 16), (1, 32), (3, 1), (13, 1), (50, 2)]  # fmt: skip
    # A flush for the loss, another for the sum of the gradients.
    check_sweep(run, points, lambda b, n: (size_class(b), size_class(n)), limit=2 * 4)


def test_a_batch_that_numpy_shares():
    """One program a step, as with a batch that was copied."""
    import gpt
    from task import Config

    config = Config(vocabulary=50, context=64, layers=2, heads=2, width=WIDTH)
    model = gpt.GPT(config)
    gpt.initialize(model)
    tn.flush()  # else the first step's program starts with the initial values
    optimizer = tn.optim.AdamW(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)

    def step(take):
        tokens = rng.integers(0, 50, (4, 17))
        loss = gpt.loss_of(model, take(tokens[:, :-1]), take(tokens[:, 1:]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tokens[:] = 49  # the buffer is used again

    for _ in range(3):
        step(tn.tensor)
    copied = made(lambda: [step(tn.tensor) for _ in range(4)])
    step(tn.from_numpy)
    shared = made(lambda: [step(tn.from_numpy) for _ in range(4)])
    assert shared["programs"] == copied["programs"] == 4
    assert shared["plans"] == shared["kernels"] == 0, shared


def test_generation_with_a_cache():
    """Twenty positions of the cache, one token each, after prompts of several lengths."""
    import gpt
    from task import Config

    config = Config(vocabulary=50, context=64, layers=2, heads=2, width=WIDTH)
    model = gpt.GPT(config)
    gpt.initialize(model)
    tn.flush()  # else the first step's program starts with the initial values

    def generate(prompt, length):
        caches, start, pending = model.new_caches(), 0, list(range(prompt))
        with tn.no_grad():
            for _ in range(length):
                logits = model(tn.tensor([pending]), caches, start)[0, -1]
                start += len(pending)
                pending = [int(logits.argmax().item())]

    generate(5, 4)
    counts = made(lambda: [generate(5, 20), generate(7, 20), generate(16, 9), generate(2, 9)])
    assert counts["plans"] == counts["kernels"] == 0, counts


def test_a_validation_loop_between_training_steps():
    model = nn.Sequential(nn.Linear(12, WIDTH), nn.ReLU(), nn.Dropout(0.5), nn.Linear(WIDTH, 5))
    optimizer = tn.optim.SGD(model.parameters(), lr=0.01)

    def epoch(steps, batch):
        model.train()
        for _ in range(steps):
            mlp_step(model, optimizer, batch)
        model.eval()
        with tn.no_grad():
            (model(floats(batch + 3, 12)).argmax(1) == 0).float().mean().item()

    epoch(4, 8)
    epoch(4, 8)
    counts = made(lambda: [epoch(4, n) for n in (9, 16, 32, 5)])
    assert counts["plans"] == counts["kernels"] == 0, counts


# ---- loops --------------------------------------------------------------------------------------


def train_for(steps, log_every=None, seed=0, size=6):
    """Plain SGD by hand; gives the logged losses and counts."""
    rng = np.random.default_rng(seed)
    w = tn.tensor(rng.normal(size=size).astype(np.float32), requires_grad=True)
    target = floats(size)
    logged = []
    for step in range(steps):
        loss = ((w - target) ** 2).sum()
        loss.backward()
        with tn.no_grad():
            w -= 0.01 * w.grad
        w.grad = None
        if log_every and step % log_every == 0:
            logged.append(loss.item())
    w.detach().numpy()
    return logged


def test_a_loop_of_10000_steps_that_never_reads():
    counts = made(lambda: train_for(10_000))
    assert counts["plans"] <= 6, counts
    assert counts["programs"] < 1000, counts
    assert counts["kernels"] <= 4 * counts["plans"] + 8, counts


def test_a_loop_that_logs_every_100_steps():
    counts = made(lambda: train_for(2_000, 100))
    assert counts["plans"] <= 6, counts
    again = made(lambda: train_for(2_000, 100, seed=1, size=9))
    assert again["plans"] <= 1 and again["kernels"] == 0, again


def test_a_loop_with_three_phases():
    x = floats(33)
    state = {"x": x * 1}

    def loop(steps):
        for i in range(steps):
            if i % 3 == 0:
                state["x"] = state["x"] * 0.9 + x
            elif i % 3 == 1:
                state["x"] = tn.tanh(state["x"]) - 0.1
            else:
                state["x"] = state["x"] + (state["x"] * x).sum()
        state["x"].numpy()

    # A loop's pieces are powers of two of its period, so that a length adds few plans, once.
    for steps, most in ((10_000, 8), (3_000, 8), (10_000, 1), (3_000, 0), (7_000, 4)):
        counts = made(lambda steps=steps: loop(steps))
        assert counts["plans"] <= most, (steps, counts)
        assert counts["programs"] < 100, (steps, counts)


def test_loops_of_many_lengths():
    """Reads after ever other numbers of steps: the pieces are powers of two of the period."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(1, 300, 24)

    def loop():
        x = floats(9)
        for n in lengths:
            for _ in range(n):
                x = x * 0.5 + 1
            x.sum().item()

    counts = made(loop)
    assert counts["plans"] <= 14, counts
    counts = made(loop)
    assert counts["plans"] <= 1, counts


def test_new_data_each_step():
    rng = np.random.default_rng(0)
    model = nn.Linear(12, 5)
    optimizer = tn.optim.AdamW(model.parameters(), lr=1e-3)

    def loop(steps):
        for _ in range(steps):
            x = tn.from_numpy(rng.normal(size=(8, 12)).astype(np.float32))
            loss = F.mse_loss(model(x), x[:, :5] * 2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    loop(5)
    counts = made(lambda: loop(300))
    assert counts["plans"] <= 1, counts
    assert counts["kernels"] == 0 and counts["library_primitives"] == 0, counts


def test_transforms_make_nothing_anew():
    def run(n):
        x = floats(n, 3)
        tn.func.vmap(tn.func.hessian(lambda x: (x**3).sum() * x[0]))(x).numpy()
        tn.func.grad(lambda x: (x.softmax(-1) ** 2).sum())(x).numpy()

    run(4)
    counts = made(lambda: [run(n) for n in SIZES])
    assert counts["plans"] == counts["kernels"] == 0, counts

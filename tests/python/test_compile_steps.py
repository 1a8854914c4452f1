"""Compiled training steps: what they leave behind is what Python leaves."""

import gc
import weakref

import numpy as np
import pytest
from compiled import skips

import tenon as tn
import tenon.nn as nn
import tenon.nn.functional as F

OPTIMIZERS = {
    "SGD": lambda p: tn.optim.SGD(p, lr=0.1),
    "momentum": lambda p: tn.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "AdamW": lambda p: tn.optim.AdamW(p, lr=0.01),
    "amsgrad": lambda p: tn.optim.Adam(p, lr=0.01, amsgrad=True),
    "RMSprop": lambda p: tn.optim.RMSprop(p, lr=0.01, momentum=0.5),
    "Adagrad": lambda p: tn.optim.Adagrad(p, lr=0.01),
}


class Training:
    """A model, its optimizer, and a step over both."""

    def __init__(self, optimizer="AdamW", order="first", dropout=0.0, result="loss"):
        tn.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 3))
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.order, self.result = order, result

    def step(self, x, y):
        if self.order == "first":
            self.optimizer.zero_grad()
        out = self.model(x)
        loss = F.mse_loss(out, y)
        if self.order == "middle":
            self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.order == "last":
            self.optimizer.zero_grad()
        if self.result == "detached":
            return loss.detach()
        if self.result == "both":
            return {"loss": loss, "right": (out.argmax(-1) == y.argmax(-1)).sum(), "out": out}
        return loss if self.result == "loss" else None


def pair(*args, change=None, **kwargs):
    """(compiled, plain) trainings that begin alike."""
    trainings = Training(*args, **kwargs), Training(*args, **kwargs)
    trainings[0].step = tn.compile(trainings[0].step)
    return trainings


def equal(a, b):
    assert type(a) is type(b)
    if isinstance(a, tn.Tensor):
        assert a.dtype == b.dtype and a.shape == b.shape and a._version == b._version
        assert a.requires_grad == b.requires_grad and a.is_leaf == b.is_leaf
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for x, y in zip(a.values(), b.values(), strict=True):
            equal(x, y)
    else:
        assert a == b or a != a


def equal_states(a, b):
    for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True):
        equal(p, q)
        equal(p.grad, q.grad)
        assert (p in a.optimizer.state) == (q in b.optimizer.state)
        if p in a.optimizer.state:
            equal(a.optimizer.state[p], b.optimizer.state[q])
    assert len(a.optimizer.state) == len(b.optimizer.state)


def batch(number, rows=5):
    rng = np.random.default_rng(number)
    return tn.from_numpy(rng.normal(size=(rows, 4)).astype(np.float32)).clone(), tn.from_numpy(
        rng.normal(size=(rows, 3)).astype(np.float32)
    ).clone()


def go(trainings, steps, first=0, between=None):
    for i in range(first, first + steps):
        results = []
        for training in trainings:
            tn.manual_seed(i)
            results.append((training.step(*batch(i)), tn.rand(2)))
        for x, y in zip(*results, strict=True):
            equal(x, y)
        equal_states(*trainings)
        if between:
            for training in trainings:
                between(training, i)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers(optimizer):
    trainings = pair(optimizer)
    go(trainings, 7)
    assert skips(trainings[0].step) == 5, trainings[0].step.explain()


@pytest.mark.parametrize("order", ["first", "middle", "last", "never"])
@pytest.mark.parametrize("result", ["loss", "detached", "both", "none"])
def test_orders_and_results(order, result):
    trainings = pair("AdamW", order, 0.0, result)
    go(trainings, 6)
    assert skips(trainings[0].step) == 4, trainings[0].step.explain()


def test_random_numbers():
    trainings = pair(dropout=0.5)
    go(trainings, 6)
    assert skips(trainings[0].step) == 4, trainings[0].step.explain()


def test_rates_that_change():
    trainings = pair("momentum")

    def between(training, i):
        training.optimizer.param_groups[0]["lr"] = 0.1 / (i + 2)
        training.optimizer.param_groups[0]["momentum"] = 0.5 + 0.05 * i
        if i == 5:
            training.optimizer.param_groups[0]["lr"] = tn.tensor(0.05)

    go(trainings, 8, between=between)
    assert skips(trainings[0].step) == 6


def test_schedules():
    trainings = pair()
    schedules = [tn.optim.lr_scheduler.StepLR(t.optimizer, 2, gamma=0.5) for t in trainings]

    def between(training, _):
        schedules[trainings.index(training)].step()

    go(trainings, 8, between=between)
    assert skips(trainings[0].step) == 6


def test_sizes_that_change():
    trainings = pair()
    for i in range(12):
        x, y = batch(i, 5 if i % 3 else 7)
        equal(trainings[0].step(x, y), trainings[1].step(x, y))
        equal_states(*trainings)
    assert skips(trainings[0].step) > 5


# ---- what changes between steps ------------------------------------------------------------------


def frozen(training):
    training.model[0].weight.requires_grad_(False)


def replaced_layer(training):
    tn.manual_seed(5)
    training.model[0] = nn.Linear(4, 8)


def replaced_parameter(training):
    training.model[0].weight = nn.Parameter(tn.ones(8, 4))


def another_group(training):
    tn.manual_seed(6)
    extra = nn.Linear(3, 3)
    training.model.append(extra)
    training.optimizer.add_param_group({"params": list(extra.parameters()), "lr": 0.5})


def loaded_state(training):
    training.optimizer.load_state_dict(training.optimizer.state_dict())


def cleared_state(training):
    training.optimizer.state.clear()


def one_less(training):
    training.optimizer.param_groups[0]["params"].pop()


def no_gradient(training):
    training.model[0].weight.grad = None


def own_gradient(training):
    training.model[0].weight.grad = tn.ones(8, 4)


def written(training):
    with tn.no_grad():
        training.model[0].weight.mul_(0.5)


def data(training):
    training.model[0].weight.data = tn.ones(8, 4)


def evaluated(training):
    training.model.eval()


def another_optimizer(training):
    training.optimizer = OPTIMIZERS["SGD"](training.model.parameters())


@pytest.mark.parametrize(
    "change",
    [frozen, replaced_layer, replaced_parameter, another_group, loaded_state, cleared_state]
    + [one_less, no_gradient, own_gradient, written, data, evaluated, another_optimizer],
)
@pytest.mark.parametrize("order", ["first", "never"])
def test_changes(change, order):
    trainings = pair("AdamW", order, dropout=0.2)
    go(trainings, 5)
    assert skips(trainings[0].step) == 3
    for training in trainings:
        change(training)
    go(trainings, 6, first=5)


def test_hooks_that_come_later():
    trainings = pair()
    go(trainings, 4)
    assert skips(trainings[0].step) == 2
    seen = []
    handles = []
    for training in trainings:
        weight = training.model[0].weight
        handles.append(weight.register_hook(lambda g: (seen.append(1), g * 2)[1]))
    go(trainings, 4, first=4)
    assert len(seen) == 8
    for handle in handles:
        handle.remove()
    go(trainings, 4, first=8)
    assert len(seen) == 8
    for training in trainings:
        training.model[0].bias.register_post_accumulate_grad_hook(lambda p: seen.append(2))
    go(trainings, 3, first=12)
    assert seen[8:] == [2] * 6


def test_hooks_that_change_what_comes_after():
    scale = [1.0]
    results = []
    for compiled in (True, False):
        training = Training("SGD")

        def step(x, y, training=training):
            training.optimizer.zero_grad()
            loss = F.mse_loss(training.model(x), y)
            loss.backward()
            training.optimizer.step()
            return loss.detach() * scale[0]

        run = tn.compile(step) if compiled else step
        scale[0] = 1.0
        losses = [run(*batch(i)).item() for i in range(4)]

        def hook(gradient):
            scale[0] += 1

        training.model[0].weight.register_hook(hook)
        losses += [run(*batch(i)).item() for i in range(4, 10)]
        results.append(losses)
    assert results[0] == results[1]


def test_hooks_of_optimizers():
    trainings = pair()
    go(trainings, 4)
    counts = []
    handles = [t.optimizer.register_step_post_hook(lambda *_: counts.append(1)) for t in trainings]
    go(trainings, 4, first=4)
    assert len(counts) == 8
    for handle in handles:
        handle.remove()
    before = skips(trainings[0].step)
    go(trainings, 4, first=8)
    assert len(counts) == 8 and skips(trainings[0].step) > before


def test_inputs_with_derivatives():
    trainings = pair("SGD")
    go(trainings, 4)
    for i in range(4, 8):
        grads = []
        for training in trainings:
            x, y = batch(i)
            x.requires_grad_()
            training.step(x * 2 if i % 2 else x, y)
            grads.append(x.grad)
        equal(*grads)
        equal_states(*trainings)


class Doubled(tn.autograd.Function):
    calls = 0

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        Doubled.calls += 1
        return gradient * 2


def test_functions_of_the_user_behind_an_input():
    trainings = pair("SGD")
    go(trainings, 4)
    Doubled.calls = 0
    for i in range(4, 8):
        for training in trainings:
            x, y = batch(i)
            x.requires_grad_()
            training.step(Doubled.apply(x), y)
    assert Doubled.calls == 8
    equal_states(*trainings)


def test_a_loss_that_is_used_again():
    trainings = pair()
    for i in range(6):
        for training in trainings:
            loss = training.step(*batch(i))
            with pytest.raises(RuntimeError, match=r"second time|retain_graph"):
                loss.backward()
        equal_states(*trainings)
    assert skips(trainings[0].step) == 4


def test_gradients_that_are_kept():
    trainings = pair("SGD", "never")
    held = [[], []]

    def between(training, _):
        held[trainings.index(training)].append(training.model[0].weight.grad)

    go(trainings, 6, between=between)
    for a, b in zip(*held, strict=True):
        equal(a, b)
    assert all(h is held[0][0] for h in held[0]) == all(h is held[1][0] for h in held[1])


def test_two_optimizers_and_two_backward_passes():
    results = []
    for compiled in (True, False):
        tn.manual_seed(1)
        one, two = nn.Linear(3, 3), nn.Linear(3, 3)
        first = tn.optim.SGD(one.parameters(), lr=0.1)
        second = tn.optim.Adam(two.parameters(), lr=0.1)

        def step(x, one=one, two=two, first=first, second=second):
            first.zero_grad()
            second.zero_grad()
            middle = one(x).tanh()
            loss = two(middle.detach()).square().mean()
            loss.backward()
            second.step()
            other = (two(middle) - 1).square().mean()
            other.backward()
            first.step()
            return loss, other

        run = tn.compile(step) if compiled else step
        losses = []
        for i in range(6):
            a, b = run(batch(i)[0][:, :3])
            losses.append((a.item(), b.item()))
        states = [p.tolist() for p in (*one.parameters(), *two.parameters())]
        results.append((losses, states))
        if compiled:
            assert skips(run) >= 0
    assert results[0] == results[1]


def test_what_python_must_run_for():
    model = nn.Linear(3, 1)
    optimizer = tn.optim.SGD(model.parameters(), lr=0.1)
    losses = []

    def logs(x):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    def clips(x):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    def zeroes(x):
        optimizer.zero_grad(set_to_none=False)
        loss = model(x).square().mean()
        loss.backward()
        return loss

    class Own(tn.optim.SGD):
        steps = 0

        def step(self, closure=None):
            Own.steps += 1
            return super().step(closure)

    own = Own(model.parameters(), lr=0.1)

    def counts(x):
        model(x).sum().backward()
        own.step()

    for function in (logs, clips, zeroes, counts):
        f = tn.compile(function)
        for i in range(5):
            f(batch(i)[0][:, :3])
        assert skips(f) == 0, f.explain()
    assert len(losses) == 5 and Own.steps == 5


def test_a_step_under_no_grad():
    trainings = pair()
    go(trainings, 4)
    for training in trainings:
        with tn.no_grad(), pytest.raises(RuntimeError, match="does not require grad"):
            training.step(*batch(9))
    go(trainings, 4, first=4)


def test_steps_hold_nothing():
    training = Training()
    f = tn.compile(training.step)
    for i in range(5):
        loss = f(*batch(i))
    assert skips(f) == 3
    seen = weakref.ref(loss), weakref.ref(training.model)
    del loss, f, training
    gc.collect()
    assert all(reference() is None for reference in seen)


def test_explain():
    training = Training()
    f = tn.compile(training.step)
    for i in range(4):
        f(*batch(i))
    text = f.explain()
    assert "Python is skipped" in text
    assert [word for word in ("zero_grad", "backward", "step") if f"then {word}" in text] == [
        "zero_grad",
        "backward",
        "step",
    ]

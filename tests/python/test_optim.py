"""Optimizers and schedules against PyTorch's, step by step."""

import copy
import pickle

import numpy as np
import pytest

import tenon
import tenon as tn
from tenon import nn

torch = pytest.importorskip("torch")

SHAPES = [(5, 3), (7,), (), (1, 2, 3)]


def parameters(package, dtype="float32"):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    make = package.nn.Parameter
    return [make(package.tensor(a).to(getattr(package, dtype))) for a in arrays]


def set_gradients(package, params, step):
    rng = np.random.default_rng(100 + step)
    for p in params:
        grad = package.tensor(np.asarray(rng.standard_normal(tuple(p.shape)), dtype=np.float32))
        p.grad = grad.to(p.dtype)


def values(params):
    return [np.asarray(p.detach().to(p.dtype).double().tolist()) for p in params]


def compare(ours, theirs, ulps, dtype="float32"):
    epsilon = {"float32": 2.0**-23, "float64": 2.0**-52, "bfloat16": 2.0**-7, "float16": 2.0**-10}[
        dtype
    ]
    for a, b in zip(values(ours), values(theirs), strict=True):
        scale = np.maximum(np.abs(b), 0.5)  # of what is added up, not of what remains
        assert np.max(np.abs(a - b) / scale, initial=0.0) <= ulps * epsilon


# Which have no rule of their own in C++.
OTHERS = ("Adafactor", "LBFGS", "Muon", "Optimizer", "SparseAdam", "lr_scheduler")
ALL = [name for name in tn.optim.__all__ if name not in OTHERS]

RULES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "maximize": True}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.3, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "maximize": True}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.3, "amsgrad": True, "betas": (0.95, 0.99)}),
    ("AdamW", {"lr": 0.01, "maximize": True, "foreach": False, "fused": None}),
    ("ASGD", {"lr": 0.1, "lambd": 0.01, "t0": 3.0}),
    ("ASGD", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {"lr": 0.05}),
    ("Adamax", {"lr": 0.05, "weight_decay": 0.1, "betas": (0.5, 0.9), "maximize": True}),
    ("NAdam", {"lr": 0.05}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.05}),
    ("RAdam", {"lr": 0.05, "betas": (0.8, 0.99), "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adagrad", {"lr": 0.1}),
    (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1},
    ),
    ("RMSprop", {"lr": 0.05}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.5, "maximize": True}),
    ("Adadelta", {"lr": 1.0}),
    ("Adadelta", {"lr": 0.5, "rho": 0.5, "weight_decay": 0.1}),
    ("Rprop", {"lr": 0.05}),
    ("Rprop", {"lr": 0.05, "etas": (0.3, 1.5), "step_sizes": (0.01, 0.2), "maximize": True}),
]


@pytest.mark.parametrize("name, options", RULES, ids=lambda v: str(v))
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_every_step_agrees(name, options, dtype):
    pairs = []
    for package in (tenon, torch):
        params = parameters(package, dtype)
        pairs.append((package, params, getattr(package.optim, name)(params, **options)))
    for step in range(8):
        for package, params, optimizer in pairs:
            set_gradients(package, params, step)
            optimizer.param_groups[0]["lr"] = options["lr"] / (1 + 0.1 * step)
            optimizer.step()
        # PyTorch contracts a + b * c on some processors, Tenon never: an ulp or so a step.
        compare(pairs[0][1], pairs[1][1], 2 + step, dtype)
        ours, theirs = pairs[0][2].state_dict(), pairs[1][2].state_dict()
        assert list(ours["state"]) == list(theirs["state"])
        for number, state in theirs["state"].items():
            found = ours["state"][number]
            assert list(found) == list(state)
            for key, value in state.items():
                assert tuple(found[key].shape) == tuple(value.shape)
                if key in ("step", "eta", "mu", "mu_product"):
                    assert float(found[key]) == float(value)


@pytest.mark.parametrize("name", ALL)
def test_defaults_and_text_agree(name):
    def program(package):
        return repr(getattr(package.optim, name)(parameters(package)))

    assert program(tenon) == program(torch)


def test_text_and_groups_agree():
    def program(package):
        a, b = parameters(package)[:2]
        optimizer = package.optim.AdamW(
            [{"params": [a]}, {"params": b, "lr": 0.5}], weight_decay=0.3
        )
        optimizer.add_param_group(
            {"params": [package.nn.Parameter(package.ones(2))], "betas": (0.5, 0.6)}
        )
        sgd = package.optim.SGD([a], lr=1.0)
        return [repr(optimizer), repr(sgd), optimizer.state_dict(), sgd.defaults]

    assert program(tenon) == program(torch)


def test_a_parameter_without_a_gradient_stays():
    a, b = nn.Parameter(tn.ones(2)), nn.Parameter(tn.ones(2))
    optimizer = tn.optim.AdamW([a, b], lr=0.1)
    a.sum().backward()
    optimizer.step()
    assert b.tolist() == [1, 1] and list(optimizer.state) == [a]


def test_closures_and_zero_grad():
    p = nn.Parameter(tn.tensor([2.0]))
    optimizer = tn.optim.SGD([p], lr=1.0)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum() / 2
        loss.backward()
        return loss

    with tn.no_grad():
        assert optimizer.step(closure).item() == 2
    assert p.tolist() == [0]
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0]
    optimizer.zero_grad()
    assert p.grad is None


def train(optimizer, params, steps, start=0):
    for step in range(start, start + steps):
        set_gradients(tenon, params, step)
        optimizer.step()


def test_every_rule_has_a_case():
    assert set(ALL) == {name for name, _ in RULES}


@pytest.mark.parametrize("name", ALL)
def test_a_saved_state_continues_bit_for_bit(name):
    options = {
        "SGD": {"momentum": 0.9},
        "Adam": {"amsgrad": True},
        "RMSprop": {"centered": True},
    }.get(name, {})
    make = getattr(tn.optim, name)
    params = parameters(tenon)
    optimizer = make(params, lr=0.1, **options)
    train(optimizer, params, 3)
    other = [nn.Parameter(p.detach().clone()) for p in params]
    resumed = make(other, lr=5.0, **options)
    resumed.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    assert resumed.param_groups[0]["lr"] == 0.1
    train(optimizer, params, 3, 3)
    train(resumed, other, 3, 3)
    for a, b in zip(values(params), values(other), strict=True):
        assert np.array_equal(a, b)


def test_states_of_pytorch_load():
    ours, theirs = parameters(tenon), parameters(torch)
    optimizer = torch.optim.Adam(theirs, lr=0.05, amsgrad=True)
    for step in range(3):
        set_gradients(torch, theirs, step)
        optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    state["state"] = {
        n: {k: tn.from_numpy(v.numpy().copy()) for k, v in s.items()}
        for n, s in state["state"].items()
    }
    for p, q in zip(ours, theirs, strict=True):
        p.data = tn.from_numpy(q.detach().numpy().copy())
    resumed = tn.optim.Adam(ours)
    resumed.load_state_dict(state)
    for step in range(3, 6):
        set_gradients(torch, theirs, step)
        optimizer.step()
        set_gradients(tenon, ours, step)
        resumed.step()
    compare(ours, theirs, 6)


def test_states_that_do_not_match():
    a, b = parameters(tenon)[:2]
    optimizer = tn.optim.SGD([a, b], lr=0.1, momentum=0.9)
    other = tn.optim.SGD([a], lr=0.2)
    with pytest.raises(ValueError, match="size of optimizer's group"):
        other.load_state_dict(optimizer.state_dict())
    both = tn.optim.SGD([{"params": [a]}, {"params": [b]}], lr=0.3)
    with pytest.raises(ValueError, match="number of parameter groups"):
        both.load_state_dict(optimizer.state_dict())
    assert both.param_groups[0]["lr"] == 0.3


@pytest.mark.parametrize(
    "make, error",
    [
        (lambda p: tn.optim.SGD([p], lr=-1.0), ValueError),
        (lambda p: tn.optim.SGD([p], nesterov=True), ValueError),
        (lambda p: tn.optim.SGD([p], momentum=-0.1), ValueError),
        (lambda p: tn.optim.Adam([p], betas=(1.0, 0.9)), ValueError),
        (lambda p: tn.optim.Adam([p], eps=-1.0), ValueError),
        (lambda p: tn.optim.AdamW([p], weight_decay=-1.0), ValueError),
        (lambda p: tn.optim.SGD([]), ValueError),
        (lambda p: tn.optim.SGD(p), TypeError),
        (lambda p: tn.optim.SGD([3]), TypeError),
        (lambda p: tn.optim.SGD([{"params": {p}}]), TypeError),
        (lambda p: tn.optim.SGD([p * 2]), ValueError),
        (lambda p: tn.optim.SGD([{"params": [p]}, {"params": [p]}]), ValueError),
    ],
)
def test_bad_arguments(make, error):
    with pytest.raises(error):
        make(nn.Parameter(tn.ones(1)))


def test_the_learning_rate_may_be_a_tensor():
    p = nn.Parameter(tn.ones(1))
    optimizer = tn.optim.SGD([p], lr=tn.tensor(0.5))
    p.sum().backward()
    optimizer.step()
    assert p.tolist() == [0.5]


def test_hooks_and_copies():
    p = nn.Parameter(tn.ones(1))
    optimizer = tn.optim.SGD([p], lr=0.5)
    log = []
    optimizer.register_step_pre_hook(lambda o, a, k: log.append("pre"))
    optimizer.register_step_post_hook(lambda o, a, k: log.append("post"))
    p.sum().backward()
    optimizer.step()
    assert log == ["pre", "post"]
    other = copy.deepcopy(optimizer)
    assert other.param_groups[0]["params"][0] is not p
    other.step()
    assert p.tolist() == [0.5]


# ---- schedules ----------------------------------------------------------------------------------

SCHEDULES = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5], "gamma": 0.5}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 4}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.8, "total_iters": 6}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {"total_iters": 8, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4, "eta_min": 0.01}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch}),
    ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.9}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 14}),
    (
        "OneCycleLR",
        {
            "max_lr": 1.0,
            "epochs": 2,
            "steps_per_epoch": 7,
            "three_phase": True,
            "anneal_strategy": "linear",
        },
    ),
    ("OneCycleLR", {"max_lr": [1.0, 2.0], "total_steps": 13, "cycle_momentum": False}),
]


def two_groups(package, name="SGD"):
    a, b = parameters(package)[:2]
    options = {"momentum": 0.9} if name == "SGD" else {}
    return getattr(package.optim, name)(
        [{"params": [a]}, {"params": [b], "lr": 0.05}], lr=0.5, **options
    )


def follow(package, make, steps=12, name="SGD"):
    optimizer = two_groups(package, name)
    schedule = make(package.optim.lr_scheduler, optimizer)
    rows = []
    for _ in range(steps):
        row = [group["lr"] for group in optimizer.param_groups]
        row += [
            group.get("momentum", group.get("betas", (0,))[0] if "betas" in group else 0)
            for group in optimizer.param_groups
        ]
        assert schedule.get_last_lr() == row[:2]
        rows.append(row)
        optimizer.step()
        schedule.step()
    return rows


@pytest.mark.parametrize("name, options", SCHEDULES, ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_schedules_agree(name, options, optimizer):
    def make(module, o):
        return getattr(module, name)(o, **options)

    found = follow(tenon, make, name=optimizer)
    np.testing.assert_allclose(found, follow(torch, make, name=optimizer), rtol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_composed_schedules_agree():
    def sequential(module, o):
        warm = module.LinearLR(o, 0.1, total_iters=3)
        return module.SequentialLR(
            o, [warm, module.CosineAnnealingLR(o, 8), module.StepLR(o, 1)], [3, 9]
        )

    def chained(module, o):
        return module.ChainedScheduler([module.LinearLR(o, 0.1), module.ExponentialLR(o, 0.9)])

    for make in (sequential, chained):
        np.testing.assert_allclose(follow(tenon, make), follow(torch, make), rtol=1e-12)


def test_plateaus_agree():
    metrics = [1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]

    def program(package, **options):
        optimizer = two_groups(package)
        schedule = package.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, **options)
        rows = []
        for metric in metrics:
            optimizer.step()
            schedule.step(package.tensor(metric))
            rows.append(schedule.get_last_lr())
        return rows

    for options in (
        {},
        {"cooldown": 2, "factor": 0.5},
        {"mode": "max", "threshold_mode": "abs"},
        {"min_lr": [0.1, 0.01]},
    ):
        assert program(tenon, **options) == program(torch, **options)


def test_schedules_save_and_load():
    for name, options in SCHEDULES:
        optimizer = two_groups(tenon)
        schedule = getattr(tn.optim.lr_scheduler, name)(optimizer, **options)
        schedule.step()
        state = {k: v for k, v in schedule.state_dict().items() if k != "lr_lambdas"} | (
            {"lr_lambdas": schedule.state_dict()["lr_lambdas"]} if "lr_lambda" in options else {}
        )
        other = getattr(tn.optim.lr_scheduler, name)(two_groups(tenon), **options)
        other.load_state_dict(pickle.loads(pickle.dumps(state)))
        for group, saved in zip(other.optimizer.param_groups, optimizer.param_groups, strict=True):
            group["lr"] = saved["lr"]
        schedule.step()
        other.step()
        assert other.get_last_lr() == schedule.get_last_lr()


def test_schedules_check_their_arguments():
    schedules = tn.optim.lr_scheduler
    o = two_groups(tenon)
    for make in (
        lambda: schedules.LinearLR(o, start_factor=0.0),
        lambda: schedules.ConstantLR(o, factor=2.0),
        lambda: schedules.OneCycleLR(o, 1.0),
        lambda: schedules.OneCycleLR(o, 1.0, total_steps=10, pct_start=2.0),
        lambda: schedules.LambdaLR(o, [lambda e: 1.0]),
        lambda: schedules.SequentialLR(o, [schedules.StepLR(o, 1)], [3]),
        lambda: schedules.ReduceLROnPlateau(o, mode="mean"),
        lambda: schedules.CosineAnnealingWarmRestarts(o, 0),
    ):
        with pytest.raises(ValueError):
            make()
    with pytest.raises(TypeError):
        schedules.StepLR(3, 1)

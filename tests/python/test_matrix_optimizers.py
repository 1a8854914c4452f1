"""Adafactor and Muon against PyTorch's."""

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")

SHAPES = {"Adafactor": [(4, 3), (5,), (2, 3, 4), ()], "Muon": [(4, 3), (3, 5), (4, 4)]}
OPTIONS = [
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.1, "d": 2.0}),
    ("Adafactor", {"beta2_decay": -0.5, "eps": (1e-6, 1e-2), "maximize": True}),
    ("Muon", {}),
    ("Muon", {"lr": 0.05, "nesterov": False, "weight_decay": 0.0, "momentum": 0.5}),
    ("Muon", {"adjust_lr_fn": "match_rms_adamw", "ns_steps": 3}),
]


def parameters(package, name):
    draws = np.random.default_rng(0)
    starts = [draws.standard_normal(shape).astype(np.float32) for shape in SHAPES[name]]
    return [package.nn.Parameter(package.tensor(start)) for start in starts]


def run(package, name, options):
    draws = np.random.default_rng(1)
    params = parameters(package, name)
    optimizer = getattr(package.optim, name)(params, **options)
    for _ in range(4):
        for p in params:
            p.grad = package.tensor(draws.standard_normal(tuple(p.shape)).astype(np.float32))
        optimizer.step()
    return [p.detach().numpy() for p in params], optimizer


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_steps(name, options):
    found, ours = run(tn, name, options)
    expected, theirs = run(torch, name, options)
    # Muon's updates, some 1 in size, come from an iteration in bfloat16.
    tolerance = 2e-5 if name == "Adafactor" else 0.2 * options.get("lr", 1e-3)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    state, other = ours.state_dict(), theirs.state_dict()
    assert state["param_groups"] == other["param_groups"]
    for i, entries in other["state"].items():
        assert state["state"][i].keys() == entries.keys()
        for key, value in entries.items():
            assert tuple(state["state"][i][key].shape) == tuple(value.shape)


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_state_is_kept(name):
    _, optimizer = run(tn, name, {})
    params = parameters(tn, name)
    other = getattr(tn.optim, name)(params)
    other.load_state_dict(optimizer.state_dict())
    with tn.no_grad():
        for mine, theirs in zip(params, optimizer.param_groups[0]["params"], strict=True):
            mine.copy_(theirs)
            mine.grad = theirs.grad
    other.step()
    optimizer.step()
    for mine, theirs in zip(params, optimizer.param_groups[0]["params"], strict=True):
        assert tn.equal(mine, theirs)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Adafactor", {"lr": -1.0}),
        ("Adafactor", {"beta2_decay": 0.1}),
        ("Adafactor", {"eps": (-1.0, 1e-3)}),
        ("Adafactor", {"d": 0.5}),
        ("Adafactor", {"weight_decay": -1.0}),
        ("Muon", {"lr": -1.0}),
        ("Muon", {"momentum": -1.0}),
        ("Muon", {"weight_decay": -1.0}),
        ("Muon", {"adjust_lr_fn": "other"}),
    ],
)
def test_options_out_of_range(name, options):
    for package in (tn, torch):
        with pytest.raises(ValueError):
            getattr(package.optim, name)(parameters(package, name), **options)


def test_muon_takes_matrices_alone():
    for package in (tn, torch):
        with pytest.raises(ValueError, match="2D"):
            package.optim.Muon([package.nn.Parameter(package.ones(3))])


def test_steps_compile_nothing_anew():
    params = parameters(tn, "Adafactor")
    optimizer = tn.optim.Adafactor(params)
    for step in range(6):
        if step == 3:
            tn.jit.reset()
        for p in params:
            p.grad = tn.randn_like(p)
        optimizer.step()
    assert tn.jit.counters()["plans"] == 0

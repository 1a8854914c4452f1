"""Parametrized weights, weight and spectral normalization, against PyTorch's."""

import copy

import numpy as np
import pytest

import tenon as tn
from tenon import nn

torch = pytest.importorskip("torch")


def state(module):
    return {k: tuple(v.shape) for k, v in module.state_dict().items()}


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(
        found.detach().numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance
    )


def apply(package, kind, layer, **options):
    utils = package.nn.utils
    where = utils.parametrizations if kind.startswith("new ") else utils
    return getattr(where, kind.removeprefix("new "))(layer, **options)


CASES = [
    ("Linear", (4, 3), (2, 4), {}),
    ("Conv2d", (3, 4, 3), (2, 3, 6, 6), {}),
    ("ConvTranspose1d", (3, 4, 3), (2, 3, 6), {}),
    ("Linear", (4, 3), (2, 4), {"dim": 1}),
]
KINDS = ["weight_norm", "spectral_norm", "new weight_norm", "new spectral_norm"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "arguments", "shape", "options"), CASES)
def test_normalized_weights(kind, name, arguments, shape, options):
    theirs = apply(torch, kind, getattr(torch.nn, name)(*arguments), **options)
    ours = apply(tn, kind, getattr(nn, name)(*arguments), **options)
    assert state(ours) == state(theirs)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    ours.load_state_dict({k: tn.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for training in (True, False):
        ours.train(training)
        theirs.train(training)
        ours.zero_grad()
        theirs.zero_grad()
        a, b = ours(tn.tensor(x)), theirs(torch.tensor(x))
        close(a, b)
        a.square().sum().backward()
        b.square().sum().backward()
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            close(p.grad, q.grad, 2e-4)
    for key, value in theirs.state_dict().items():
        close(ours.state_dict()[key], value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
def test_removal(kind):
    layer = apply(tn, kind, nn.Linear(4, 3))
    layer.eval()
    x = tn.randn(2, 4)
    before = layer(x)
    getattr(nn.utils, f"remove_{kind}")(layer)
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    close(layer(x), before)
    with pytest.raises(ValueError):
        getattr(nn.utils, f"remove_{kind}")(layer)


def test_old_states_of_weight_norm_load():
    old = nn.utils.weight_norm(nn.Linear(4, 3))
    new = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    new.load_state_dict(old.state_dict())
    x = tn.randn(2, 4)
    close(new(x), old(x))


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T

    def right_inverse(self, x):
        return x.triu()


class Halved(nn.Module):
    def forward(self, x):
        return x / 2


def test_parametrizations():
    P = nn.utils.parametrize
    layer = P.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    assert P.is_parametrized(layer, "weight") and not P.is_parametrized(layer, "bias")
    assert type(layer).__name__ == "ParametrizedLinear"
    assert P.type_before_parametrizations(layer) is nn.Linear
    assert list(layer.state_dict()) == ["bias", "parametrizations.weight.original"]
    assert tn.equal(layer.weight, layer.weight.T)
    value = tn.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]])
    layer.weight = value
    assert tn.equal(layer.weight, value)
    layer(tn.ones(1, 3)).sum().backward()
    assert layer.parametrizations.weight.original.grad is not None
    P.register_parametrization(layer, "weight", Halved())
    assert tn.equal(layer.weight, value / 2)
    twin = copy.deepcopy(layer)
    assert tn.equal(twin.weight, layer.weight) and twin.weight is not layer.weight
    with P.cached():
        assert layer.weight is layer.weight
    assert layer.weight is not layer.weight
    P.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and tn.equal(layer.weight, value / 2)
    assert isinstance(layer.weight, nn.Parameter)
    optimizer = tn.optim.SGD(twin.parameters(), lr=0.1)
    twin(tn.ones(1, 3)).sum().backward()
    optimizer.step()
    assert tn.equal(twin.weight, twin.weight.T)


def test_bad_parametrizations():
    P = nn.utils.parametrize

    class Longer(nn.Module):
        def forward(self, x):
            return tn.cat([x, x])

    with pytest.raises(ValueError):
        P.register_parametrization(nn.Linear(3, 3), "weight", Longer())
    with pytest.raises(ValueError):
        P.register_parametrization(nn.Linear(3, 3), "scale", Halved())
    with pytest.raises(ValueError):
        P.remove_parametrizations(nn.Linear(3, 3), "weight")
    layer = P.register_parametrization(nn.Linear(3, 3), "weight", Halved())
    with pytest.raises(RuntimeError):
        layer.weight = tn.ones(3, 3)

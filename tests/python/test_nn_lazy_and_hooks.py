"""Lazy layers, hooks on gradients, initial values by matrices, names of modules."""

import copy
import warnings

import numpy as np
import pytest

import tenon as tn
from tenon import nn

torch = pytest.importorskip("torch")

LAZY = [
    ("LazyLinear", (3,), (2, 5)),
    ("LazyConv1d", (4, 3), (2, 3, 8)),
    ("LazyConv2d", (4, (3, 2), 2, 1), (2, 3, 8, 8)),
    ("LazyConv3d", (4, 3), (3, 8, 8, 8)),
    ("LazyConvTranspose1d", (4, 3), (2, 3, 8)),
    ("LazyConvTranspose2d", (4, 3, 2), (2, 3, 8, 8)),
    ("LazyConvTranspose3d", (4, 3), (2, 3, 4, 4, 4)),
]


@pytest.mark.parametrize(("name", "arguments", "shape"), LAZY)
def test_lazy_layers_take_their_sizes_from_the_first_input(name, arguments, shape):
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for package in (tn, torch):
            layer = getattr(package.nn, name)(*arguments)
            assert layer.has_uninitialized_params()
            output = layer(package.ones(*shape))
            assert type(layer) is getattr(package.nn, name.removeprefix("Lazy"))
            state = {k: tuple(v.shape) for k, v in layer.state_dict().items()}
            results.append((tuple(output.shape), state, repr(layer)))
    assert results[0] == results[1]
    assert all(p.requires_grad and p.abs().sum().item() > 0 for p in layer.parameters())


NORMS = [
    ("LazyBatchNorm1d", {}, (4, 3)),
    ("LazyBatchNorm1d", {"affine": False}, (4, 3, 5)),
    ("LazyBatchNorm2d", {"track_running_stats": False}, (4, 3, 5, 2)),
    ("LazyBatchNorm3d", {"momentum": None}, (4, 3, 5, 2, 2)),
    ("LazyInstanceNorm1d", {}, (4, 3, 5)),
    ("LazyInstanceNorm2d", {"affine": True}, (4, 3, 5, 2)),
    ("LazyInstanceNorm3d", {"affine": True, "track_running_stats": True}, (4, 3, 5, 2, 2)),
]


@pytest.mark.parametrize(("name", "options", "shape"), NORMS)
def test_lazy_norms(name, options, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for package in (tn, torch):
            layer = getattr(package.nn, name)(**options)
            output = layer(package.tensor(x))
            assert type(layer) is getattr(package.nn, name.removeprefix("Lazy"))
            state = {k: v.tolist() for k, v in layer.state_dict().items()}
            results.append((output.detach().numpy(), state, repr(layer)))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-4, atol=1e-5)
    assert results[0][1].keys() == results[1][1].keys() and results[0][2] == results[1][2]
    for key, value in results[0][1].items():
        np.testing.assert_allclose(value, results[1][1][key], rtol=1e-4, atol=1e-6)


def test_lazy_norms_take_their_sizes_from_a_state():
    layer, given = nn.LazyBatchNorm1d(), nn.BatchNorm1d(3)
    given(tn.randn(8, 3))
    layer.load_state_dict(given.state_dict())
    x = tn.randn(2, 3)
    assert tn.equal(layer.eval()(x), given.eval()(x))
    with pytest.raises(RuntimeError, match="uninitialized"):
        _ = nn.LazyBatchNorm2d().running_mean.shape


def test_lazy_layers_take_their_sizes_from_a_state():
    layer, given = nn.LazyLinear(3), nn.Linear(5, 3)
    layer.load_state_dict(given.state_dict())
    x = tn.randn(2, 5)
    assert tn.equal(layer(x), given(x))
    with pytest.raises(RuntimeError, match="uninitialized"):
        _ = nn.LazyLinear(3).weight.shape


def test_backward_hooks():
    seen = {package: [] for package in (tn, torch)}
    grads = []
    for package in (tn, torch):
        model = package.nn.Sequential(
            package.nn.Linear(3, 4), package.nn.Tanh(), package.nn.Linear(4, 2)
        )
        with package.no_grad():
            for k, p in enumerate(model.parameters()):
                p.copy_(package.linspace(-1, 1 + k, p.numel()).reshape(p.shape))

        def record(module, *gradients, package=package):
            shapes = [[None if g is None else tuple(g.shape) for g in each] for each in gradients]
            seen[package].append((type(module).__name__, shapes))

        def double(module, grad_input, grad_output):
            return (grad_input[0] * 2,)

        model[0].register_full_backward_hook(record)
        handle = model[1].register_full_backward_hook(record)
        model[2].register_full_backward_hook(double)
        model[2].register_full_backward_pre_hook(lambda module, g: (g[0] * 3,))
        model[2].register_full_backward_pre_hook(record)
        x = package.ones(5, 3, requires_grad=True)
        model(x).square().sum().backward()
        handle.remove()
        model(x).square().sum().backward()
        model[0](package.ones(5, 3)).sum().backward()  # no input requires a gradient
        grads.append([x.grad.numpy(), *(p.grad.numpy() for p in model.parameters())])
    assert seen[tn][:-1] == seen[torch][:-1]
    assert seen[tn][-1][0] == seen[torch][-1][0] == "Linear"
    for found, expected in zip(*grads, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_compiled_and_emptied_modules():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    x = tn.randn(2, 3)
    expected = model(x)
    model.compile()
    assert tn.equal(model(x), expected)
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    emptied = copy.deepcopy(nn.Linear(3, 4)).to_empty(device="cpu")
    assert emptied.weight.shape == (4, 3) and emptied.weight.requires_grad


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (6, 2, 3), (1, 7), (40, 30)])
def test_orthogonal(shape):
    tn.manual_seed(0)
    w = nn.init.orthogonal_(tn.empty(shape, dtype=tn.float64), gain=2.0).reshape(shape[0], -1)
    product = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(product.numpy(), 4 * np.eye(product.shape[0]), atol=1e-12)


def test_orthogonal_is_uniform():
    """The first element of Haar's matrices is distributed like its negative, with variance 1/n."""
    tn.manual_seed(0)
    first = np.array([nn.init.orthogonal_(tn.empty(4, 4))[0, 0].item() for _ in range(400)])
    assert abs(first.mean()) < 0.1 and abs((first**2).mean() - 0.25) < 0.05


def test_dirac_and_sparse():
    for shape, groups in (((4, 2, 3), 1), ((4, 2, 3, 3), 2), ((6, 2, 3, 2, 3), 3)):
        found = nn.init.dirac_(tn.empty(shape), groups)
        expected = torch.nn.init.dirac_(torch.empty(shape), groups)
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
    tn.manual_seed(0)
    w = nn.init.sparse_(tn.empty(50, 40), 0.35, std=2.0)
    assert ((w == 0).sum(0) == 18).all().item()
    assert abs(w[w != 0].std().item() - 2) < 0.2


def test_old_names_of_initializers_warn():
    with pytest.warns(FutureWarning, match="xavier_uniform_"):
        nn.init.xavier_uniform(tn.empty(2, 2))
    for name in ("normal", "constant", "kaiming_normal", "orthogonal", "uniform"):
        assert callable(getattr(nn.init, name))


def test_modules_stand_where_pytorchs_do():
    from tenon.nn import modules
    from tenon.nn.modules.batchnorm import _BatchNorm
    from tenon.nn.modules.conv import _ConvNd
    from tenon.nn.modules.loss import _Loss, _WeightedLoss
    from tenon.nn.modules.utils import _pair

    assert isinstance(nn.BatchNorm2d(3), _BatchNorm)
    assert isinstance(nn.ConvTranspose1d(1, 1, 1), _ConvNd)
    assert isinstance(nn.MSELoss(), _Loss) and not isinstance(nn.MSELoss(), _WeightedLoss)
    assert isinstance(nn.NLLLoss(), _WeightedLoss)
    assert modules.Linear is nn.Linear and _pair(3) == (3, 3)
    for name in modules.__all__:
        module, theirs = getattr(modules, name), getattr(torch.nn.modules, name)
        for each in getattr(module, "__all__", ()):
            assert hasattr(theirs, each), (name, each)


def test_attention_backends_are_taken():
    from tenon.nn.attention import SDPBackend, sdpa_kernel

    q = tn.randn(1, 2, 3, 4)
    expected = nn.functional.scaled_dot_product_attention(q, q, q)
    for backends in (SDPBackend.MATH, [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
        with sdpa_kernel(backends):
            assert tn.equal(nn.functional.scaled_dot_product_attention(q, q, q), expected)
    with pytest.raises(AssertionError), sdpa_kernel(["math"]):
        pass

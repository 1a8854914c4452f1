"""LBFGS, cyclic rates, averages of weights, padded sequences, against PyTorch's."""

import numpy as np
import pytest

import tenon as tn
from tenon import nn

torch = pytest.importorskip("torch")
PACKAGES = (tn, torch)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("lr", [1, 0.3])
def test_lbfgs(search, lr):
    results = []
    for package in PACKAGES:
        p = package.nn.Parameter(package.tensor([-1.2, 1.0, 0.5], dtype=package.float64))
        optimizer = package.optim.LBFGS([p], lr=lr, max_iter=8, line_search_fn=search)

        def closure(package=package, p=p, optimizer=optimizer):
            optimizer.zero_grad()
            if search is None:
                scale = package.tensor([1.0, 10.0, 3.0], dtype=package.float64)
                loss = ((p - 3) ** 2 * scale).sum()
            else:  # Rosenbrock's function
                loss = (100 * (p[1:] - p[:-1] ** 2) ** 2 + (1 - p[:-1]) ** 2).sum()
            loss.backward()
            return loss

        losses = [optimizer.step(closure).item() for _ in range(6)]
        results.append((losses, p.detach().numpy().copy()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5)


def test_lbfgs_refuses():
    p, q = nn.Parameter(tn.ones(2)), nn.Parameter(tn.ones(2))
    with pytest.raises(ValueError):
        tn.optim.LBFGS([{"params": [p]}, {"params": [q]}])
    with pytest.raises(ValueError):
        tn.optim.LBFGS([p], lr=-1)
    with pytest.raises(TypeError):
        tn.optim.LBFGS([p]).step()


CYCLES = [
    {"mode": "triangular"},
    {"mode": "triangular2"},
    {"mode": "exp_range", "gamma": 0.9},
    {"scale_fn": lambda x: 1 / x, "scale_mode": "cycle"},
]


@pytest.mark.parametrize("options", CYCLES)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_cyclic_rates(options, kind):
    results = []
    for package in PACKAGES:
        given = {"momentum": 0.9} if kind == "SGD" else {}
        optimizer = getattr(package.optim, kind)(
            [package.nn.Parameter(package.zeros(1))], lr=1.0, **given
        )
        schedule = package.optim.lr_scheduler.CyclicLR(
            optimizer, 0.1, 1.0, step_size_up=3, step_size_down=4, **options
        )
        rates = []
        for _ in range(20):
            optimizer.step()
            schedule.step()
            group = optimizer.param_groups[0]
            rates.append((group["lr"], group["momentum"] if given else group["betas"][0]))
        results.append(rates)
    np.testing.assert_allclose(*results)


def swa(package):
    return tn.optim.swa_utils if package is tn else torch.optim.swa_utils


@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_rates_towards_an_average(strategy):
    results = []
    for package in PACKAGES:
        optimizer = package.optim.SGD([package.nn.Parameter(package.zeros(1))], lr=1.0)
        schedule = swa(package).SWALR(optimizer, 0.3, 5, strategy)
        rates = []
        for _ in range(8):
            optimizer.step()
            schedule.step()
            rates.append(optimizer.param_groups[0]["lr"])
        results.append(rates)
    np.testing.assert_allclose(*results)


@pytest.mark.parametrize("kind", ["mean", "ema", "ema of lists"])
def test_averaged_models(kind):
    results = []
    for package in PACKAGES:
        utils = swa(package)
        options = {
            "mean": {},
            "ema": {"avg_fn": utils.get_ema_avg_fn(0.9)},
            "ema of lists": {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.9), "use_buffers": True},
        }[kind]
        model = package.nn.Sequential(package.nn.Linear(2, 3), package.nn.BatchNorm1d(3))
        averaged = utils.AveragedModel(model, **options)
        for step in range(4):
            with package.no_grad():
                for k, x in enumerate([*model.parameters(), *model.buffers()]):
                    x.copy_(package.ones(x.shape) * (step**2 + k))
            averaged.update_parameters(model)
        state = averaged.state_dict()
        results.append({name: value.numpy() for name, value in state.items()})
    assert results[0].keys() == results[1].keys()
    for name, expected in results[1].items():
        np.testing.assert_allclose(results[0][name], expected, rtol=1e-6, err_msg=name)


def test_statistics_of_an_averaged_model():
    batches = [np.random.default_rng(k).standard_normal((4, 3)).astype(np.float32) for k in (0, 1)]
    results = []
    for package in PACKAGES:
        model = package.nn.Sequential(package.nn.BatchNorm1d(3))
        model.eval()
        swa(package).update_bn([(package.tensor(b), 0) for b in batches], model)
        assert not model.training and model[0].momentum == 0.1
        results.append([b.numpy() for b in model.buffers()])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("side", ["right", "left"])
def test_padded_sequences(batch_first, side):
    results = []
    for package in PACKAGES:
        rnn = package.nn.utils.rnn
        parts = [package.arange(2.0 * n).reshape(n, 2) for n in (2, 4, 1)]
        padded = rnn.pad_sequence(parts, batch_first, -1.0, side)
        results.append(padded.tolist())
        if side == "right":
            back = rnn.unpad_sequence(padded, package.tensor([2, 4, 1]), batch_first)
            assert [x.tolist() for x in back] == [x.tolist() for x in parts]
    assert results[0] == results[1]
    with pytest.raises(ValueError):
        nn.utils.rnn.pad_sequence([tn.ones(2)], padding_side="top")


def test_sparse_adam():
    """PyTorch's on an embedding's sparse gradients."""
    start = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    results = []
    for package in PACKAGES:
        table = package.nn.Embedding(6, 3, sparse=package is torch)
        with package.no_grad():
            table.weight.copy_(package.tensor(start))
        optimizer = package.optim.SparseAdam(table.parameters(), lr=0.1)
        for index in ([0, 2, 2], [1, 2], [0, 5]):
            optimizer.zero_grad()
            table(package.tensor(index)).square().sum().backward()
            optimizer.step()
        results.append(table.weight.detach().numpy().copy())
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)


def test_embeddings_of_bounded_norm():
    start = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    index = np.array([[0, 2], [2, 5]])
    for norm_type in (2.0, 1.0):
        results = []
        for package in PACKAGES:
            for name in ("Embedding", "EmbeddingBag"):
                layer = getattr(package.nn, name)(6, 3, max_norm=1.0, norm_type=norm_type)
                with package.no_grad():
                    layer.weight.copy_(package.tensor(start))
                output = layer(package.tensor(index))
                output.square().sum().backward()
                results += [x.detach().numpy() for x in (output, layer.weight, layer.weight.grad)]
        half = len(results) // 2
        for found, expected in zip(results[:half], results[half:], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_fractional_pools():
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 6, 5)).astype(np.float32)
    samples = np.random.default_rng(1).uniform(0.05, 0.95, (2, 3, 3)).astype(np.float32)
    for n in (2, 3):
        results = []
        for package in PACKAGES:
            layer = getattr(package.nn, f"FractionalMaxPool{n}d")(
                2,
                output_size=3,
                return_indices=True,
                _random_samples=package.tensor(samples[..., :n]),
            )
            given = package.tensor(x if n == 3 else x[..., 0], requires_grad=True)
            values, indices = layer(given)
            values.square().sum().backward()
            results.append([values.detach().numpy(), indices.numpy(), given.grad.numpy()])
        for found, expected in zip(*results, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    tn.manual_seed(0)
    assert nn.FractionalMaxPool2d(2, output_ratio=0.5)(tn.randn(1, 2, 8, 8)).shape == (1, 2, 4, 4)
    with pytest.raises(ValueError):
        nn.FractionalMaxPool2d(2)

"""LSTM, GRU, RNN and their cells against PyTorch's: text, state, values, gradients."""

import warnings

import numpy as np
import pytest

import tenon as tn
from tenon import nn
from tests.python.counting import made

torch = pytest.importorskip("torch")

LAYERS = [
    ("LSTM", {}),
    ("LSTM", {"num_layers": 2, "bias": False}),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": 2}),
    ("GRU", {"num_layers": 3}),
    ("GRU", {"bidirectional": True, "bias": False, "batch_first": True}),
    ("RNN", {"num_layers": 2}),
    ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
]


def pair(name, *args, **kwargs):
    ours = getattr(nn, name)(*args, **kwargs)
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    assert repr(ours) == repr(theirs)
    state = {k: v.numpy().copy() for k, v in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict({k: tn.tensor(v) for k, v in state.items()})
    return ours, theirs


def flat(output):
    out, state = output
    return [out, *state] if isinstance(state, tuple) else [out, state]


def close(a, b, tolerance=2e-5):
    np.testing.assert_allclose(
        a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize(("name", "options"), LAYERS)
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("batched", [True, False])
def test_layers(name, options, given, batched):
    ours, theirs = pair(name, 4, 5, **options)
    random = np.random.default_rng(0)
    shape = (7, 4) if not batched else (3, 7, 4) if options.get("batch_first") else (7, 3, 4)
    x = random.standard_normal(shape).astype(np.float32)
    directions = 2 if options.get("bidirectional") else 1
    places = options.get("num_layers", 1) * directions
    sizes = [options.get("proj_size") or 5] + ([5] if name == "LSTM" else [])
    states = [
        random.standard_normal((places, 3, n) if batched else (places, n)).astype(np.float32)
        for n in sizes
    ]
    results = []
    for module, make in ((ours, tn.tensor), (theirs, torch.tensor)):
        inputs = make(x).requires_grad_()
        hx = [make(s).requires_grad_() for s in states]
        state = (tuple(hx) if name == "LSTM" else hx[0],) if given else ()
        outputs = flat(module(inputs, *state))
        sum((o * o).sum() * (k + 1) for k, o in enumerate(outputs)).backward()
        gradients = [p.grad for p in module.parameters()] + [inputs.grad]
        results.append(outputs + gradients + ([s.grad for s in hx] if given else []))
    for a, b in zip(*results, strict=True):
        assert tuple(a.shape) == tuple(b.shape)
        close(a, b)


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "RNNCell"])
@pytest.mark.parametrize("bias", [True, False])
def test_cells(name, bias):
    ours, theirs = pair(name, 4, 5, bias)
    random = np.random.default_rng(1)
    for shape in ((3, 4), (4,)):
        x = random.standard_normal(shape).astype(np.float32)
        h = random.standard_normal((*shape[:-1], 5)).astype(np.float32)
        for given in (False, True):
            results = []
            for module, make in ((ours, tn.tensor), (theirs, torch.tensor)):
                module.zero_grad()
                state = (make(h), make(h * 2)) if name == "LSTMCell" else make(h)
                output = module(make(x), *([state] if given else []))
                output = list(output) if isinstance(output, tuple) else [output]
                sum((o * o).sum() for o in output).backward()
                results.append(output + [p.grad for p in module.parameters()])
            for a, b in zip(*results, strict=True):
                close(a, b)


def test_dropout_between_layers():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = nn.LSTM(4, 5, num_layers=2, dropout=0.5)
    x = tn.randn(6, 3, 4)
    assert (layer(x)[0] != layer(x)[0]).any()
    layer.eval()
    assert (layer(x)[0] == layer(x)[0]).all()
    with pytest.warns(UserWarning, match="num_layers=1"):
        nn.LSTM(4, 5, dropout=0.5)


def test_a_longer_sequence_compiles_nothing():
    layer = nn.LSTM(4, 5)

    def step(length, batch):
        layer.zero_grad()
        layer(tn.ones(length, batch, 4))[0].sum().backward()
        return layer.weight_hh_l0.grad.sum().item()

    step(5, 3)
    step(6, 3)
    counts = made(lambda: [step(n, b) for n, b in ((3, 3), (8, 4), (64, 2))])
    assert counts["plans"] == 0 and counts["compiled"] == 0, counts


def test_errors():
    layer = nn.LSTM(4, 5)
    with pytest.raises(ValueError, match="2D or 3D"):
        layer(tn.ones(4))
    with pytest.raises(RuntimeError, match="must be equal to input_size"):
        layer(tn.ones(2, 3, 5))
    with pytest.raises(RuntimeError, match="Expected hidden size"):
        layer(tn.ones(2, 3, 4), (tn.ones(1, 2, 5), tn.ones(1, 3, 5)))
    with pytest.raises(RuntimeError, match="should also be 3-D"):
        layer(tn.ones(2, 3, 4), (tn.ones(1, 5), tn.ones(1, 5)))
    with pytest.raises(ValueError, match="greater than zero"):
        nn.GRU(4, 0)
    with pytest.raises(ValueError, match="Unknown nonlinearity"):
        nn.RNN(4, 5, nonlinearity="sine")
    with pytest.raises(ValueError, match="only supported for LSTM"):
        nn.GRU(4, 5, proj_size=2)
    with pytest.raises(RuntimeError, match="larger than 0"):
        layer(tn.ones(0, 3, 4))

"""Layers of spec/layers.toml against PyTorch's: text, state, values, gradients."""

import numpy as np
import pytest

import tenon
import tenon as tn
from tenon import nn
from tenon.nn import _layers

torch = pytest.importorskip("torch")

FLOAT, INDEX, SIGN = "float", "index", "sign"  # kinds of inputs

# name, constructor's arguments, inputs: (kind, shape) or (kind, shape, below)
CASES = [
    ("Identity", (54, "unused"), [(FLOAT, (2, 3))]),
    ("Linear", (4, 3), [(FLOAT, (2, 4))]),
    ("Linear", (4, 3, False), [(FLOAT, (5, 2, 4))]),
    ("Flatten", (), [(FLOAT, (2, 3, 4))]),
    ("Unflatten", (1, (2, 3)), [(FLOAT, (4, 6))]),
    ("Embedding", (10, 3), [(INDEX, (2, 4), 10)]),
    ("Embedding", (10, 3, 2), [(INDEX, (7,), 10)]),
    ("Conv1d", (3, 4, 3), [(FLOAT, (2, 3, 7))]),
    ("Conv1d", (4, 6, 3, 2, 1, 2, 2, False), [(FLOAT, (4, 9))]),
    ("Conv2d", (3, 4, (3, 2), 2, (1, 0)), [(FLOAT, (2, 3, 7, 6))]),
    ("Conv2d", (3, 4, 3, 1, "same", 2), [(FLOAT, (2, 3, 7, 6))]),
    ("Conv2d", (3, 4, 4, 1, 2, 1, 1, True, "reflect"), [(FLOAT, (2, 3, 7, 6))]),
    ("Conv2d", (3, 4, 4, 1, "same", 1, 1, True, "circular"), [(FLOAT, (2, 3, 7, 6))]),
    ("Conv3d", (2, 3, 2), [(FLOAT, (2, 2, 4, 3, 5))]),
    ("ConvTranspose1d", (3, 4, 3, 2, 1, 1), [(FLOAT, (2, 3, 7))]),
    ("ConvTranspose2d", (4, 6, 3, 2, 0, 0, 2, False, 2), [(FLOAT, (2, 4, 3, 5))]),
    ("ConvTranspose3d", (2, 3, 2), [(FLOAT, (2, 2, 4, 3, 5))]),
    ("MaxPool1d", (2,), [(FLOAT, (2, 3, 7))]),
    ("MaxPool2d", (3, 2, 1), [(FLOAT, (2, 3, 7, 6))]),
    ("MaxPool2d", ((2, 3), None, 0, 1, False, True), [(FLOAT, (2, 3, 7, 8))]),
    ("MaxPool3d", (2, 1), [(FLOAT, (2, 3, 4, 5, 3))]),
    ("AvgPool1d", (2,), [(FLOAT, (2, 3, 7))]),
    ("AvgPool2d", (3, 2, 1, True, False), [(FLOAT, (2, 3, 7, 6))]),
    ("AvgPool3d", ((2, 1, 3),), [(FLOAT, (2, 4, 5, 3))]),
    ("AdaptiveAvgPool1d", (3,), [(FLOAT, (2, 3, 7))]),
    ("AdaptiveAvgPool2d", (1,), [(FLOAT, (2, 3, 7, 6))]),
    ("AdaptiveAvgPool3d", ((2, 3, 1),), [(FLOAT, (2, 3, 4, 5, 3))]),
    ("AdaptiveMaxPool1d", (3,), [(FLOAT, (2, 3, 7))]),
    ("AdaptiveMaxPool2d", ((2, 3),), [(FLOAT, (2, 3, 7, 6))]),
    ("AdaptiveMaxPool3d", (1,), [(FLOAT, (2, 3, 4, 5, 3))]),
    ("BatchNorm1d", (4,), [(FLOAT, (5, 4))]),
    ("BatchNorm1d", (4, 1e-3, None), [(FLOAT, (3, 4, 2))]),
    ("BatchNorm2d", (4,), [(FLOAT, (3, 4, 2, 5))]),
    ("BatchNorm2d", (4, 1e-5, 0.1, False, False), [(FLOAT, (3, 4, 2, 5))]),
    ("BatchNorm3d", (4, 1e-5, 0.1, False), [(FLOAT, (3, 4, 2, 3, 2))]),
    ("GroupNorm", (2, 6), [(FLOAT, (3, 6, 2, 5))]),
    ("GroupNorm", (3, 6, 1e-3, False), [(FLOAT, (3, 6))]),
    ("InstanceNorm1d", (4,), [(FLOAT, (4, 5))]),
    ("InstanceNorm2d", (4, 1e-5, 0.1, True, True), [(FLOAT, (3, 4, 2, 5))]),
    ("InstanceNorm3d", (4,), [(FLOAT, (3, 4, 2, 3, 2))]),
    ("LayerNorm", (4,), [(FLOAT, (3, 4))]),
    ("LayerNorm", ((3, 4), 1e-3), [(FLOAT, (2, 3, 4))]),
    ("LayerNorm", (4, 1e-5, False), [(FLOAT, (3, 4))]),
    ("LayerNorm", (4, 1e-5, True, False), [(FLOAT, (3, 4))]),
    ("RMSNorm", (4,), [(FLOAT, (3, 4))]),
    ("RMSNorm", ((3, 4), 1e-3, False), [(FLOAT, (2, 3, 4))]),
    ("Dropout", (0.0,), [(FLOAT, (3, 4))]),
    ("ReLU", (), [(FLOAT, (3, 4))]),
    ("ReLU", (True,), [(FLOAT, (3, 4))]),
    ("ReLU6", (), [(FLOAT, (3, 4))]),
    ("LeakyReLU", (0.2,), [(FLOAT, (3, 4))]),
    ("ELU", (0.5,), [(FLOAT, (3, 4))]),
    ("ELU", (0.5, True), [(FLOAT, (3, 4))]),
    ("SELU", (), [(FLOAT, (3, 4))]),
    ("CELU", (0.7,), [(FLOAT, (3, 4))]),
    ("GELU", (), [(FLOAT, (3, 4))]),
    ("GELU", ("tanh",), [(FLOAT, (3, 4))]),
    ("SiLU", (), [(FLOAT, (3, 4))]),
    ("Mish", (), [(FLOAT, (3, 4))]),
    ("Hardtanh", (-0.5, 0.7), [(FLOAT, (3, 4))]),
    ("Hardsigmoid", (), [(FLOAT, (3, 4))]),
    ("Hardswish", (), [(FLOAT, (3, 4))]),
    ("Sigmoid", (), [(FLOAT, (3, 4))]),
    ("Tanh", (), [(FLOAT, (3, 4))]),
    ("LogSigmoid", (), [(FLOAT, (3, 4))]),
    ("Softplus", (2.0, 1.0), [(FLOAT, (3, 4))]),
    ("Softsign", (), [(FLOAT, (3, 4))]),
    ("Tanhshrink", (), [(FLOAT, (3, 4))]),
    ("Softmax", (1,), [(FLOAT, (3, 4))]),
    ("LogSoftmax", (0,), [(FLOAT, (3, 4))]),
    ("Softmin", (1,), [(FLOAT, (3, 4))]),
    ("GLU", (), [(FLOAT, (3, 4))]),
    ("CosineSimilarity", (), [(FLOAT, (3, 4)), (FLOAT, (3, 4))]),
    ("CrossEntropyLoss", (), [(FLOAT, (5, 3)), (INDEX, (5,), 3)]),
    ("CrossEntropyLoss", (None, None, 1, None, "sum", 0.1), [(FLOAT, (5, 3)), (INDEX, (5,), 3)]),
    ("CrossEntropyLoss", (None, False), [(FLOAT, (5, 3)), (INDEX, (5,), 3)]),
    ("NLLLoss", (), [(FLOAT, (5, 3)), (INDEX, (5,), 3)]),
    ("MSELoss", (), [(FLOAT, (5, 3)), (FLOAT, (5, 3))]),
    ("MSELoss", (None, None, "none"), [(FLOAT, (5, 3)), (FLOAT, (5, 3))]),
    ("L1Loss", (), [(FLOAT, (5, 3)), (FLOAT, (5, 3))]),
    ("SmoothL1Loss", (None, None, "mean", 0.5), [(FLOAT, (5, 3)), (FLOAT, (5, 3))]),
    ("HuberLoss", ("sum", 0.5), [(FLOAT, (5, 3)), (FLOAT, (5, 3))]),
    ("BCEWithLogitsLoss", (), [(FLOAT, (5, 3)), ("unit", (5, 3))]),
    ("BCELoss", (), [("unit", (5, 3)), ("unit", (5, 3))]),
    ("KLDivLoss", (None, None, "batchmean"), [(FLOAT, (5, 3)), ("unit", (5, 3))]),
    ("Dropout1d", (0.0,), [(FLOAT, (2, 3, 4))]),
    ("Dropout2d", (0.0, True), [(FLOAT, (2, 3, 4, 2))]),
    ("Dropout3d", (0.0,), [(FLOAT, (2, 3, 4, 2, 2))]),
    ("AlphaDropout", (0.0,), [(FLOAT, (2, 3))]),
    ("FeatureAlphaDropout", (0.0,), [(FLOAT, (2, 3))]),
    ("PReLU", (), [(FLOAT, (3, 4))]),
    ("PReLU", (3, 0.1), [(FLOAT, (2, 3, 4))]),
    ("RReLU", (0.3, 0.3, True), [(FLOAT, (3, 4))]),
    ("Threshold", (0.1, 20.0), [(FLOAT, (3, 4))]),
    ("Hardshrink", (0.3,), [(FLOAT, (3, 4))]),
    ("Softshrink", (0.3,), [(FLOAT, (3, 4))]),
    ("PairwiseDistance", (3.0,), [(FLOAT, (3, 4)), (FLOAT, (3, 4))]),
    ("LocalResponseNorm", (3, 0.1, 0.5, 2.0), [(FLOAT, (2, 5, 3))]),
    ("LPPool1d", (2, 3, 2), [("unit", (2, 3, 7))]),
    ("LPPool2d", (1.5, (2, 3)), [("unit", (2, 3, 6, 7))]),
    ("LPPool3d", (2, 2), [("unit", (2, 4, 4, 4))]),
    *(
        (
            f"{kind}Pad{n}d",
            (1, 0.5) if kind == "Constant" else (1,),
            [(FLOAT, (1, 2, 4, 3, 5)[: n + 2])],
        )
        for kind in ("Constant", "Zero", "Reflection", "Replication", "Circular")
        for n in (1, 2, 3)
    ),
    ("ConstantPad2d", ((1, 2, -1, 0), 0.5), [(FLOAT, (2, 3, 4))]),
    ("PixelShuffle", (2,), [(FLOAT, (2, 8, 3, 4))]),
    ("PixelUnshuffle", (2,), [(FLOAT, (2, 2, 4, 6))]),
    ("ChannelShuffle", (2,), [(FLOAT, (2, 6, 4))]),
    ("Unfold", ((2, 3), 1, 1, 2), [(FLOAT, (2, 3, 5, 6))]),
    ("Fold", ((4, 5), 2), [(FLOAT, (2, 12, 12))]),
    ("CosineEmbeddingLoss", (0.2,), [(FLOAT, (5, 3)), (FLOAT, (5, 3)), (SIGN, (5,))]),
    ("MarginRankingLoss", (0.2,), [(FLOAT, (5,)), (FLOAT, (5,)), (SIGN, (5,))]),
    ("HingeEmbeddingLoss", (0.7,), [(FLOAT, (5,)), (SIGN, (5,))]),
    ("SoftMarginLoss", (None, None, "sum"), [(FLOAT, (5,)), (SIGN, (5,))]),
    ("MultiLabelSoftMarginLoss", (), [(FLOAT, (5, 3)), ("unit", (5, 3))]),
    ("MultiLabelMarginLoss", (), [(FLOAT, (5, 3)), (INDEX, (5, 3), 3)]),
    ("MultiMarginLoss", (2, 0.5), [(FLOAT, (5, 3)), (INDEX, (5,), 3)]),
    ("TripletMarginLoss", (1.0, 2.0, 1e-6, True), [(FLOAT, (5, 3))] * 3),
    ("GaussianNLLLoss", (), [(FLOAT, (5, 3)), (FLOAT, (5, 3)), ("unit", (5, 3))]),
    ("PoissonNLLLoss", (False, True), [("unit", (5, 3)), ("unit", (5, 3))]),
]


def make_inputs(kinds, rng):
    arrays = []
    for kind, shape, *below in kinds:
        if kind == INDEX:
            arrays.append(rng.integers(0, below[0], shape))
        elif kind == SIGN:
            arrays.append(rng.integers(0, 2, shape) * 2 - 1)
        elif kind == "unit":
            arrays.append(rng.uniform(0.05, 0.95, shape).astype(np.float32))
        else:
            arrays.append(rng.standard_normal(shape).astype(np.float32))
    return arrays


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}{c[1]}")
def test_layer_agrees_with_pytorch(case):
    name, arguments, kinds = case
    rng = np.random.default_rng(len(name))
    theirs, ours = getattr(torch.nn, name)(*arguments), getattr(nn, name)(*arguments)
    assert repr(ours) == repr(theirs)
    expected_state = {k: tuple(v.shape) for k, v in theirs.state_dict().items()}
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == expected_state
    ours.load_state_dict(
        {k: tn.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    )

    arrays = make_inputs(kinds, rng)
    is_leaf = [a.dtype == np.float32 for a in arrays]
    inplace = getattr(ours, "inplace", False)

    def run(package, layer):
        xs = [package.tensor(a) for a in arrays]
        for x, leaf in zip(xs, is_leaf, strict=True):
            x.requires_grad_(leaf)
        y = layer(*[x * 1 if inplace else x for x in xs])
        if any(is_leaf) or list(layer.parameters()):
            # Weighed: the squares of a normalized row sum to a constant, whose gradient is noise.
            weights = np.linspace(0.5, 1.5, y.numel(), dtype=np.float32).reshape(tuple(y.shape))
            (y.square() * package.tensor(weights)).sum().backward()
        grads = [x.grad for x, leaf in zip(xs, is_leaf, strict=True) if leaf]
        grads += [p.grad for p in layer.parameters()]
        return [v.detach().numpy() for v in [y, *grads]]

    for expected, found in zip(run(torch, theirs), run(tenon, ours), strict=True):
        assert found.shape == expected.shape
        # A convolution's gradient sums products that cancel: compare with the largest.
        largest = np.abs(expected).max() if "Conv" in name else 1
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6 * max(1, largest))


def test_every_layer_has_a_case():
    assert set(_layers.__all__) == {name for name, *_ in CASES}


def test_dtype_of_parameters():
    layer = nn.Linear(2, 3, dtype=tn.float64)
    assert layer.weight.dtype == layer.bias.dtype == tn.float64
    assert layer(tn.ones(1, 2, dtype=tn.float64)).dtype == tn.float64


def test_initial_values_are_distributed_as_pytorchs():
    tn.manual_seed(3)
    for make in (lambda p: p.nn.Linear(300, 200), lambda p: p.nn.Embedding(300, 200)):
        ours, theirs = make(tenon), make(torch)
        for (name, a), (_, b) in zip(
            ours.named_parameters(), theirs.named_parameters(), strict=True
        ):
            a, b = a.detach().numpy().ravel(), b.detach().numpy().ravel()
            assert abs(a.mean() - b.mean()) < 6 * b.std() / np.sqrt(b.size), name
            assert abs(a.std() / b.std() - 1) < 6 / np.sqrt(b.size), name
            assert a.std() > 0 and len(np.unique(a)) > 0.9 * min(a.size, 2**20)


INITIALIZERS = [
    ("uniform_", (-2.0, 3.0)),
    ("normal_", (1.0, 2.0)),
    ("trunc_normal_", (0.0, 1.0, -0.5, 2.0)),
    ("xavier_uniform_", (2.0,)),
    ("xavier_normal_", ()),
    ("kaiming_uniform_", (0.5, "fan_out")),
    ("kaiming_normal_", (0.0, "fan_in", "relu")),
    ("constant_", (2.5,)),
    ("zeros_", ()),
    ("ones_", ()),
    ("eye_", ()),
]


@pytest.mark.parametrize("name, arguments", INITIALIZERS)
def test_initializers_follow_pytorchs_distribution(name, arguments):
    from scipy.stats import ks_2samp

    torch.manual_seed(0)
    tn.manual_seed(0)
    ours, theirs = tn.empty(150, 200), torch.empty(150, 200)
    assert getattr(nn.init, name)(ours, *arguments) is ours
    getattr(torch.nn.init, name)(theirs, *arguments)
    a, b = ours.numpy().ravel(), theirs.numpy().ravel()
    assert ks_2samp(a, b).pvalue > 1e-4
    assert not ours.requires_grad


def test_gains_and_fans():
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert nn.init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert nn.init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain(
        "leaky_relu", 0.3
    )
    assert nn.init._calculate_fan_in_and_fan_out(tn.empty(2, 3, 5, 7)) == (105, 70)
    with pytest.raises(ValueError):
        nn.init.calculate_gain("swish")
    with pytest.raises(ValueError):
        nn.init.xavier_uniform_(tn.empty(3))


def test_initial_values_leave_a_parameter_a_leaf():
    p = nn.Parameter(tn.empty(2, 2))
    nn.init.kaiming_uniform_(p)
    assert p.is_leaf and p.requires_grad and p.grad is None


def test_loss_weights_are_buffers():
    weight = np.array([0.2, 1.0, 3.0], dtype=np.float32)
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    y = np.array([0, 1, 2, 2, 1, 0])
    ours = nn.CrossEntropyLoss(weight=tn.tensor(weight))
    theirs = torch.nn.CrossEntropyLoss(weight=torch.tensor(weight))
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["weight"]
    found = ours(tn.tensor(x), tn.tensor(y)).item()
    assert found == pytest.approx(theirs(torch.tensor(x), torch.tensor(y)).item(), rel=1e-6)


def test_from_pretrained():
    table = nn.Embedding.from_pretrained(tn.arange(6.0).reshape(3, 2))
    assert table(tn.tensor([2])).tolist() == [[4, 5]]
    assert not table.weight.requires_grad


def test_bad_options():
    with pytest.raises(ValueError, match="between 0 and 1"):
        nn.Dropout(-0.1)
    with pytest.raises(TypeError):
        nn.Linear(3)
    with pytest.raises(RuntimeError):
        nn.Linear(3, 4)(tn.ones(2, 5))
    with pytest.raises(IndexError):
        nn.Embedding(3, 2)(tn.tensor([3])).tolist()


def test_functionals_in_place():
    for name, arguments in (
        ("relu", ()),
        ("leaky_relu", (0.2,)),
        ("silu", ()),
        ("dropout", (0.0,)),
    ):
        x = tn.tensor([-1.0, 2.0])
        expected = getattr(nn.functional, name)(x, *arguments)
        assert getattr(nn.functional, name)(x, *arguments, inplace=True) is x
        assert x.tolist() == expected.tolist()

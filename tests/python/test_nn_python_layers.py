"""Layers and functionals that are written in Python, against PyTorch's."""

import numpy as np
import pytest

import tenon as tn
import tenon.nn.functional as F
from tenon import nn

torch = pytest.importorskip("torch")
TF = torch.nn.functional


def arrays(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def close(found, expected, tolerance=2e-5):
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_allclose(
        found.detach().numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance
    )


def twins(name, *args, **kwargs):
    theirs, ours = getattr(torch.nn, name)(*args, **kwargs), getattr(nn, name)(*args, **kwargs)
    ours.load_state_dict(
        {k: tn.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    )
    assert repr(ours) == repr(theirs)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    return ours, theirs


def same_gradients(ours, theirs, tolerance=5e-5):
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            close(p.grad, q.grad, tolerance)


ATTENTION = [
    ({}, {}),
    ({"bias": False}, {"need_weights": False}),
    ({"kdim": 5, "vdim": 3}, {}),
    ({"add_bias_kv": True, "add_zero_attn": True}, {"average_attn_weights": False}),
    ({"add_zero_attn": True}, {"need_weights": False}),
]


@pytest.mark.parametrize("masks", [(), ("padding",), ("attention",), ("padding", "attention")])
@pytest.mark.parametrize(("options", "call"), ATTENTION)
def test_multi_head_attention(options, call, masks):
    ours, theirs = twins("MultiheadAttention", 8, 2, **options)
    q, k, v = arrays((4, 3, 8), (6, 3, options.get("kdim", 8)), (6, 3, options.get("vdim", 8)))
    given = {}
    if "padding" in masks:
        given["key_padding_mask"] = np.array(
            [[False] * 5 + [True], [False] * 6, [True] + [False] * 5]
        )
    if "attention" in masks:
        given["attn_mask"] = np.triu(np.ones((4, 6), dtype=bool), 3)

    def run(package, layer):
        extra = {name: package.tensor(mask) for name, mask in given.items()}
        return layer(*[package.tensor(x) for x in (q, k, v)], **extra, **call)

    (a, weights), (b, expected) = run(tn, ours), run(torch, theirs)
    close(a, b)
    assert (weights is None) == (expected is None)
    if weights is not None:
        close(weights, expected)
    a.square().sum().backward()
    b.square().sum().backward()
    same_gradients(ours, theirs)


def test_attention_of_one_sequence_and_of_a_batch_first():
    for batch_first in (False, True):
        ours, theirs = twins("MultiheadAttention", 8, 2, batch_first=batch_first)
        for shape in ((5, 8), (3, 5, 8)):
            (x,) = arrays(shape)
            a, wa = ours(*[tn.tensor(x)] * 3)
            b, wb = theirs(*[torch.tensor(x)] * 3)
            close(a, b)
            close(wa, wb)


def test_attention_refuses_what_does_not_fit():
    layer = nn.MultiheadAttention(8, 2)
    x = tn.ones(4, 3, 8)
    with pytest.raises(AssertionError):
        nn.MultiheadAttention(7, 2)
    with pytest.raises(ValueError):
        nn.MultiheadAttention(0, 2)
    with pytest.raises(RuntimeError):
        layer(x, x, x, attn_mask=tn.zeros(3, 3))
    with pytest.raises(RuntimeError):
        layer(x, x, x, is_causal=True)
    with pytest.raises(AssertionError):
        layer(x, tn.ones(4, 8), x)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer(norm_first, activation):
    args = (8, 2, 2, 2, 16, 0.0, activation, None, None, 1e-5, True, norm_first)
    ours, theirs = twins("Transformer", *args)
    src, tgt = arrays((3, 5, 8), (3, 4, 8))
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    assert mask.tolist() == torch.nn.Transformer.generate_square_subsequent_mask(4).tolist()
    a = ours(tn.tensor(src), tn.tensor(tgt), tgt_mask=mask, tgt_is_causal=True)
    b = theirs(
        torch.tensor(src),
        torch.tensor(tgt),
        tgt_mask=torch.tensor(mask.numpy()),
        tgt_is_causal=True,
    )
    close(a, b, 1e-4)
    a.square().mean().backward()
    b.square().mean().backward()
    same_gradients(ours, theirs, 2e-4)


def test_encoder_with_padding_and_dropout_in_evaluation():
    layers = {p: p.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for p in (torch, tn)}
    theirs = torch.nn.TransformerEncoder(layers[torch], 2, enable_nested_tensor=False)
    ours = nn.TransformerEncoder(layers[tn], 2)
    ours.load_state_dict({k: tn.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    ours.eval()
    theirs.eval()
    (x,) = arrays((2, 4, 8))
    padding = np.array([[False, False, True, True], [False] * 4])
    a = ours(tn.tensor(x), src_key_padding_mask=tn.tensor(padding))
    b = theirs(torch.tensor(x), src_key_padding_mask=torch.tensor(padding))
    kept = ~padding
    np.testing.assert_allclose(
        a.detach().numpy()[kept], b.detach().numpy()[kept], rtol=1e-4, atol=1e-4
    )


CTC = [
    ([9, 7, 5], [4, 2, 1], "mean", False),
    ([9, 9, 9], [4, 0, 3], "none", False),
    ([9, 2, 9], [4, 4, 3], "sum", True),
]


@pytest.mark.parametrize(("lengths", "counts", "reduction", "zero_infinity"), CTC)
@pytest.mark.parametrize("flat", [False, True])
def test_ctc_loss(lengths, counts, reduction, zero_infinity, flat):
    rng = np.random.default_rng(3)
    logits = rng.standard_normal((9, 3, 5)).astype(np.float32)
    targets = rng.integers(1, 5, (3, 4))
    targets[0, 1] = targets[0, 0]  # a label that repeats needs a blank between
    if flat:
        targets = np.concatenate([row[:count] for row, count in zip(targets, counts, strict=True)])

    def run(package):
        x = package.tensor(logits, requires_grad=True)
        loss = package.nn.functional.ctc_loss(
            x.log_softmax(2),
            package.tensor(targets),
            package.tensor(lengths),
            package.tensor(counts),
            reduction=reduction,
            zero_infinity=zero_infinity,
        )
        loss.sum().backward()
        return loss, x.grad

    for found, expected in zip(run(tn), run(torch), strict=True):
        close(found, expected, 1e-4)


def test_ctc_loss_without_alignment_and_of_one_sequence():
    x = tn.zeros(2, 1, 3).log_softmax(2)
    assert F.ctc_loss(x, tn.tensor([[1, 1]]), [2], [2]).item() == float("inf")
    assert F.ctc_loss(x, tn.tensor([[1, 1]]), [2], [2], zero_infinity=True).item() == 0
    (logits,) = arrays((6, 4))
    found = F.ctc_loss(tn.tensor(logits).log_softmax(1), tn.tensor([1, 3]), [6], [2])
    expected = TF.ctc_loss(
        torch.tensor(logits).log_softmax(1),
        torch.tensor([1, 3]),
        torch.tensor([6]),
        torch.tensor([2]),
    )
    close(found, expected)


def test_second_derivative_of_ctc_loss():
    def loss(x):
        return F.ctc_loss(x.log_softmax(-1), tn.tensor([[1, 2]]), [4], [2], reduction="sum")

    (x,) = arrays((4, 1, 3), seed=5)
    x, step = tn.tensor(x.astype(np.float64)), 1e-5
    direction = tn.tensor(np.random.default_rng(1).standard_normal((4, 1, 3)))
    hessian = tn.func.hessian(loss)(x).reshape(12, 12)
    gradient = tn.func.grad(loss)
    difference = (gradient(x + step * direction) - gradient(x - step * direction)) / (2 * step)
    close(hessian @ direction.reshape(12), difference.reshape(12), 1e-6)


def test_embedding_bag_layer():
    for options in ({}, {"mode": "sum", "padding_idx": 2}, {"mode": "max"}):
        ours, theirs = twins("EmbeddingBag", 10, 3, **options)
        index, offsets = np.array([1, 2, 4, 5, 4, 3]), np.array([0, 2, 2])
        a = ours(tn.tensor(index), tn.tensor(offsets))
        b = theirs(torch.tensor(index), torch.tensor(offsets))
        close(a, b)
        a.square().sum().backward()
        b.square().sum().backward()
        same_gradients(ours, theirs)


def test_bilinear_layer():
    ours, theirs = twins("Bilinear", 3, 4, 2)
    x, y = arrays((5, 3), (5, 4))
    a, b = ours(tn.tensor(x), tn.tensor(y)), theirs(torch.tensor(x), torch.tensor(y))
    close(a, b)
    a.square().sum().backward()
    b.square().sum().backward()
    same_gradients(ours, theirs)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_max_unpool_inverts_max_pool(n):
    (x,) = arrays((2, 3, *(4, 6, 4)[:n]))
    results = []
    for package in (tn, torch):
        pool = getattr(package.nn, f"MaxPool{n}d")(2, return_indices=True)
        unpool = getattr(package.nn, f"MaxUnpool{n}d")(2)
        assert repr(unpool).startswith(f"MaxUnpool{n}d(kernel_size=")
        given = package.tensor(x, requires_grad=True)
        result = unpool(*pool(given), output_size=given.shape)
        result.square().sum().backward()
        results.append((result, given.grad))
    for found, expected in zip(*results, strict=True):
        close(found, expected)


def test_upsample_layers():
    (x,) = arrays((2, 3, 4, 5))
    for name, options in (
        ("Upsample", {"scale_factor": 2}),
        ("Upsample", {"size": (3, 7), "mode": "bicubic", "align_corners": True}),
        ("Upsample", {"scale_factor": (1.5, 2.0), "mode": "bilinear"}),
        ("UpsamplingNearest2d", {"size": 6}),
        ("UpsamplingBilinear2d", {"scale_factor": 2}),
    ):
        ours, theirs = twins(name, **options)
        close(ours(tn.tensor(x)), theirs(torch.tensor(x)))


def test_triplet_loss_with_a_distance():
    def distance(x, y):
        return (x - y).abs().sum(-1)

    given = arrays((5, 3), (5, 3), (5, 3))
    for swap in (False, True):
        options = {"distance_function": distance, "margin": 0.5, "swap": swap}
        found = nn.TripletMarginWithDistanceLoss(**options)(*map(tn.tensor, given))
        expected = torch.nn.TripletMarginWithDistanceLoss(**options)(*map(torch.tensor, given))
        close(found, expected)


def test_adaptive_softmax():
    ours, theirs = twins("AdaptiveLogSoftmaxWithLoss", 8, 20, cutoffs=[4, 10], div_value=2.0)
    (x,) = arrays((6, 8))
    target = np.array([0, 3, 4, 9, 10, 19])
    a = ours(tn.tensor(x), tn.tensor(target))
    b = theirs(torch.tensor(x), torch.tensor(target))
    close(a.output, b.output)
    close(a.loss, b.loss)
    a.loss.backward()
    b.loss.backward()
    same_gradients(ours, theirs)
    close(ours.log_prob(tn.tensor(x)), theirs.log_prob(torch.tensor(x)))
    assert ours.predict(tn.tensor(x)).tolist() == theirs.predict(torch.tensor(x)).tolist()
    one = ours(tn.tensor(x[0]), tn.tensor(5)).output
    close(one, theirs(torch.tensor(x[0]), torch.tensor(5)).output)
    with pytest.raises(IndexError):
        ours(tn.tensor(x), tn.tensor([0, 3, 4, 9, 10, 20])).output.tolist()
    with pytest.raises(ValueError):
        nn.AdaptiveLogSoftmaxWithLoss(8, 20, [10, 4])


def test_random_dropouts_keep_their_moments():
    tn.manual_seed(0)
    x = tn.randn(64, 100, 20)
    for name in ("alpha_dropout", "feature_alpha_dropout"):
        y = getattr(F, name)(x, 0.3, training=True)
        assert abs(y.mean().item()) < 0.05
        assert abs(y.std().item() - 1) < 0.05
    for name, shape in (("dropout1d", (64, 100, 20)), ("dropout2d", (64, 100, 5, 4))):
        y = getattr(F, name)(tn.ones(*shape), 0.3).flatten(2)
        assert bool((y == y[..., :1]).all())  # whole channels
        assert abs((y == 0).float().mean().item() - 0.3) < 0.03
    r = F.rrelu(-tn.ones(10000), 0.2, 0.4, training=True)
    assert r.min().item() >= -0.4 and r.max().item() <= -0.2
    assert abs(r.mean().item() + 0.3) < 0.01


def test_gumbel_softmax_samples_the_categorical():
    tn.manual_seed(0)
    logits = tn.tensor([0.1, 0.2, 0.7]).log().expand(20000, 3)
    hard = F.gumbel_softmax(logits, tau=0.5, hard=True)
    np.testing.assert_allclose(hard.mean(0).numpy(), [0.1, 0.2, 0.7], atol=0.015)
    x = tn.zeros(4, 3, requires_grad=True)
    (F.gumbel_softmax(x, hard=True) * tn.arange(3.0)).sum().backward()
    assert bool((x.grad.abs().sum(1) > 0).all())
    assert abs(x.grad.sum().item()) < 1e-5


def test_transforms_pass_through_resampling():
    x = tn.randn(3, 1, 2, 4, 5)
    grid = tn.rand(3, 1, 3, 3, 2) * 2 - 1
    sample = tn.func.vmap(lambda a, g: F.grid_sample(a, g, align_corners=False))(x, grid)
    looped = tn.stack([F.grid_sample(a, g, align_corners=False) for a, g in zip(x, grid)])
    close(sample, looped)

    def resized(a):
        return F.interpolate(a, (7, 3), mode="bicubic").square().sum()

    one = x[0].double()
    v = tn.randn(1, 2, 4, 5, dtype=tn.float64)
    _, tangent = tn.func.jvp(resized, (one,), (v,))
    assert tangent.item() == pytest.approx((tn.func.grad(resized)(one) * v).sum().item())

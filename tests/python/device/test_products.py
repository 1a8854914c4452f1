"""What devices compute as products: convolutions and attention, and their gradients."""

import pytest

import tenon as tn
import tenon.nn.functional as F
from tenon import nn


def gradients(function, tensors):
    leaves = [x.clone().requires_grad_() for x in tensors]
    result = function(*leaves)
    (
        result * tn.arange(result.numel(), device=result.device).reshape(result.shape).cos()
    ).sum().backward()
    return result, *[x.grad for x in leaves]


def check(function, tensors, bound=2e-5):
    there = gradients(function, [x.cuda() for x in tensors])
    for a, b in zip(there, gradients(function, tensors), strict=True):
        assert a.is_cuda and a.shape == b.shape and a.dtype == b.dtype
        scale = b.abs().max().clamp(min=1) if b.numel() else 1
        assert b.numel() == 0 or ((a.cpu() - b).abs().max() / scale).item() <= bound


@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((2, 3, 7, 6), (4, 3, 3, 3), {"padding": 1}),
        ((2, 4, 8, 9), (6, 2, 3, 2), {"stride": 2, "groups": 2, "padding": (1, 0)}),
        ((1, 2, 9), (3, 2, 3), {"dilation": 2, "stride": 2}),
        ((1, 2, 4, 5, 4), (2, 2, 2, 3, 1), {"padding": (0, 1, 0)}),
        ((2, 3, 5, 5), (2, 3, 1, 1), {"stride": 3}),
    ],
)
def test_convolutions(x, w, options):
    tn.manual_seed(0)
    function = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[len(x)]
    check(lambda x, w, b: function(x, w, b, **options), [tn.randn(x), tn.randn(w), tn.randn(w[0])])


def test_transposed_convolution_and_empty():
    tn.manual_seed(0)
    function = lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1)  # noqa: E731
    check(function, [tn.randn(2, 3, 4, 5), tn.randn(3, 2, 3, 3)])
    assert F.conv2d(tn.zeros(0, 3, 5, 5).cuda(), tn.zeros(2, 3, 3, 3).cuda()).cpu().shape == (
        0,
        2,
        3,
        3,
    )


def test_strides_of_equal_programs():
    """Two programs whose nodes differ in sizes alone."""
    x, w = tn.randn(1, 1, 5, 5), tn.randn(1, 1, 1, 1)
    for padding, stride in [(0, 1), (2, 2), (0, 1), (2, 2)]:
        there = F.conv2d(x.cuda(), w.cuda(), padding=padding, stride=stride)
        assert tn.allclose(there.cpu(), F.conv2d(x, w, padding=padding, stride=stride), atol=1e-6)


@pytest.mark.parametrize("kind", ["plain", "causal", "bool", "added", "grouped"])
def test_attention(kind):
    tn.manual_seed(0)
    q, k, v = tn.randn(2, 4, 5, 3), tn.randn(2, 4, 6, 3), tn.randn(2, 4, 6, 2)
    options = {}
    if kind == "causal":
        options["is_causal"] = True
    if kind == "bool":
        options["attn_mask"] = (tn.arange(30).reshape(5, 6) % 4 != 0) & (tn.arange(5) != 2)[:, None]
    if kind == "added":
        options["attn_mask"] = tn.randn(5, 6)
    if kind == "grouped":
        k, v, options["enable_gqa"] = k[:, :2], v[:, :2], True

    def attend(q, k, v):
        moved = {name: x.to(q.device) if hasattr(x, "to") else x for name, x in options.items()}
        return F.scaled_dot_product_attention(q, k, v, **moved)

    check(attend, [q, k, v])
    check(lambda q, k, v: attend(q.half(), k.half(), v.half()).float(), [q, k, v], 4e-3)


def test_resnet_block():
    def train(device):
        tn.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
            *(nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        ).to(device)
        optimizer = tn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        x, y = tn.randn(3, 2, 8, 8).to(device), tn.arange(3).to(device)
        losses = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return [*losses, *model[1].running_var.tolist()]

    assert all(abs(a - b) < 1e-5 for a, b in zip(train("cuda"), train("cpu"), strict=True))

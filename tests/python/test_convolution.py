"""Convolutions and pooling against PyTorch on random shapes: values, gradients of both orders,
forward mode, vmap against a loop; and that neither extents nor strides make a new plan."""

import random

import numpy as np
import pytest

import tenon as tn
import tenon.nn.functional as F
from tests.python.against_torch import agree, ours

torch = pytest.importorskip("torch")
TF = torch.nn.functional


def draw_convolution(seed):
    """name, tensors (input, weight, bias), keyword arguments."""
    r = random.Random(seed)
    torch.manual_seed(seed)
    n, groups = r.choice([1, 2, 3]), r.choice([1, 1, 2, 3])
    channels, out = groups * r.choice([1, 2, 3]), groups * r.choice([1, 2, 3])
    batch = r.choice([1, 2, 5])
    extents = [r.choice([1, 3, 5, 7, 8]) for _ in range(n)]
    kernel = [r.choice([1, 2, 3]) for _ in range(n)]
    options = {
        "stride": [r.choice([1, 2, 3]) for _ in range(n)],
        "padding": [r.choice([0, 1, 2]) for _ in range(n)],
        "dilation": [r.choice([1, 2]) for _ in range(n)],
        "groups": groups,
    }
    transposed = r.random() < 0.4
    if transposed:
        options["output_padding"] = [
            r.randrange(max(s, d))
            for s, d in zip(options["stride"], options["dilation"], strict=True)
        ]
    dtype = r.choice([torch.float32, torch.float32, torch.float64, torch.bfloat16])
    shape = (channels, out // groups) if transposed else (out, channels // groups)
    tensors = [
        torch.randn(batch, channels, *extents).to(dtype),
        torch.randn(*shape, *kernel).to(dtype),
        torch.randn(out).to(dtype),
    ]
    return f"conv{'_transpose' if transposed else ''}{n}d", tensors, options


@pytest.mark.parametrize("seed", range(80))
def test_convolution_and_gradients(seed):
    name, tensors, options = draw_convolution(seed)

    def run(package, functional, convert):
        xs = [convert(t) for t in tensors]
        for x in xs:
            x.requires_grad_()
        y = getattr(functional, name)(*xs, **options)
        ramp = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).reshape(tuple(y.shape))
        weights = convert(ramp.to(tensors[0].dtype))
        first = package.autograd.grad(y, xs, grad_outputs=weights, create_graph=True)
        total = sum((g * g).sum() for g in first)
        second = package.autograd.grad(total, xs[:2])
        return [y, *first, *second]

    try:
        expected = run(torch, TF, torch.clone)
    except RuntimeError as error:
        with pytest.raises(RuntimeError, match=r"(?i)size|too small"):
            run(tn, F, ours)
        assert "grad" not in str(error)
        return
    for i, (a, b) in enumerate(zip(run(tn, F, ours), expected, strict=True)):
        agree(a, b, f"{name} {i}")


@pytest.mark.parametrize("seed", range(0, 80, 4))
def test_convolution_forward_mode(seed):
    """J v by forward mode against u (J v) = (u J) v by reverse mode."""
    name, tensors, options = draw_convolution(seed)
    xs = [ours(t.double()) for t in tensors]
    torch.manual_seed(seed + 1)
    tangents = [ours(torch.randn_like(t.double())) for t in tensors]

    def f(*args):
        return getattr(F, name)(*args, **options)

    try:
        f(*xs)
    except RuntimeError:
        return
    y, forward = tn.func.jvp(f, tuple(xs), tuple(tangents))
    u = tn.linspace(-1, 1, y.numel(), dtype=tn.float64).reshape(y.shape)
    _, pull = tn.func.vjp(f, *xs)
    back = pull(u)
    dot = sum((g * t).sum() for g, t in zip(back, tangents, strict=True)).item()
    np.testing.assert_allclose((u * forward).sum().item(), dot, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("where", [(0, None), (None, 0), (0, 0), (1, 2)])
@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_vmap_of_convolution_and_gradients(name, where):
    tn.manual_seed(1)
    xs = [
        tn.randn(2, 4, 5, 6),
        tn.randn(4, 3, 3, 2) if "transpose" in name else tn.randn(6, 2, 3, 2),
    ]
    stacked = [
        x if axis is None else tn.stack([x * (k + 1) for k in range(3)], dim=axis)
        for x, axis in zip(xs, where, strict=True)
    ]

    def f(x, w):
        y = getattr(F, name)(x, w, stride=2, padding=1, groups=2)
        return y, *tn.func.grad(lambda *a: getattr(F, name)(*a, groups=2).sin().sum(), (0, 1))(x, w)

    mapped = tn.func.vmap(f, in_dims=where)(*stacked)
    for k in range(3):
        picked = [
            x if axis is None else x.select(axis, k) for x, axis in zip(stacked, where, strict=True)
        ]
        for a, b in zip(mapped, f(*picked), strict=True):
            np.testing.assert_allclose(a[k].numpy(), b.numpy(), rtol=1e-5, atol=1e-4)


def test_per_sample_gradients_are_one_call():
    w = tn.randn(4, 3, 3, 3)
    xs = tn.randn(5, 2, 3, 6, 6)
    gradient = tn.func.grad(lambda w, x: F.conv2d(x, w).square().sum())
    mapped = tn.func.vmap(gradient, in_dims=(None, 0))(w, xs)
    for k in range(5):
        expected = gradient(w, xs[k]).numpy()
        np.testing.assert_allclose(mapped[k].numpy(), expected, rtol=1e-4, atol=1e-3)


def test_empty_batch_and_channels():
    w = tn.randn(4, 3, 3, 3, requires_grad=True)
    x = tn.zeros(0, 3, 5, 5, requires_grad=True)
    y = F.conv2d(x, w, tn.ones(4))
    assert tuple(y.shape) == (0, 4, 3, 3)
    y.sum().backward()
    assert tuple(x.grad.shape) == (0, 3, 5, 5) and w.grad.abs().sum().item() == 0
    assert tuple(F.max_pool2d(x, 2).shape) == (0, 3, 2, 2)


def test_bits_are_the_same_on_any_number_of_threads():
    tn.manual_seed(0)
    before = tn.get_num_threads()
    x, w = tn.randn(5, 8, 17, 19), tn.randn(12, 8, 3, 3)
    x.requires_grad_(), w.requires_grad_()

    def run():
        y = F.conv2d(x, w, stride=2, padding=1)
        return [v.numpy().copy() for v in (y.detach(), *tn.autograd.grad(y.square().sum(), (x, w)))]

    try:
        results = []
        for threads in (1, 2, 3):
            tn.set_num_threads(threads)
            results.append(run())
    finally:
        tn.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert (a.view(np.int32) == b.view(np.int32)).all()


def test_other_extents_and_strides_make_no_plan():
    def step(batch, side, stride, padding):
        x = tn.randn(batch, 4, side, side, requires_grad=True)
        w = tn.randn(6, 4, 3, 3, requires_grad=True)
        F.conv2d(x, w, stride=stride, padding=padding).tanh().sum().backward()
        return x.grad.sum().item() + w.grad.sum().item()

    step(2, 9, 1, 1)
    made = tn.jit.counters()["plans"]
    for arguments in [(3, 11, 2, 1), (5, 8, 1, 2), (7, 13, 3, 0)]:
        step(*arguments)
    assert tn.jit.counters()["plans"] == made


# ---- pooling ----


def draw_pool(seed):
    r = random.Random(seed)
    torch.manual_seed(seed)
    n = r.choice([1, 2, 3])
    kind = r.choice(["max", "indices", "avg", "adaptive_max", "adaptive_avg"])
    x = torch.randn(r.choice([1, 2]), 2, *[r.choice([3, 5, 6, 7, 8]) for _ in range(n)]).double()
    if r.random() < 0.5:
        x = x.round()  # ties
    if r.random() < 0.2:
        x.view(-1)[r.randrange(x.numel())] = float("nan")
    if kind == "max" and r.random() < 0.1:
        x = torch.full_like(x, -float("inf"))
    if kind.startswith("adaptive"):
        suffix = "_with_indices" if "max" in kind else ""
        size = [r.choice([1, 2, 3, 4]) for _ in range(n)]
        return f"{kind}_pool{n}d{suffix}", x, {"output_size": size}
    large = [6, 7] if r.random() < 0.2 else []
    kernel = [r.choice([1, 2, 3, *large]) for _ in range(n)]
    options = {
        "kernel_size": kernel,
        "stride": r.choice([None, [r.choice([1, 2, 3]) for _ in range(n)]]),
        "padding": [r.choice([0, k // 2]) for k in kernel],
        "ceil_mode": r.random() < 0.4,
    }
    if kind == "avg":
        options["count_include_pad"] = r.random() < 0.5
        if n > 1 and r.random() < 0.3:
            options["divisor_override"] = 3
        return f"avg_pool{n}d", x, options
    if kind == "max":
        options["dilation"] = r.choice([1, 1, 2]) if not any(options["padding"]) else 1
    return f"max_pool{n}d{'' if kind == 'max' else '_with_indices'}", x, options


@pytest.mark.parametrize("seed", range(150))
def test_pooling(seed):
    name, array, options = draw_pool(seed)

    def run(package, functional, convert):
        x = convert(array).requires_grad_()
        y = getattr(functional, name)(x, **options)
        y, *indices = y if isinstance(y, tuple) else (y,)
        ramp = torch.linspace(1, 2, y.numel(), dtype=torch.float64).reshape(tuple(y.shape))
        (gradient,) = package.autograd.grad(y, [x], grad_outputs=convert(ramp))
        return [y.detach(), gradient, *indices]

    try:
        expected = run(torch, TF, torch.clone)
    except RuntimeError as error:
        if "smaller than kernel size" in str(error):
            pytest.skip("PyTorch's avg_pool3d wants every input as large as the kernel")
        with pytest.raises(RuntimeError):
            run(tn, F, ours)
        return
    for a, b in zip(run(tn, F, ours), expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-14)


def test_pooling_second_gradients_and_vmap():
    x = tn.randn(2, 3, 6, 7, dtype=tn.float64)
    for pool in (
        lambda x: F.max_pool2d(x, 3, 2, 1),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.adaptive_avg_pool2d(x, (4, 3)),
    ):
        f = lambda x, pool=pool: (pool(x) ** 3).sum()  # noqa: E731
        tangent = tn.randn(2, 3, 6, 7, dtype=tn.float64)
        _, hvp = tn.func.jvp(tn.func.grad(f), (x,), (tangent,))
        step = 1e-6
        numeric = (tn.func.grad(f)(x + step * tangent) - tn.func.grad(f)(x - step * tangent)) / (
            2 * step
        )
        np.testing.assert_allclose(hvp.numpy(), numeric.numpy(), rtol=1e-4, atol=1e-6)
        stacked = tn.stack([x, 2 * x, -x])
        mapped = tn.func.vmap(tn.func.grad(f))(stacked)
        for k in range(3):
            np.testing.assert_allclose(
                mapped[k].numpy(), tn.func.grad(f)(stacked[k]).numpy(), rtol=1e-12
            )


def test_return_indices():
    x = tn.arange(16.0).reshape(1, 1, 4, 4)
    values, indices = F.max_pool2d(x, 2, return_indices=True)
    assert indices.dtype == tn.int64 and indices.flatten().tolist() == [5, 7, 13, 15]
    assert (F.max_pool2d(x, 2) == values).all().item()
    values, indices = F.adaptive_max_pool2d(x, 1, True)
    assert values.item() == 15 and indices.item() == 15


# ---- batch normalization ----


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_keeps_running_statistics(momentum):
    theirs = torch.nn.BatchNorm2d(3, momentum=momentum)
    mine = tn.nn.BatchNorm2d(3, momentum=momentum)
    for step in range(3):
        x = torch.randn(4, 3, 5, 2) * (step + 1) + step
        agree(mine(ours(x)), theirs(x), "training")
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(mine.state_dict()[name].numpy(), value.numpy(), rtol=1e-5)
    theirs.eval(), mine.eval()
    agree(mine(ours(x)), theirs(x), "evaluation")
    assert mine.num_batches_tracked.item() == 3


def test_normalization_errors():
    with pytest.raises(ValueError, match="expected 4D input"):
        tn.nn.BatchNorm2d(3)(tn.ones(2, 3))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        tn.nn.BatchNorm1d(3)(tn.ones(1, 3))
    with pytest.raises(RuntimeError, match="should contain 3 elements not 4"):
        tn.nn.BatchNorm1d(4)(tn.ones(2, 3))
    with pytest.raises(ValueError, match="divisible"):
        tn.nn.GroupNorm(2, 3)
    with pytest.raises(ValueError, match="divisible"):
        tn.nn.Conv2d(3, 4, 3, groups=2)

"""scaled_dot_product_attention against PyTorch: values, gradients of both orders, forward mode,
vmap against a loop; rows without keys; that the matrix of scores is never held."""

import random

import numpy as np
import pytest

import tenon as tn
import tenon.nn.functional as F
from tests.python.against_torch import agree, ours

torch = pytest.importorskip("torch")
TF = torch.nn.functional


def draw(seed, dtypes=(torch.float32, torch.float32, torch.float64, torch.bfloat16)):
    """Tensors (query, key, value), a mask or none, keyword arguments."""
    r = random.Random(seed)
    torch.manual_seed(seed)
    dtype = r.choice(dtypes)
    batch = r.choice([(), (2,), (2, 3), (1, 4)])
    queries, keys = (r.choice([1, 5, 16, 33, 70, 150]) for _ in range(2))
    depth, width = r.choice([1, 3, 8, 16, 40]), r.choice([1, 4, 16, 24])
    groups = 1
    if len(batch) == 2 and r.random() < 0.4:
        groups = batch[1]
    shared = (*batch[:-1], batch[-1] // groups) if batch else ()
    tensors = [
        torch.randn(*batch, queries, depth).to(dtype),
        torch.randn(*shared, keys, depth).to(dtype),
        torch.randn(*shared, keys, width).to(dtype),
    ]
    options = {"enable_gqa": True} if groups > 1 else {}
    if r.random() < 0.3:
        options["scale"] = r.choice([0.0, 0.3, 2.0])
    mask = None
    kind = r.choice(["none", "causal", "bool", "added", "row"])
    if kind == "causal":
        options["is_causal"] = True
    elif kind == "bool":
        mask = torch.rand(*batch[:1], *(1,) * len(batch[1:]), queries, keys) < 0.7
    elif kind == "added":
        mask = torch.randn(queries, keys).to(dtype)
    elif kind == "row":
        mask = torch.rand(1, keys) < 0.5
    return tensors, mask, options


@pytest.mark.parametrize("seed", range(80))
def test_values_and_gradients(seed):
    tensors, mask, options = draw(seed)

    def run(package, functional, convert):
        xs = [convert(t) for t in tensors]
        for x in xs:
            x.requires_grad_()
        attn_mask = None if mask is None else convert(mask)
        y = functional.scaled_dot_product_attention(*xs, attn_mask=attn_mask, **options)
        ramp = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).reshape(tuple(y.shape))
        weights = convert(ramp.to(tensors[0].dtype))
        return [y, *package.autograd.grad(y, xs, grad_outputs=weights)]

    pairs = zip(run(tn, F, ours), run(torch, TF, torch.clone), strict=True)
    for i, (a, b) in enumerate(pairs):
        agree(a, b, f"{i}")


@pytest.mark.parametrize("seed", range(0, 80, 3))
def test_second_gradients(seed):
    tensors, mask, options = draw(seed, [torch.float64])

    def run(package, functional, convert):
        xs = [convert(t) for t in tensors]
        attn_mask = None if mask is None else convert(mask)
        wanted = list(xs)
        if attn_mask is not None and mask.is_floating_point():
            wanted.append(attn_mask)
        for x in wanted:
            x.requires_grad_()
        y = functional.scaled_dot_product_attention(*xs, attn_mask=attn_mask, **options)
        first = package.autograd.grad(y.sin().sum(), wanted, create_graph=True)
        total = sum((g * g).sum() for g in first)
        return [y, *first, *package.autograd.grad(total, wanted)]

    # PyTorch's kernels have no second derivative; its composition does.
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        expected = run(torch, TF, torch.clone)
    for i, (a, b) in enumerate(zip(run(tn, F, ours), expected, strict=True)):
        agree(a, b, f"{i}")


@pytest.mark.parametrize("seed", range(1, 80, 4))
def test_forward_mode(seed):
    """J v by forward mode against u (J v) = (u J) v by reverse mode, and forward over reverse."""
    tensors, mask, options = draw(seed, [torch.float64])
    xs = [ours(t) for t in tensors]
    tangents = [ours(torch.randn_like(t)) for t in tensors]
    attn_mask = None if mask is None else ours(mask)

    def f(*args):
        return F.scaled_dot_product_attention(*args, attn_mask=attn_mask, **options)

    y, forward = tn.func.jvp(f, tuple(xs), tuple(tangents))
    u = tn.linspace(-1, 1, y.numel(), dtype=tn.float64).reshape(y.shape)
    _, pull = tn.func.vjp(f, *xs)
    dot = sum((g * t).sum() for g, t in zip(pull(u), tangents, strict=True)).item()
    np.testing.assert_allclose((u * forward).sum().item(), dot, rtol=1e-9, atol=1e-9)

    def gradient(*args):
        return tn.func.grad(lambda *a: (f(*a) * u).sin().sum(), (0, 1, 2))(*args)

    _, over_reverse = tn.func.jvp(gradient, tuple(xs), tuple(tangents))
    step = 1e-6
    shifted = [
        gradient(*(x + sign * step * t for x, t in zip(xs, tangents, strict=True)))
        for sign in (1, -1)
    ]
    for found, up, down in zip(over_reverse, *shifted, strict=True):
        np.testing.assert_allclose(found.numpy(), ((up - down) / (2 * step)).numpy(), atol=1e-6)


@pytest.mark.parametrize("where", [(0, None, None), (None, 0, 1), (1, 0, None), (0, 0, 0)])
def test_vmap_of_attention_and_gradients(where):
    tn.manual_seed(1)
    xs = [tn.randn(2, 26, 4), tn.randn(2, 25, 4), tn.randn(2, 25, 3)]
    stacked = [
        x if axis is None else tn.stack([x * (k + 1) for k in range(3)], dim=axis)
        for x, axis in zip(xs, where, strict=True)
    ]

    def f(*args):
        def loss(*a):
            return F.scaled_dot_product_attention(*a, is_causal=True).sin().sum()

        y = F.scaled_dot_product_attention(*args)
        return y, *tn.func.grad(loss, (0, 1, 2))(*args)

    mapped = tn.func.vmap(f, in_dims=where)(*stacked)
    for k in range(3):
        picked = [
            x if axis is None else x.select(axis, k) for x, axis in zip(stacked, where, strict=True)
        ]
        for a, b in zip(mapped, f(*picked), strict=True):
            np.testing.assert_allclose(a[k].numpy(), b.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [4, 40])
def test_rows_without_keys_give_zeros(length):
    q, k, v = (tn.randn(length, 3, requires_grad=True) for _ in range(3))
    allowed = tn.ones(length, length, dtype=tn.bool)
    allowed[2] = False
    for mask in (allowed, tn.where(allowed, 0.0, -float("inf"))):
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        gradients = tn.autograd.grad(y.sum(), [q, k, v])
        assert (y[2] == 0).all() and (gradients[0][2] == 0).all()
        assert all(g.isfinite().all() for g in gradients)
        one = F.scaled_dot_product_attention(q[2:3], k, v, attn_mask=mask[2:3])
        assert (one == 0).all()


def test_no_keys_give_zeros():
    y = F.scaled_dot_product_attention(tn.ones(2, 3), tn.ones(0, 3), tn.ones(0, 5))
    assert y.tolist() == [[0.0] * 5] * 2


@pytest.mark.parametrize("times", [1, 50])
def test_nan_and_infinite_scores_do_as_softmax_does(times):
    q = tn.tensor([[1.0], [float("nan")], [float("inf")], [1.0]])
    k = tn.tensor([[1.0], [2.0], [3.0], [4.0]]).repeat(times, 1)
    y = F.scaled_dot_product_attention(q, k, k)
    assert y.isnan().flatten().tolist() == [False, True, True, False]


def test_scores_are_never_held():
    q, k, v = (tn.randn(2, 2048, 16, requires_grad=True) for _ in range(3))
    tn.eval(q, k, v)
    scores = 2 * 2048 * 2048 * 4
    tn.jit.reset_peak_memory_stats()
    before = tn.jit.memory_stats()["allocated"]
    F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
    tn.eval(q.grad, k.grad, v.grad)
    assert tn.jit.memory_stats()["peak"] - before < scores / 8


def test_a_new_scale_is_no_new_plan():
    q, k, v = (tn.randn(2, 80, 4) for _ in range(3))

    def run(scale, length):
        return tn.eval(F.scaled_dot_product_attention(q[:, :length], k, v, scale=scale))

    tn.eval(q, k, v)
    run(0.5, 70)
    before = tn.jit.counters()["plans"]
    for scale, length in ((0.25, 60), (0.125, 70), (3.0, 50)):
        run(scale, length)
    assert tn.jit.counters()["plans"] == before


def test_forward_and_gradients_are_two_calls():
    q, k, v = (tn.randn(2, 80, 4, requires_grad=True) for _ in range(3))
    tn.eval(q, k, v)
    with tn.jit.profile():
        F.scaled_dot_product_attention(q, k, v).sum().backward()
        tn.eval(q.grad, k.grad, v.grad)
    names = [step["name"] for step in tn.jit.last_run()]
    assert names.count("attention") == names.count("attention_gradient") == 1

"""Tensors on a device: where they are, what is computed of them, and what goes wrong."""

import copy
import pickle

import numpy as np
import pytest

import tenon as tn
import tenon.nn.functional as F

DTYPES = [
    *(tn.float16, tn.bfloat16, tn.float32, tn.float64, tn.complex64, tn.bool),
    *(tn.int8, tn.int16, tn.int32, tn.int64, tn.uint8, tn.uint64),
]


def same(on_device, on_host):
    """Equal bit for bit, and on the device."""
    assert on_device.is_cuda and on_device.dtype == on_host.dtype
    assert on_device.shape == on_host.shape
    back, host = on_device.detach().cpu(), on_host.detach()
    assert back.device == tn.device("cpu")
    assert back.isnan().eq(host.isnan()).all()
    assert ((back == host) | host.isnan()).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_there_and_back(dtype):
    x = (tn.arange(24).reshape(2, 3, 4) % 7).to(dtype)
    for view in (x, x.T, x[:, 1:, ::2], x[0, 0, 0], x[:0], x.expand(2, 2, 3, 4)):
        there = view.to("cuda")
        assert there.device == tn.device("cuda", 0) and there.dtype == dtype
        assert there.tolist() == view.tolist()
        assert there.cpu().tolist() == view.tolist()
    assert x.cuda().cuda() is not None and x.cpu() is x


def test_places():
    x = tn.ones(2, 3).cuda()
    assert x.is_cuda and x.get_device() == 0 and str(x.device) == "cuda:0"
    assert repr(x[0]) == "tensor([1., 1., 1.], device='cuda:0')"
    for y in (
        tn.zeros(2, device="cuda"),
        tn.full((2,), 3.0, device="cuda"),
        tn.arange(2, device="cuda"),
        tn.linspace(0, 1, 2, device="cuda"),
        tn.eye(2, device="cuda"),
        tn.rand(2, device="cuda"),
        tn.randint(5, (2,), device="cuda"),
        tn.tensor([1.0, 2.0], device="cuda"),
        tn.as_tensor([1, 2], device="cuda"),
        tn.as_tensor(tn.ones(2), device="cuda"),
        tn.hann_window(4, device="cuda"),
        tn.zeros_like(x),
        tn.rand_like(x),
        tn.full_like(x, 2),
        x.new_zeros(3),
        x.new_tensor([1.0]),
        x.clone(),
        x.to(tn.float64),
        tn.ones(2).to(x),
    ):
        assert y.is_cuda, y
    assert tn.zeros_like(x, device="cpu").device == tn.device("cpu")
    assert tn.triu(x).is_cuda and tn.cat([x, x]).is_cuda and F.one_hot(tn.arange(3).cuda()).is_cuda


def test_default_device():
    with tn.device("cuda"):
        x = tn.ones(3)
        assert x.is_cuda and tn.tensor([1]).is_cuda and tn.nn.Linear(2, 2).weight.is_cuda
        assert (x * 2).is_cuda and tn.get_default_device() == tn.device("cuda", 0)
        assert tn.ones(2, device="cpu").device == tn.device("cpu")
        assert (tn.ones(2, device="cpu") * 2 + 1).device == tn.device("cpu")
    assert tn.ones(3).device == tn.device("cpu") == tn.get_default_device()


def test_elementwise_and_rows():
    """One program: what is fused on the host is fused there, by the same formulas."""

    def compute(x, w):
        a = (x * w + 0.5).sigmoid().exp().log1p() - x.abs().sqrt().tanh()
        b = F.gelu(x) + F.silu(w)
        rows = x.softmax(-1), F.layer_norm(x, (37,)), x.logsumexp(0), F.rms_norm(x, (37,))
        sums = x.sum(), x.mean(0), x.var(1), x.argmax(1), x.amax(), x.cumsum(1), x.prod(0)
        moved = (
            x.T.contiguous(),
            x[::2, 3:].reshape(-1),
            tn.cat([x, w], 1),
            x.flip(1),
            F.pad(x, (1, 2)),
        )
        picked = x[tn.tensor([3, 0, 3], device=x.device)], x.gather(1, x.argmax(1, keepdim=True))
        where = tn.where(x > w, x, w), x.clamp(-1, 1), (x > 0).sum(1), x.to(tn.float16) * 2
        return [a, b, *rows, *sums, *moved, *picked, *where]

    x, w = tn.randn(19, 37), tn.randn(19, 37)
    for there, here in zip(compute(x.cuda(), w.cuda()), compute(x, w), strict=True):
        same(there, here)


def test_random_numbers_are_those_of_the_host():
    tn.manual_seed(3)
    here = tn.randn(40), tn.rand(3, 5), tn.randint(9, (11,))
    tn.manual_seed(3)
    there = (
        tn.randn(40, device="cuda"),
        tn.rand(3, 5, device="cuda"),
        tn.randint(9, (11,), device="cuda"),
    )
    for a, b in zip(there, here, strict=True):
        same(a, b)


@pytest.mark.parametrize("dtype", [tn.float32, tn.float64, tn.float16, tn.bfloat16], ids=str)
def test_products(dtype):
    tn.manual_seed(0)
    a, b = tn.randn(2, 3, 5, 7).to(dtype), tn.randn(2, 3, 7, 4).to(dtype)
    w, v = tn.randn(4, 7).to(dtype), tn.randn(7).to(dtype)

    def compute(a, b, w, v):
        heads = a.transpose(1, 2) @ w.T, a.permute(1, 0, 2, 3) @ b.transpose(0, 1)
        return (
            *(
                a @ b,
                a[0, 0] @ w.T,
                a @ v,
                v @ b[0, 0],
                F.linear(a, w),
                tn.einsum("bhij,kj->bhki", a, w),
            ),
            *(*heads, a[:, :, ::2] @ b, a[..., :0] @ b[:, :, :0], b.mT @ a.mT, tn.outer(v, w[0])),
        )

    bound = {tn.float32: 1e-5, tn.float64: 1e-13, tn.float16: 4e-3, tn.bfloat16: 3e-2}[dtype]
    moved = [x.cuda() for x in (a, b, w, v)]
    for there, here in zip(compute(*moved), compute(a, b, w, v), strict=True):
        assert there.is_cuda and there.shape == here.shape and there.dtype == dtype
        assert (
            (there.cpu().double() - here.double()).abs().max() <= bound * 7
            if here.numel()
            else True
        )


def test_writes():
    x = tn.arange(12.0).reshape(3, 4)
    for start in (x, x.cuda()):
        y = start.clone()
        y[1] = 7
        y[:, 0].add_(10)
        y.mul_(2).clamp_(max=40)
        y.T[2].zero_()
        y[y > 30] = -1
        assert y.tolist() == [[20, 2, 0, 6], [-1, 14, 0, 14], [-1, 18, 0, 22]]
    there = tn.zeros(3, 4, device="cuda")
    there.copy_(x)
    here = tn.zeros(3, 4)
    here[:, 1:].copy_(there[:, 1:])
    assert there.tolist() == x.tolist() and here[:, 1:].tolist() == x[:, 1:].tolist()
    p = tn.nn.Parameter(tn.ones(3))
    p.data = p.data.cuda()
    assert p.is_cuda and (p * 2).is_cuda


def test_two_devices():
    x, y = tn.ones(3).cuda(), tn.ones(3)
    for use in (
        lambda: x + y,
        lambda: tn.cat([x, y]),
        lambda: tn.where(x > 0, x, y),
        lambda: x @ y,
    ):
        with pytest.raises(
            RuntimeError, match=r"Expected all tensors to be on the same device.*cuda:0"
        ):
            use()
    # Numbers go where the others are.
    assert (x + tn.tensor(2.0)).tolist() == (tn.tensor(2.0) + x).tolist() == [3, 3, 3]
    assert tn.where(x > 0, x, tn.tensor(0.0)).is_cuda and (x * 2.5).is_cuda
    # A program with parts on both.
    z = ((x * 2).cpu() + y).exp()
    back = (z.cuda() * x).sum() + x.sum()
    assert back.is_cuda and abs(back.item() - (3 * np.exp(3.0) + 3)) < 1e-3
    assert z.device == tn.device("cpu")


def test_reading():
    x = tn.tensor([1.5, 2.5], device="cuda")
    assert x[0].item() == 1.5 and x.tolist() == [1.5, 2.5] and bool(x[0] > 1) and float(x[1]) == 2.5
    assert (
        list(x) == [1.5, 2.5] and x.nonzero().tolist() == [[0], [1]] and x[x > 2].tolist() == [2.5]
    )
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        x.numpy()
    with pytest.raises(TypeError, match=r"Use Tensor\.cpu"):
        np.asarray(x)
    assert x.cpu().numpy().tolist() == [1.5, 2.5]
    for other in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert other.is_cuda and other.tolist() == [1.5, 2.5]


def test_gradients():
    x, w = tn.randn(6, 5), tn.randn(5, 4)

    def gradients(x, w):
        x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
        loss = F.cross_entropy((x @ w).relu(), tn.arange(6, device=x.device) % 4)
        loss.backward()
        return loss, x.grad, w.grad

    for there, here in zip(gradients(x.cuda(), w.cuda()), gradients(x, w), strict=True):
        assert there.is_cuda and tn.allclose(there.cpu(), here, atol=1e-6)


def test_gradients_through_moves():
    x = tn.randn(4).requires_grad_()
    y = (x.cuda() * 2).sigmoid().cpu()
    y.square().sum().backward()
    other = x.detach().clone().requires_grad_()
    (other * 2).sigmoid().square().sum().backward()
    assert x.grad.device == tn.device("cpu") and tn.allclose(x.grad, other.grad)


def test_transforms():
    x = tn.randn(5, 3)

    def f(v):
        return (v.sin() * tn.arange(3.0, device=v.device)).sum()

    for transform in (
        tn.vmap(tn.func.grad(f)),
        lambda x: tn.func.hessian(f)(x[0]),
        lambda x: tn.func.jvp(f, (x[0],), (tn.ones_like(x[0]),))[1],
        tn.vmap(lambda v: tn.zeros(2, device=v.device) + v[:2].cumsum(0)),
    ):
        there = transform(x.cuda())
        assert there.is_cuda and tn.allclose(there.cpu(), transform(x), atol=1e-6)


def test_compiled():
    @tn.compile
    def f(x, y):
        return (x * y).tanh().sum(0)

    for _ in range(4):
        x, y = tn.randn(3, 4), tn.randn(3, 4)
        same(f(x.cuda(), y.cuda()), f(x, y))
    assert f(tn.ones(2, 2).cuda(), tn.ones(2, 2).cuda()).is_cuda


def test_errors_of_data():
    x, places = tn.randn(4, 3).cuda(), tn.tensor([0, 9], device="cuda")
    kept = tn.ones(2, 3).cuda()
    with pytest.raises(IndexError, match="index 9 is out of bounds"):
        (kept.add_(x[places])).sum().item()
    assert x.sum().isfinite().item()  # the device goes on
    with pytest.raises(NotImplementedError, match="is not computed on CUDA devices yet"):
        x.sort(0).values.tolist()
    assert (x * 2).cpu().shape == (4, 3)


def test_memory(fake_driver):
    tn.cuda.synchronize()
    before = tn.cuda.memory_allocated()
    tn.cuda.reset_peak_memory_stats()
    x = tn.ones(1000, device="cuda") * 2
    tn.eval(x)
    assert tn.cuda.memory_allocated() >= before + 4000
    assert tn.cuda.max_memory_allocated() >= tn.cuda.memory_allocated()
    with pytest.raises(tn.OutOfMemoryError, match=r"CUDA out of memory: .* bytes asked for"):
        tn.eval(tn.ones(1 << 28, device="cuda"))
    assert x.sum().item() == 2000
    del x
    tn.cuda.empty_cache()
    assert tn.cuda.memory_allocated() <= before + 4000
    assert tn.cuda.mem_get_info()[1] == 1 << 28


def test_devices():
    assert tn.cuda.is_available() and tn.cuda.unavailable_reason() == ""
    assert tn.cuda.device_count() >= 1 and tn.cuda.current_device() == 0
    assert tn.cuda.get_device_properties(0).name == tn.cuda.get_device_name()
    assert tn.cuda.get_device_capability() >= (8, 0)
    with pytest.raises(RuntimeError, match="numbered from 0"):
        tn.ones(2).to(f"cuda:{tn.cuda.device_count()}")
    with tn.cuda.device(0):
        assert tn.ones(1).cuda().get_device() == 0

"""Complex numbers against PyTorch and NumPy: values, dtypes, derivatives, views, transforms."""

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(7)
A = RNG.normal(size=(3, 4)) + 1j * RNG.normal(size=(3, 4))
B = RNG.normal(size=(3, 4)) + 1j * RNG.normal(size=(3, 4))
EDGES = np.array([0, 1, -1, 1j, -1j, 2, -2, 3j, -3j, 1e-8 + 1e-9j, 30 + 2j, -30 - 1j, 1e3j])

UNARY = (
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "sin", "cos"),
    *("tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    *("abs", "angle", "sgn", "conj", "neg", "reciprocal", "square", "sum", "mean", "prod", "real"),
    *("imag", "isnan", "isinf", "isfinite", "isreal", "logical_not", "view_as_real", "adjoint"),
    *("sigmoid", "count_nonzero"),
)


def both(values, dtype="complex128", grad=False):
    x = tn.tensor(values, dtype=getattr(tn, dtype))
    y = torch.tensor(values, dtype=getattr(torch, dtype))
    return (x.requires_grad_(), y.requires_grad_()) if grad else (x, y)


def agree(found, expected, tol=1e-10):
    assert str(found.dtype).split(".")[1] == str(expected.dtype).split(".")[1]
    assert tuple(found.shape) == tuple(expected.shape)
    a, b = found.detach().numpy(), expected.detach().resolve_conj().numpy()
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_functions_of_one_operand(name, dtype):
    tol = 1e-10 if dtype == "complex128" else 3e-5
    for values in (A, A[:0], A[0, 0], A.T):
        x, y = both(values, dtype)
        if name == "adjoint" and values.ndim < 2:
            continue
        agree(getattr(tn, name)(x), getattr(torch, name)(y), tol)


@pytest.mark.parametrize("name", UNARY[:21])
def test_functions_on_axes_and_far_out(name):
    values = EDGES
    if name in ("log", "log2", "log10", "rsqrt", "atan", "atanh", "log1p"):
        values = values[1:]  # poles have infinite parts of any direction
    x, y = both(values)
    found = getattr(tn, name)(x).numpy()
    with np.errstate(all="ignore"):
        expected = getattr(torch, name)(y).numpy()
    keep = np.isfinite(expected)
    np.testing.assert_allclose(found[keep], expected[keep], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in UNARY if n not in ("isnan", "isinf", "isfinite")])
def test_derivatives(name):
    x, y = both(A * 0.6, grad=True)
    found, expected = getattr(tn, name)(x), getattr(torch, name)(y)
    if not expected.requires_grad:
        return
    weights = RNG.normal(size=tuple(expected.shape))
    weights = weights + 1j * RNG.normal(size=weights.shape) if expected.is_complex() else weights
    (found * tn.tensor(weights)).real.sum().backward()
    (expected * torch.tensor(weights)).real.sum().backward()
    agree(x.grad, y.grad, 1e-8)


BINARY = {
    "add": lambda m, a, b: a + b,
    "sub": lambda m, a, b: a - b,
    "mul": lambda m, a, b: a * b,
    "div": lambda m, a, b: a / b,
    "pow": lambda m, a, b: m.pow(a, b),
    "square": lambda m, a, b: a**2 + b**3,
    "root": lambda m, a, b: a**0.5 * b,
    "number": lambda m, a, b: (2 - 1j) * a + b / 3j + 1,
    "real": lambda m, a, b: a * b.real + b.imag,
    "matmul": lambda m, a, b: a @ b.mT,
    "outer": lambda m, a, b: m.outer(a[0], b[:, 0]),
    "einsum": lambda m, a, b: m.einsum("ij,kj->ik", a, b),
    "where": lambda m, a, b: m.where(a.real > 0, a, b),
    "cat": lambda m, a, b: m.cat([a, b], 1),
    "cumsum": lambda m, a, b: m.cumsum(a, 1) + m.cumprod(b, 0),
    "prod": lambda m, a, b: a.prod(1) * b.sum(),
    "index": lambda m, a, b: a[[2, 0]] * b[1:, ::1],
    "norm": lambda m, a, b: m.linalg.vector_norm(a - b) + m.linalg.vector_norm(a, 1),
    "polar": lambda m, a, b: m.polar(a.abs(), b.angle()),
    "addmm": lambda m, a, b: m.addmm(b[:, :3], a, b.mT, beta=0.5),
    "flip": lambda m, a, b: m.flip(a, [0]) + m.roll(b, 1, 1),
    "mean": lambda m, a, b: (a - a.mean(0)) * b,
    "lerp": lambda m, a, b: m.var(a, 1) + b.abs().sum(1),
}


@pytest.mark.parametrize("name", list(BINARY))
def test_operations_and_their_derivatives(name):
    f = BINARY[name]
    (a, c), (b, d) = both(A, grad=True), both(B, grad=True)
    found, expected = f(tn, a, b), f(torch, c, d)
    agree(found, expected)
    (found.abs() ** 2).sum().backward()
    (expected.abs() ** 2).sum().backward()
    for ours, theirs in ((a, c), (b, d)):
        if theirs.grad is not None:
            agree(ours.grad, theirs.grad, 1e-8)


@pytest.mark.parametrize("name", list(BINARY))
def test_transforms(name):
    f = BINARY[name]

    def loss(m):
        return lambda a, b: (f(m, a, b).abs() ** 2).sum()

    a, b = tn.tensor(A), tn.tensor(B)
    stacks = tn.stack([a, a * 0.5j]), tn.stack([b, b + 1])
    found = tn.func.vmap(tn.func.grad(loss(tn)))(*stacks)
    looped = tn.stack([tn.func.grad(loss(tn))(x, y) for x, y in zip(*stacks, strict=True)])
    np.testing.assert_allclose(found.numpy(), looped.numpy(), rtol=1e-10, atol=1e-10)
    direction = tn.tensor(B)
    _, tangent = tn.func.jvp(lambda x: loss(tn)(x, b), (a,), (direction,))
    step = 1e-6
    ahead, behind = loss(tn)(a + step * direction, b), loss(tn)(a - step * direction, b)
    assert tangent.item() == pytest.approx((ahead - behind).item() / (2 * step), rel=1e-5, abs=1e-5)


def test_second_derivatives():
    def f(m, z):
        return (m.exp(z) * z.conj() / (z + 3)).abs().sum()

    grads = []
    for m in (tn, torch):
        z = m.tensor(A, requires_grad=True)
        (g,) = m.autograd.grad(f(m, z), z, create_graph=True)
        (h,) = m.autograd.grad((g * g.conj()).real.sum(), z)
        grads.append(h)
    agree(*grads, 1e-8)


def test_promotion():
    for a in ("complex64", "complex128"):
        for b in ("float32", "float64", "int64", "bool", "complex64", "complex128"):
            x, y = both(A, a)
            ones, others = tn.ones(4, dtype=getattr(tn, b)), torch.ones(4, dtype=getattr(torch, b))
            agree(x * ones, y * others, 1e-5)
            agree(ones + x[0, 0], others + y[0, 0], 1e-5)
        agree(both(A, a)[0] * 2.5, both(A, a)[1] * 2.5, 1e-5)
    agree(tn.ones(2, dtype=tn.float64) * 1j, torch.ones(2, dtype=torch.float64) * 1j)


def test_casts():
    x, y = both(A)
    agree(x.to(tn.complex64), y.to(torch.complex64), 1e-6)
    agree(tn.tensor([0, 1, 2]).to(tn.complex128), torch.tensor([0, 1, 2]).to(torch.complex128))
    agree(tn.tensor([0j, 1j]).to(tn.bool), torch.tensor([0j, 1j]).to(torch.bool))


def test_parts_are_views():
    z = tn.tensor(A)
    w = torch.tensor(A)
    for x in (z, w):
        x.real[0] = 5.0
        x.imag.mul_(2)
        x.real = x.real + 1
        x.t()[1].imag.zero_()
    agree(z, w)
    assert z.real._base is not None and z.real.stride() == w.real.stride()
    assert z.imag.storage_offset() == w.imag.storage_offset() == 1
    pairs = tn.tensor(np.arange(6.0).reshape(3, 2))
    as_complex = tn.view_as_complex(pairs)
    as_complex[1] = 9j
    np.testing.assert_array_equal(pairs.numpy(), [[0, 1], [0, 9], [4, 5]])
    memory = np.zeros(3, dtype=np.complex128)
    shared = tn.from_numpy(memory)
    shared.real.fill_(2)
    shared.imag[1] = -1
    np.testing.assert_array_equal(memory, [2, 2 - 1j, 2])


def test_derivatives_through_views_and_writes():
    grads = []
    for m in (tn, torch):
        x = m.tensor(A, requires_grad=True)
        y = x * 2
        y.real[0] = y.imag[1] * 3
        y.imag.mul_(x.real)
        (y.abs() ** 2).sum().backward()
        grads.append(x.grad)
    agree(*grads)


def test_equal_bits_fused_and_interpreted():
    def run():
        z = tn.tensor(A)
        return (tn.exp(z) * z.conj() / (z + 1) + (z @ z.mH).sum()).sqrt().numpy()

    fused, before = run(), tn.jit.get_mode()
    try:
        for mode in ("unfused", "interpret"):
            tn.jit.set_mode(mode)
            np.testing.assert_array_equal(run(), fused)
    finally:
        tn.jit.set_mode(before)


@pytest.mark.parametrize("name", ["lt", "ge", "max", "argmax", "sort", "maximum", "floor", "erf"])
def test_what_complex_numbers_have_not(name):
    x, y = both(A)
    args = (x, x) if name in ("lt", "ge", "maximum") else (x,)
    theirs = (y, y) if len(args) == 2 else (y,)
    with pytest.raises((RuntimeError, NotImplementedError)):
        getattr(torch, name)(*theirs)
    with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
        tn.eval(getattr(tn, name)(*args))


def test_printing():
    cases = ([1 + 2j, -3.5 - 1e-3j], [1e6 + 1j], [0j], [[1j, 2], [3, 4 - 1j]], [1 + 0.25j])
    for values in cases:
        assert str(tn.tensor(values)) == str(torch.tensor(values))
    assert repr(tn.tensor([1j], dtype=tn.complex128)) == repr(
        torch.tensor([1j], dtype=torch.complex128)
    ).replace("torch", "tenon")


def test_backward_wants_a_real_loss():
    x = tn.tensor(A, requires_grad=True)
    with pytest.raises(RuntimeError, match="real"):
        (x * x).sum().backward()

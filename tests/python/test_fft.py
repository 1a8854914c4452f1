"""Fourier transforms against PyTorch and NumPy: lengths, shapes, dtypes, derivatives, windows."""

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")

ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
MANY = tuple(f"{name}{suffix}" for name in ONE for suffix in ("2", "n"))
REAL = ("rfft", "ihfft", "rfft2", "rfftn", "ihfft2", "ihfftn")


def signal(*shape, dtype="complex128", seed=0):
    rng = np.random.default_rng([seed, *shape])
    a = rng.normal(size=shape)
    if dtype.startswith("complex"):
        a = a + 1j * rng.normal(size=shape)
    return a.astype(dtype)


def close(a, b, tol=1e-11):
    assert str(a.dtype).split(".")[1] == str(b.dtype).split(".")[1]
    a, b = a.detach().numpy(), b.detach().resolve_conj().numpy()
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol * max(1, np.abs(b).max(initial=0)))


def input_of(name, *shape, single=False):
    kind = "float" if name in REAL else "complex"
    width = {"float": (64, 32), "complex": (128, 64)}[kind][single]
    return signal(*shape, dtype=f"{kind}{width}")


LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 16, 17, 19, 30, 64, 97, 101, 128, 210, 263, 1000, 1009)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("name", ONE)
def test_lengths(name, n):
    a = input_of(name, 3, n)
    close(getattr(tn.fft, name)(tn.tensor(a), n), getattr(torch.fft, name)(torch.tensor(a), n))


@pytest.mark.parametrize("n", [720, 1 << 15, 10007, 2 * 1009])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_accuracy(n, dtype):
    """The relative L2 error is no larger than twice PyTorch's, against a wider transform."""
    a = signal(n, dtype="complex128").astype(dtype)
    exact = torch.fft.fft(torch.tensor(a.astype("complex128"))).numpy()
    error = lambda x: np.linalg.norm(x - exact) / np.linalg.norm(exact)  # noqa: E731
    ours = error(tn.fft.fft(tn.tensor(a)).numpy())
    theirs = error(torch.fft.fft(torch.tensor(a)).numpy())
    epsilon = np.finfo(dtype).eps
    assert ours < (max(2 * theirs, epsilon) if dtype == "complex64" else 4 * epsilon)


@pytest.mark.parametrize("norm", [None, "forward", "backward", "ortho"])
@pytest.mark.parametrize("name", ONE)
def test_sizes_dimensions_and_norms(name, norm):
    a = input_of(name, 4, 6, 5)
    for dim in (0, 1, -1):
        for n in (None, 3, 9):
            for x, y in (
                (tn.tensor(a), torch.tensor(a)),
                (tn.tensor(a).transpose(0, 2), torch.tensor(a).transpose(0, 2)),
            ):
                close(
                    getattr(tn.fft, name)(x, n, dim, norm),
                    getattr(torch.fft, name)(y, n, dim, norm),
                )


@pytest.mark.parametrize("name", MANY)
def test_several_dimensions(name):
    a = input_of(name, 4, 6, 5)
    options = [{}, {"norm": "ortho"}, {"s": (3, 8)}, {"dim": (0, 2)}, {"s": (4, 7), "dim": (2, 0)}]
    for kwargs in options:
        close(
            getattr(tn.fft, name)(tn.tensor(a), **kwargs),
            getattr(torch.fft, name)(torch.tensor(a), **kwargs),
        )
    single = input_of(name, 4, 6, single=True)
    close(
        getattr(tn.fft, name)(tn.tensor(single)),
        getattr(torch.fft, name)(torch.tensor(single)),
        1e-5,
    )


@pytest.mark.parametrize("name", [*ONE, *MANY])
def test_derivatives_and_transforms(name):
    a = input_of(name, 3, 4, 5)
    grads, seconds = [], []
    for m in (tn, torch):
        x = m.tensor(a, requires_grad=True)
        loss = (getattr(m.fft, name)(x).abs() ** 3).sum()
        (g,) = m.autograd.grad(loss, x, create_graph=True)
        grads.append(g)
        seconds.append(m.autograd.grad((g.abs() ** 2).sum(), x)[0])
    close(*grads, 1e-8)
    close(*seconds, 1e-8)
    x, u = tn.tensor(a), tn.tensor(input_of(name, 3, 4, 5)[::-1].copy())
    f = getattr(tn.fft, name)
    _, tangent = tn.func.jvp(f, (x,), (u,))
    np.testing.assert_allclose(tangent.numpy(), f(u).numpy(), rtol=1e-10, atol=1e-10)
    if not name.endswith(("2", "n")):
        batched = tn.func.vmap(f)(x)
        looped = np.stack([f(row).numpy() for row in x])
        np.testing.assert_allclose(batched.numpy(), looped, rtol=1e-12, atol=1e-12)


def test_integers_and_half_types():
    close(tn.fft.fft(tn.tensor([1, 2, 3])), torch.fft.fft(torch.tensor([1, 2, 3])), 1e-6)
    for m in (tn, torch):
        with pytest.raises(RuntimeError):
            m.fft.fft(m.ones(3, dtype=m.float16))
        with pytest.raises(RuntimeError):
            m.fft.rfft(m.ones(3, dtype=m.complex64))


def test_equal_bits_for_any_number_of_threads_and_rows():
    a = signal(37, 96)
    before = tn.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            tn.set_num_threads(threads)
            results.append(tn.fft.fft(tn.tensor(a)).numpy())
    finally:
        tn.set_num_threads(before)
    results.append(np.stack([tn.fft.fft(tn.tensor(row)).numpy() for row in a]))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_shifts_and_frequencies():
    for n in (1, 2, 5, 8):
        close(tn.fft.fftfreq(n, 0.5), torch.fft.fftfreq(n, 0.5), 1e-7)
        close(tn.fft.rfftfreq(n, 0.5), torch.fft.rfftfreq(n, 0.5), 1e-7)
        a = signal(n, 3)
        for dim in (None, 0, (0, 1)):
            close(tn.fft.fftshift(tn.tensor(a), dim), torch.fft.fftshift(torch.tensor(a), dim))
            close(tn.fft.ifftshift(tn.tensor(a), dim), torch.fft.ifftshift(torch.tensor(a), dim))


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("width", [None, 12])
def test_short_time_transforms(center, width):
    a = signal(2, 100, dtype="float64")
    window = np.hanning(14)[1:-1] if width else None
    both = []
    for m in (tn, torch):
        x = m.tensor(a, requires_grad=True)
        w = None if window is None else m.tensor(window)
        y = m.stft(x, 16, 4, width, w, center=center, return_complex=True)
        back = m.istft(y, 16, 4, width, w, center=center) if width is None or center else None
        loss = (y.abs() ** 2).sum() + (0 if back is None else (back**3).sum())
        (g,) = m.autograd.grad(loss, x)
        both.append((y, g) if back is None else (y, g, back))
    for found, expected in zip(*both, strict=True):
        close(found, expected, 1e-9)


WINDOWS = {
    "bartlett": [{}],
    "blackman": [{}],
    "cosine": [{}],
    "exponential": [{}, {"tau": 2.0}],
    "gaussian": [{}, {"std": 0.4}],
    "general_cosine": [{"a": [0.46, 0.23, 0.31]}],
    "general_hamming": [{}, {"alpha": 0.7}],
    "hamming": [{}],
    "hann": [{}],
    "kaiser": [{}, {"beta": 3.0}],
    "nuttall": [{}],
}


@pytest.mark.parametrize("name", list(WINDOWS))
def test_windows(name):
    for kwargs in WINDOWS[name]:
        for size in (0, 1, 2, 7, 8):
            for sym in (True, False):
                options = {**kwargs, "sym": sym}
                close(
                    getattr(tn.signal.windows, name)(size, dtype=tn.float64, **options),
                    getattr(torch.signal.windows, name)(size, dtype=torch.float64, **options),
                    1e-9,
                )


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "bartlett", "kaiser"])
def test_windows_of_the_first_kind(name):
    for size in (0, 1, 2, 7, 8):
        for periodic in (True, False):
            close(
                getattr(tn, f"{name}_window")(size, periodic),
                getattr(torch, f"{name}_window")(size, periodic),
                1e-6,
            )

"""Special functions against SciPy, in float64 and float32, with their derivatives."""

import numpy as np
import pytest

import tenon as tn

special = pytest.importorskip("scipy.special")

LINE = np.concatenate([np.linspace(-40, 40, 401), [-0.0, 1e-8, -1e-8, 7.999, 8.0, 8.001, 100.0]])
POSITIVE = np.concatenate([np.geomspace(1e-6, 100, 300), [2.0, 1.999, 8.0, 8.001, 600.0]])
PROBABILITIES = np.concatenate([np.linspace(0.001, 0.999, 300), np.geomspace(1e-300, 1e-3, 200)])
# Name here, function there, points, and the error allowed relative to the larger of 1 and value.
FUNCTIONS = {
    "i0e": (special.i0e, LINE, 4e-16),
    "i1e": (special.i1e, LINE, 4e-16),
    "i0": (special.i0, LINE, None),
    "i1": (special.i1, LINE, None),
    "modified_bessel_k0": (special.k0, POSITIVE, None),
    "modified_bessel_k1": (special.k1, POSITIVE, None),
    "scaled_modified_bessel_k0": (special.k0e, POSITIVE, None),
    "scaled_modified_bessel_k1": (special.k1e, POSITIVE, None),
    "bessel_j0": (special.j0, LINE, 4e-15),
    "bessel_j1": (special.j1, LINE, 4e-15),
    "bessel_y0": (special.y0, POSITIVE, 1e-14),
    "bessel_y1": (special.y1, POSITIVE, 1e-14),
    "spherical_bessel_j0": (lambda x: special.spherical_jn(0, x), LINE, 1e-15),
    "airy_ai": (lambda x: special.airy(x)[0], LINE, 3e-14),
    "erfcx": (special.erfcx, np.linspace(-5, 60, 400), None),
    "ndtr": (special.ndtr, LINE, None),
    "log_ndtr": (special.log_ndtr, LINE, None),
    "ndtri": (special.ndtri, PROBABILITIES, None),
    "entr": (special.entr, POSITIVE, None),
}  # fmt: skip


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_values(name):
    reference, points, absolute = FUNCTIONS[name]
    expected = reference(points)
    keep = np.isfinite(expected)
    found = getattr(tn.special, name)(tn.tensor(points)).numpy()
    tol = {"rtol": 2e-13, "atol": absolute or 1e-300}
    np.testing.assert_allclose(found[keep], expected[keep], **tol)
    single = points[keep & (np.abs(expected) < 1e37) & (np.abs(points) > 1e-30)].astype(np.float32)
    got = getattr(tn.special, name)(tn.tensor(single)).numpy().astype(np.float64)
    np.testing.assert_allclose(
        got, reference(single.astype(np.float64)), rtol=2e-5, atol=1e-5 if absolute else 1e-37
    )


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_derivatives(name):
    reference, points, _ = FUNCTIONS[name]
    inside = (np.abs(points) > 0.05) & (np.abs(points) < 6) & (np.abs(np.abs(points) - 2) > 0.01)
    points = points[inside & ((points > -4) if name == "erfcx" else True)]
    if name == "ndtri":
        points = points[(points > 0.06) & (points < 0.95)]
    x = tn.tensor(points, requires_grad=True)
    (g,) = tn.autograd.grad(getattr(tn.special, name)(x).sum(), x, create_graph=True)
    (h,) = tn.autograd.grad(g.sum(), x)
    step = 1e-4
    slope = (reference(points + step) - reference(points - step)) / (2 * step)
    curve = (reference(points + step) - 2 * reference(points) + reference(points - step)) / step**2
    scale = 1 + np.abs(reference(points)) + np.abs(slope) + np.abs(curve)
    assert np.max(np.abs(g.detach().numpy() - slope) / scale) < 1e-6
    assert np.max(np.abs(h.numpy() - curve) / scale) < 1e-5


ENDS = np.array([0.0, np.inf, -np.inf, np.nan, 1.0, -1.0])


@pytest.mark.parametrize(
    "name", [n for n in FUNCTIONS if n not in ("airy_ai", "spherical_bessel_j0")]
)
def test_ends(name):
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name][0](ENDS)
    np.testing.assert_allclose(
        getattr(tn.special, name)(tn.tensor(ENDS)).numpy(), expected, rtol=1e-12, atol=1e-15
    )


def test_zeta_and_polygamma():
    rng = np.random.default_rng(1)
    x, q = rng.uniform(1.05, 12, 300), rng.uniform(0.05, 30, 300)
    np.testing.assert_allclose(
        tn.special.zeta(tn.tensor(x), tn.tensor(q)).numpy(), special.zeta(x, q), rtol=1e-13
    )
    near = np.array([-1.5, -0.3, -3.7])
    t = pytest.importorskip("torch")
    for n in (2, 3):
        expected = t.special.zeta(t.tensor(float(n), dtype=t.float64), t.tensor(near)).numpy()
        found = tn.special.zeta(tn.tensor(float(n), dtype=tn.float64), tn.tensor(near)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-11)
        expected = t.special.polygamma(n, t.tensor(near)).numpy()
        np.testing.assert_allclose(
            tn.special.polygamma(n, tn.tensor(near)).numpy(), expected, rtol=1e-11
        )
    for n in (0, 1, 2, 5):
        found = tn.special.polygamma(n, tn.tensor(q)).numpy()
        np.testing.assert_allclose(found, special.polygamma(n, q), rtol=1e-11, atol=1e-13)
    y = tn.tensor(q, requires_grad=True)
    tn.special.polygamma(2, y).sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), special.polygamma(3, q), rtol=1e-9)
    np.testing.assert_allclose(
        tn.special.multigammaln(tn.tensor(q + 2), 3).numpy(),
        [special.multigammaln(v, 3) for v in q + 2],
        rtol=1e-12,
        atol=1e-12,
    )


def test_incomplete_gamma_functions():
    rng = np.random.default_rng(2)
    a, x = rng.uniform(0.05, 60, 400), rng.uniform(0.01, 80, 400)
    for name, reference in (("gammainc", special.gammainc), ("gammaincc", special.gammaincc)):
        found = getattr(tn.special, name)(tn.tensor(a), tn.tensor(x)).numpy()
        np.testing.assert_allclose(found, reference(a, x), rtol=2e-12, atol=1e-15)
    single = tn.special.gammainc(tn.tensor(a.astype("f")), tn.tensor(x.astype("f"))).numpy()
    np.testing.assert_allclose(single, special.gammainc(a, x), rtol=1e-5, atol=1e-6)
    p, y = tn.tensor(a[:50]), tn.tensor(x[:50], requires_grad=True)
    tn.special.gammainc(p, y).sum().backward()
    density = np.exp((a - 1) * np.log(x) - x - special.gammaln(a))[:50]
    np.testing.assert_allclose(y.grad.numpy(), density, rtol=1e-9, atol=1e-12)
    step = 1e-5
    slope = (special.gammainc(a + step, x) - special.gammainc(a - step, x))[:50] / (2 * step)
    _, tangent = tn.func.jvp(
        lambda v: tn.special.gammainc(v, y), (p.detach(),), (tn.ones(50).double(),)
    )
    np.testing.assert_allclose(tangent.detach().numpy(), slope, rtol=1e-6, atol=1e-8)
    (g,) = tn.autograd.grad(tn.special.gammaincc(p.detach(), y).sum(), y, create_graph=True)
    (h,) = tn.autograd.grad(g.sum(), y)
    np.testing.assert_allclose(h.numpy(), -density * ((a - 1) / x - 1)[:50], rtol=1e-8, atol=1e-12)
    looped = tn.func.vmap(tn.special.gammainc)(tn.tensor(a[:4]), tn.tensor(x[:4])).numpy()
    np.testing.assert_allclose(looped, special.gammainc(a[:4], x[:4]), rtol=1e-12)


POLYNOMIALS = {
    "chebyshev_polynomial_t": special.eval_chebyt,
    "chebyshev_polynomial_u": special.eval_chebyu,
    "hermite_polynomial_h": special.eval_hermite,
    "hermite_polynomial_he": special.eval_hermitenorm,
    "laguerre_polynomial_l": special.eval_laguerre,
    "legendre_polynomial_p": special.eval_legendre,
    "shifted_chebyshev_polynomial_t": special.eval_sh_chebyt,
    "shifted_chebyshev_polynomial_u": special.eval_sh_chebyu,
}


@pytest.mark.parametrize("name", list(POLYNOMIALS))
def test_polynomials(name):
    x = np.linspace(-2, 2, 41)
    n = np.arange(41) % 9
    f = getattr(tn.special, name)
    np.testing.assert_allclose(
        f(tn.tensor(x), tn.tensor(n)).numpy(), POLYNOMIALS[name](n, x), rtol=1e-10, atol=1e-10
    )
    np.testing.assert_allclose(
        f(tn.tensor(x), 7).numpy(), POLYNOMIALS[name](7, x), rtol=1e-10, atol=1e-10
    )


def test_names_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    for theirs, ours in (
        (torch.special, tn.special),
        (torch.linalg, tn.linalg),
        (torch.fft, tn.fft),
        (torch.signal.windows, tn.signal.windows),
    ):
        own = (n for n in dir(theirs) if callable(getattr(theirs, n)) and not n.startswith("_"))
        missing = [n for n in own if n not in ("Tensor",) and not hasattr(ours, n)]
        assert missing == [n for n in ("ldl_factor", "ldl_factor_ex", "ldl_solve") if n in missing]

"""Linear algebra against PyTorch; what has no one right answer, by what it must satisfy."""

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")

DTYPES = ("float32", "float64", "complex64", "complex128")


def matrices(*shape, dtype="float64", seed=0):
    rng = np.random.default_rng([seed, *shape])
    a = rng.normal(size=shape)
    if dtype.startswith("complex"):
        a = a + 1j * rng.normal(size=shape)
    return a.astype(dtype)


def hermitian(n, *batch, dtype="float64", definite=False):
    a = matrices(*batch, n, n, dtype=dtype)
    h = a @ a.conj().swapaxes(-1, -2) + n * np.eye(n) if definite else a + a.conj().swapaxes(-1, -2)
    return h.astype(dtype)


def tolerance(dtype):
    return 2e-4 if dtype in ("float32", "complex64") else 1e-9


def close(a, b, tol=1e-9):
    a = a.detach().numpy() if hasattr(a, "detach") else a
    b = b.detach().resolve_conj().numpy() if isinstance(b, torch.Tensor) else b
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


SHAPES = [(3, 3), (2, 4, 4), (5, 3), (2, 3, 5), (1, 1), (0, 3, 3), (2, 0, 3), (2, 3, 0), (0, 0)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("full", [False, True])
def test_svd(dtype, shape, full):
    a = matrices(*shape, dtype=dtype)
    u, s, vh = tn.linalg.svd(tn.tensor(a), full_matrices=full)
    expected = torch.linalg.svd(torch.tensor(a), full_matrices=full)
    for x, y in zip((u, s, vh), expected, strict=True):
        assert tuple(x.shape) == tuple(y.shape)
        assert str(x.dtype).split(".")[1] == str(y.dtype).split(".")[1]
    tol = tolerance(dtype)
    close(s, expected[1], tol)
    close(tn.linalg.svdvals(tn.tensor(a)), expected[1], tol)
    u, s, vh = u.numpy(), s.numpy(), vh.numpy()
    k = s.shape[-1]
    close((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], a, tol)
    close(
        u.conj().swapaxes(-1, -2) @ u,
        np.broadcast_to(np.eye(u.shape[-1]), (*shape[:-2], *(u.shape[-1],) * 2)),
        tol,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 4, 0])
def test_eigenvalues(dtype, n):
    tol = tolerance(dtype)
    h = hermitian(n, 2, dtype=dtype)
    for uplo in "LU":
        kept = np.tril(h) if uplo == "L" else np.triu(h)
        w, v = tn.linalg.eigh(tn.tensor(kept), uplo)
        close(w, torch.linalg.eigvalsh(torch.tensor(kept), UPLO=uplo), tol)
        close(tn.linalg.eigvalsh(tn.tensor(kept), UPLO=uplo), w.numpy(), tol)
        close(h @ v.numpy(), v.numpy() * w.numpy()[..., None, :], 10 * tol)
    a = matrices(2, n, n, dtype=dtype)
    w, v = tn.linalg.eig(tn.tensor(a))
    expected = torch.linalg.eig(torch.tensor(a))
    assert str(w.dtype).split(".")[1] == str(expected[0].dtype).split(".")[1]
    close(a @ v.numpy(), v.numpy() * w.numpy()[..., None, :], 10 * tol)
    close(np.linalg.norm(v.numpy(), axis=-2), np.ones((2, n)), tol)
    sort = lambda z: np.sort_complex(np.round(z, 3))  # noqa: E731
    close(sort(tn.linalg.eigvals(tn.tensor(a)).numpy()), sort(expected[0].numpy()), 2e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_solutions(dtype):
    tol = tolerance(dtype)
    a, b = matrices(2, 4, 4, dtype=dtype), matrices(2, 4, 3, dtype=dtype, seed=1)
    h = hermitian(4, 2, dtype=dtype, definite=True)
    for m, t in ((tn, torch),):
        x, y, p = m.tensor(a), m.tensor(b), m.tensor(h)
        u, v, q = t.tensor(a), t.tensor(b), t.tensor(h)
        close(m.linalg.solve(x, y), t.linalg.solve(u, v), tol)
        close(m.linalg.solve(x, y.mT, left=False), t.linalg.solve(u, v.mT, left=False), tol)
        close(m.linalg.inv(x.mT), t.linalg.inv(u.mT), tol)
        close(m.linalg.det(x), t.linalg.det(u), tol)
        for f, g in zip(m.linalg.slogdet(x), t.linalg.slogdet(u), strict=True):
            close(f, g, tol)
        close(m.logdet(p), t.logdet(q), tol)
        close(m.linalg.cholesky(p), t.linalg.cholesky(q), tol)
        close(m.linalg.cholesky(p, upper=True), t.linalg.cholesky(q, upper=True), tol)
        close(
            m.cholesky_solve(y, m.linalg.cholesky(p)),
            t.cholesky_solve(v, t.linalg.cholesky(q)),
            tol,
        )
        close(
            m.cholesky_inverse(m.linalg.cholesky(p)), t.cholesky_inverse(t.linalg.cholesky(q)), tol
        )
        for f, g in zip(m.linalg.lu(x), t.linalg.lu(u), strict=True):
            close(f, g, tol)
        f, g = m.linalg.lu_factor(x), t.linalg.lu_factor(u)
        np.testing.assert_array_equal(f[1].numpy(), g[1].numpy())
        for left in (True, False):
            for adjoint in (True, False):
                rhs, their = (y, v) if left else (y.mT, v.mT)
                close(
                    m.linalg.lu_solve(*f, rhs, left=left, adjoint=adjoint),
                    t.linalg.lu_solve(*g, their, left=left, adjoint=adjoint),
                    tol,
                )
        for upper in (True, False):
            close(
                m.linalg.solve_triangular(x, y, upper=upper),
                t.linalg.solve_triangular(u, v, upper=upper),
                tol,
            )
        close(m.linalg.matrix_exp(x), t.linalg.matrix_exp(u), 20 * tol)
        close(
            m.linalg.matrix_exp(8 * x), t.linalg.matrix_exp(8 * u), np.inf if tol > 1e-5 else 1e-3
        )
        close(m.linalg.matrix_power(x, -3), t.linalg.matrix_power(u, -3), 10 * tol)
        close(m.linalg.pinv(x[:, :, :2]), t.linalg.pinv(u[:, :, :2]), 10 * tol)
        close(m.linalg.pinv(p, hermitian=True), t.linalg.pinv(q, hermitian=True), 10 * tol)
        close(m.linalg.cond(x), t.linalg.cond(u), 10 * tol)
        for order in (1, -1, 2, -2, "fro", "nuc", float("inf"), -float("inf")):
            close(m.linalg.cond(x, order), t.linalg.cond(u, order), 20 * tol)
            close(m.linalg.matrix_norm(x, order), t.linalg.matrix_norm(u, order), tol)
            close(m.linalg.norm(x, order, dim=(2, 0)), t.linalg.norm(u, order, dim=(2, 0)), tol)
        for f, g in zip(m.linalg.qr(x[:, :, :2]), t.linalg.qr(u[:, :, :2]), strict=True):
            close(f, g, tol)
        geqrf, theirs = m.geqrf(x[:, :, :3]), t.geqrf(u[:, :, :3])
        close(m.linalg.householder_product(*geqrf), t.linalg.householder_product(*theirs), tol)
        for left in (True, False):
            for transpose in (True, False):
                rhs, their = (y, v) if left else (y.mT, v.mT)
                close(
                    m.ormqr(*geqrf, rhs, left, transpose),
                    t.ormqr(*theirs, their, left, transpose),
                    tol,
                )


def test_least_squares():
    for shape, driver in (((6, 3), None), ((6, 3), "gels"), ((6, 3), "gelsd"), ((3, 6), "gelsy")):
        a, b = matrices(2, *shape), matrices(2, shape[0], 2, seed=1)
        found = tn.linalg.lstsq(tn.tensor(a), tn.tensor(b), driver=driver)
        expected = torch.linalg.lstsq(torch.tensor(a), torch.tensor(b), driver=driver)
        for x, y in zip(found, expected, strict=True):
            assert tuple(x.shape) == tuple(y.shape)
            close(x, y)
    deficient = np.ones((4, 2))
    found = tn.linalg.lstsq(tn.tensor(deficient), tn.tensor(matrices(4, 1)))
    assert found.rank.item() == 1 and found.residuals.numel() == 0


def test_errors_of_data_name_the_matrix_and_the_line():
    good = np.eye(2)
    bad = np.stack([good, -good, good])
    cases = (
        (lambda m, x: m.linalg.cholesky(x), bad, "positive-definite"),
        (lambda m, x: m.linalg.inv(x), bad * [[[1.0]], [[0.0]], [[1.0]]], "singular"),
        (
            lambda m, x: m.linalg.solve(x, m.ones(2, 1, dtype=m.float64)),
            bad * [[[1.0]], [[0.0]], [[1.0]]],
            "singular",
        ),
        (lambda m, x: m.linalg.lu_factor(x)[0], bad * [[[1.0]], [[0.0]], [[1.0]]], "zero"),
        (lambda m, x: m.linalg.svdvals(x), bad * [[[1.0]], [[np.nan]], [[1.0]]], "converge"),
    )
    for f, values, words in cases:
        with pytest.raises(RuntimeError, match=words):
            f(torch, torch.tensor(values))
        result = f(tn, tn.tensor(values))
        with pytest.raises(tn.linalg.LinAlgError, match=words) as caught:
            tn.eval(result)
        assert "Batch element 1" in str(caught.value)
        assert "test_linalg.py" in str(caught.value)
    assert issubclass(tn.linalg.LinAlgError, RuntimeError)
    assert tn.linalg.cholesky_ex(tn.tensor(bad)).info.tolist() == [0, 1, 0]
    assert tn.linalg.inv_ex(tn.tensor(bad * 0)).info.tolist() == [1, 1, 1]
    with pytest.raises(tn.linalg.LinAlgError):
        tn.eval(tn.linalg.cholesky_ex(tn.tensor(bad), check_errors=True).L)


def test_bad_shapes_and_dtypes():
    for m, error in ((tn, RuntimeError), (torch, RuntimeError)):
        for dtype in (m.float16, m.bfloat16, m.int64):
            with pytest.raises(error):
                m.linalg.inv(m.ones(2, 2, dtype=dtype))
        with pytest.raises(error):
            m.linalg.solve(m.ones(2, 2), m.ones(3, 1))


# Functions whose derivative is determined: of symmetric input where one triangle is read.


def identity(m, a):
    return m.eye(4, dtype=a.dtype)


def cubes(m, a, *args):
    return sum((x.abs() ** 3).sum() for x in m.linalg.svd(a, *args))


DERIVATIVES = {
    "solve": lambda m, a, b: m.linalg.solve(a, b),
    "inv": lambda m, a, b: m.linalg.inv(a),
    "det": lambda m, a, b: m.linalg.det(a),
    "slogdet": lambda m, a, b: m.linalg.slogdet(a)[1],
    "lu": lambda m, a, b: sum((x**2).sum() for x in m.linalg.lu(a)[1:]),
    "lu tall": lambda m, a, b: sum(x.sum() for x in m.linalg.lu(a[..., :3])[1:]),
    "lu wide": lambda m, a, b: sum((x * x).sum() for x in m.linalg.lu(a[..., :3, :])[1:]),
    "lu_solve": lambda m, a, b: m.linalg.lu_solve(*m.linalg.lu_factor(a), b),
    "qr": lambda m, a, b: sum((x**3).sum() for x in m.linalg.qr(a)),
    "qr tall": lambda m, a, b: sum((x**3).sum() for x in m.linalg.qr(a[..., :3])),
    "qr wide": lambda m, a, b: sum((x**3).sum() for x in m.linalg.qr(a[..., :3, :])),
    "cholesky": lambda m, a, b: m.linalg.cholesky(a @ a.mH + identity(m, a)),
    "cholesky upper": lambda m, a, b: m.linalg.cholesky(a @ a.mH + identity(m, a), upper=True),
    "cholesky_solve": lambda m, a, b: m.cholesky_solve(b, a.tril()),
    "triangular": lambda m, a, b: m.linalg.solve_triangular(a, b, upper=False),
    "unit triangular": lambda m, a, b: m.linalg.solve_triangular(
        a, b, upper=True, unitriangular=True
    ),
    "triangular right": lambda m, a, b: m.linalg.solve_triangular(a, b.mT, upper=True, left=False),
    "eigvalsh": lambda m, a, b: m.linalg.eigvalsh(a + a.mH),
    "eigh": lambda m, a, b: m.linalg.eigh(a + a.mH)[1].abs() ** 3,
    "eigh upper": lambda m, a, b: m.linalg.eigh(a @ a.mH, "U")[1].abs() ** 3,
    "eigvals": lambda m, a, b: m.linalg.eigvals(a).abs().sum(),
    "eig": lambda m, a, b: (m.linalg.eig(a)[1].abs() ** 3).sum(),
    "svdvals": lambda m, a, b: m.linalg.svdvals(a),
    "svd": lambda m, a, b: cubes(m, a),
    "svd tall": lambda m, a, b: cubes(m, a[..., :3], False),
    "svd wide": lambda m, a, b: cubes(m, a[..., :3, :], False),
    "pinv": lambda m, a, b: m.linalg.pinv(a[..., :3]),
    "nuclear": lambda m, a, b: m.linalg.matrix_norm(a, "nuc") + m.linalg.matrix_norm(a, 2),
    "matrix_exp": lambda m, a, b: m.linalg.matrix_exp(a),
    "matrix_power": lambda m, a, b: m.linalg.matrix_power(a, 3),
    "householder": lambda m, a, b: m.linalg.householder_product(a[..., :3] / 4, b[..., :3, 0] / 4),
    "multi_dot": lambda m, a, b: m.linalg.multi_dot([a[0], b[0], b[0].mT]),
    "cross": lambda m, a, b: m.linalg.cross(a[..., :3], b),
    "cond": lambda m, a, b: m.linalg.cond(a),
    "lstsq": lambda m, a, b: m.linalg.lstsq(a[..., :3], b, driver="gels").solution,
    "tensorsolve": lambda m, a, b: m.linalg.tensorsolve(
        a[0].reshape(2, 2, 4), b[0, :, 0].reshape(2, 2)
    ),
}


def real_loss(y):
    return (y.abs() ** 2).sum()


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", list(DERIVATIVES))
def test_derivatives(name, dtype):
    f = DERIVATIVES[name]
    if name == "lstsq" and dtype == "complex128":
        pytest.skip("PyTorch's takes another path")
    a, b = matrices(2, 4, 4, dtype=dtype), matrices(2, 4, 3, dtype=dtype, seed=1)
    grads, seconds = [], []
    for m in (tn, torch):
        x, y = m.tensor(a, requires_grad=True), m.tensor(b, requires_grad=True)
        first = m.autograd.grad(real_loss(f(m, x, y)), (x, y), create_graph=True, allow_unused=True)
        grads.append([g for g in first if g is not None])
        weighted = sum(real_loss(g) for g in grads[-1])
        second = m.autograd.grad(weighted, (x, y), allow_unused=True)
        seconds.append([g for g in second if g is not None])
    for found, expected in zip(grads[0] + seconds[0], grads[1] + seconds[1], strict=True):
        scale = float(expected.detach().abs().max()) or 1
        close(found / scale, expected / scale, 1e-6)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", [n for n in DERIVATIVES if n != "lstsq"])
def test_forward_mode_and_batching(name, dtype):
    f = DERIVATIVES[name]
    a, b = (
        tn.tensor(matrices(2, 4, 4, dtype=dtype)),
        tn.tensor(matrices(2, 4, 3, dtype=dtype, seed=1)),
    )
    u = tn.tensor(matrices(2, 4, 4, dtype=dtype, seed=5))
    loss = lambda x, y: real_loss(f(tn, x, y))  # noqa: E731
    _, tangent = tn.func.jvp(lambda x: loss(x, b), (a,), (u,))
    gradient = tn.func.grad(loss)(a, b)
    expected = (gradient.conj() * u).real.sum() if dtype == "complex128" else (gradient * u).sum()
    assert tangent.item() == pytest.approx(expected.item(), rel=1e-7, abs=1e-7)
    stacks = tn.stack([a, a + 0.1 * u]), tn.stack([b, 2 * b])
    found = tn.func.vmap(tn.func.grad(loss))(*stacks)
    looped = [tn.func.grad(loss)(x, y).numpy() for x, y in zip(*stacks, strict=True)]
    close(found, np.stack(looped), 1e-7)


def test_gradient_of_a_singular_determinant():
    a = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])
    x = tn.tensor(a, requires_grad=True)
    tn.linalg.det(x).backward()
    cofactors = [[4, 4, -4], [-2, -2, 2], [0, 0, 0]]
    close(x.grad, np.array(cofactors, dtype=np.float64), 1e-9)


def test_results_do_not_depend_on_who_asks():
    a = tn.tensor(matrices(40, 30))
    alone = tn.linalg.svd(a, full_matrices=False)[1].numpy()
    u, s, vh = tn.linalg.svd(a, full_matrices=False)
    tn.eval(u, s, vh)
    np.testing.assert_array_equal(s.numpy(), alone)


def test_equal_bits_for_any_number_of_threads():
    a = tn.tensor(matrices(50, 6, 6))
    before = tn.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            tn.set_num_threads(threads)
            results.append((tn.linalg.inv(a) @ tn.linalg.eigvals(a).real[..., None]).numpy())
    finally:
        tn.set_num_threads(before)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])

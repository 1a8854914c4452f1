"""Functions that are programs in Python: histograms, segment reductions, low-rank factors."""

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")


def array(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def both(x):
    return tn.tensor(np.asarray(x)), torch.tensor(np.asarray(x))


def same(found, expected, tolerance=1e-6):
    a, b = found.detach().numpy(), expected.detach().numpy()
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# ---- histograms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("limits", [None, (-1.0, 2.0), (0.5, 0.5)])
def test_histogram_is_pytorchs(density, limits):
    x, t = both(array(0, 4, 25))
    w, v = both(np.abs(array(1, 4, 25)))
    for mine, theirs in (({}, {}), ({"weight": w}, {"weight": v})):
        found = tn.histogram(x, 7, range=limits, density=density, **mine)
        expected = torch.histogram(t, 7, range=limits, density=density, **theirs)
        same(found.hist, expected.hist)
        same(found.bin_edges, expected.bin_edges)


def test_histogram_by_edges_of_nothing_and_of_one_number():
    x, t = both(np.array([0.0, 1.0, 2.0, 2.5, 3.0, np.nan, -1.0]))
    edges = np.array([0.0, 1.0, 2.5, 3.0])
    same(tn.histogram(x, tn.tensor(edges)).hist, torch.histogram(t, torch.tensor(edges)).hist)
    same(tn.histogram(tn.ones(3), 2).bin_edges, torch.histogram(torch.ones(3), 2).bin_edges)
    same(tn.histogram(tn.ones(0), 2).hist, torch.histogram(torch.ones(0), 2).hist)
    hist, places = tn.empty(2), tn.empty(3)
    assert tn.histogram(tn.ones(3), 2, out=(hist, places)).hist is hist
    assert hist.tolist() == [0, 3]


def test_histogram_of_rows():
    x, t = both(array(2, 50, 2))
    found = tn.histogramdd(x, (3, 4), range=(-1.0, 1.0, -2.0, 2.0), density=True)
    expected = torch.histogramdd(t, (3, 4), range=(-1.0, 1.0, -2.0, 2.0), density=True)
    same(found.hist, expected.hist)
    for a, b in zip(found.bin_edges, expected.bin_edges, strict=True):
        same(a, b)
    edges = [np.array([-1.0, 0.0, 2.0]), np.array([-3.0, 3.0])]
    mine, theirs = ([make(e) for e in edges] for make in (tn.tensor, torch.tensor))
    same(tn.histogramdd(x, mine).hist, torch.histogramdd(t, theirs).hist)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda p: p.histogram(p.tensor([1, 2]), 3), NotImplementedError),
        (lambda p: p.histogram(p.ones(3), 0), RuntimeError),
        (lambda p: p.histogram(p.ones(3), 2, range=(1.0, 0.0)), RuntimeError),
        (lambda p: p.histogram(p.tensor([float("inf")]), 2), RuntimeError),
        (lambda p: p.histogram(p.ones(3), 2, weight=p.ones(2)), RuntimeError),
        (lambda p: p.histogramdd(p.ones(3, 2), (2, 2, 2)), RuntimeError),
        (lambda p: p.histogramdd(p.ones(3), 2), RuntimeError),
    ],
)
def test_wrong_histograms(call, error):
    for package in (torch, tn):
        with pytest.raises(error):
            call(package)


# ---- segments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min", "prod"])
@pytest.mark.parametrize("initial", [None, 2.0])
def test_segments_are_pytorchs(reduce, initial):
    x, t = both(array(3, 6, 3))
    x.requires_grad_(), t.requires_grad_()
    lengths = np.array([2, 0, 1, 3])
    found = tn.segment_reduce(x, reduce, lengths=tn.tensor(lengths), initial=initial)
    expected = torch.segment_reduce(t, reduce, lengths=torch.tensor(lengths), initial=initial)
    same(found, expected)
    same(
        *(p.autograd.grad(y[2:].sum(), z)[0] for p, y, z in ((tn, found, x), (torch, expected, t)))
    )
    offsets = np.array([0, 2, 2, 3, 6])
    same(tn.segment_reduce(x, reduce, offsets=tn.tensor(offsets), initial=initial), expected)


def test_segments_of_rows_of_other_lengths():
    x, t = both(array(4, 2, 5))
    lengths = np.array([[1, 4], [5, 0]])
    for reduce in ("sum", "max"):
        same(
            tn.segment_reduce(x, reduce, lengths=tn.tensor(lengths), axis=1),
            torch.segment_reduce(t, reduce, lengths=torch.tensor(lengths), axis=1),
        )


def test_wrong_segments():
    x = tn.ones(4)
    for lengths in ([1, 2], [5, -1]):
        with pytest.raises(RuntimeError):
            tn.segment_reduce(x, "sum", lengths=tn.tensor(lengths))
    with pytest.raises(RuntimeError):
        tn.segment_reduce(x, "sum")
    with pytest.raises(ValueError):
        tn.segment_reduce(x, "median", lengths=tn.tensor([4]))


# ---- low rank ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(12, 7), (7, 12), (2, 9, 6)])
def test_low_rank_factors_give_back_what_is_of_low_rank(shape):
    a = array(5, *shape[:-1], 3) @ array(6, *shape[:-2], 3, shape[-1])
    U, S, V = tn.svd_lowrank(tn.tensor(a), q=4)
    np.testing.assert_allclose(((U * S.unsqueeze(-2)) @ V.mT).numpy(), a, atol=1e-10)
    np.testing.assert_allclose(
        S.numpy()[..., :3], np.linalg.svd(a, compute_uv=False)[..., :3], rtol=1e-8
    )
    mean = a.mean(-2, keepdims=True)
    U, S, V = tn.pca_lowrank(tn.tensor(a))
    np.testing.assert_allclose(((U * S.unsqueeze(-2)) @ V.mT).numpy(), a - mean, atol=1e-10)
    with pytest.raises(ValueError):
        tn.pca_lowrank(tn.tensor(a), q=50)


# ---- pseudo-inverses of constant rank ------------------------------------------------------------


def test_a_pseudo_inverse_has_all_its_derivatives():
    f, g = array(7, 5, 2), array(8, 2, 4)

    def pinv(package, x, y):
        return package.linalg.pinv(x @ y, rtol=1e-8)

    results = []
    for package in (tn, torch):
        x, y = (package.tensor(v).requires_grad_() for v in (f, g))
        first = package.autograd.grad(pinv(package, x, y).square().sum(), (x, y), create_graph=True)
        second = package.autograd.grad(sum(z.square().sum() for z in first), (x, y))
        results.append([*first, *second])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-7, atol=1e-9)


# ---- orders of polynomials -----------------------------------------------------------------------


def test_orders_may_differ_by_example():
    x, n = array(9, 4), np.array([0.0, 3.0, 7.0, -1.0])
    for name in ("hermite_polynomial_h", "legendre_polynomial_p", "laguerre_polynomial_l"):
        found = tn.func.vmap(getattr(tn.special, name))(tn.tensor(x), tn.tensor(n))
        same(found, getattr(torch.special, name)(torch.tensor(x), torch.tensor(n)), 1e-9)


# ---- numbers taken apart -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_numbers_taken_apart_and_neighbours(dtype):
    largest = torch.finfo(getattr(torch, dtype)).max
    values = [0.0, -0.0, 1.0, 8.0, -0.3, largest, 1e-40, 2.0**-24, float("inf"), float("nan")]
    x, t = (p.tensor(values, dtype=getattr(p, dtype)) for p in (tn, torch))
    for a, b in zip(tn.frexp(x), torch.frexp(t), strict=True):
        np.testing.assert_array_equal(a.double().numpy(), b.double().numpy())
    for y in (0.0, 1.0, -float("inf"), float("inf"), float("nan")):
        found = tn.nextafter(x, tn.full_like(x, y)).double().numpy()
        np.testing.assert_array_equal(found, torch.nextafter(t, torch.full_like(t, y)).double())


# ---- indices and receivers -----------------------------------------------------------------------


def test_an_index_out_of_bounds_is_both_errors():
    for error in (IndexError, RuntimeError, tn.IndexError):
        with pytest.raises(error):
            tn.ones(3).gather(0, tn.tensor([5])).tolist()


def test_a_receiver_shares_no_part_of_an_operand():
    x = tn.arange(6.0)
    assert tn.add(x, 1, out=x) is x
    for call in (
        lambda: tn.add(x[:5], 1, out=x[1:]),
        lambda: tn.add(x, 1, out=tn.zeros(1).expand(6)),
        lambda: tn.gather(x, 0, tn.arange(6), out=x),
        lambda: tn.cat([x[:3], x[3:]], out=x),
        lambda: tn.masked_select(x, x > 0, out=x),
    ):
        with pytest.raises(RuntimeError, match="single memory location"):
            call()
    assert tn.gather(x[:3], 0, tn.arange(3), out=x[3:]).tolist() == [1, 2, 3]


def test_none_leaves_an_extent_of_adaptive_pooling():
    x, t = both(array(10, 2, 3, 6, 5))
    for name in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        mine, theirs = getattr(tn.nn.functional, name), getattr(torch.nn.functional, name)
        for size in ((None, 2), (3, None), (None, None)):
            same(mine(x, size), theirs(t, size))
    assert tn.nn.AdaptiveAvgPool2d((None, 2))(x).shape == (2, 3, 6, 2)

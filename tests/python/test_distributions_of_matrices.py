"""Distributions whose parameters or values are matrices, against PyTorch's."""

import itertools

import numpy as np
import pytest

import tenon as tn
import tenon.distributions as D

torch = pytest.importorskip("torch")
TD = torch.distributions
RNG = np.random.default_rng(0)


def positive_definite(*shape):
    x = RNG.standard_normal(shape)
    return (x @ np.swapaxes(x, -1, -2) + 2 * np.eye(shape[-1])).astype(np.float32)


COVARIANCE = positive_definite(2, 3, 3)
ONE = positive_definite(3, 3)
LOC = RNG.standard_normal((2, 3)).astype(np.float32)
FACTOR = RNG.standard_normal((2, 3, 2)).astype(np.float32)
DIAGONAL = RNG.uniform(0.5, 2, (2, 3)).astype(np.float32)
TRIL = np.linalg.cholesky(COVARIANCE)
DF = np.array([4.0, 6.5], dtype=np.float32)
CASES = [
    ("MultivariateNormal", {"loc": LOC, "covariance_matrix": COVARIANCE}),
    ("MultivariateNormal", {"loc": LOC, "precision_matrix": COVARIANCE}),
    ("MultivariateNormal", {"loc": LOC, "scale_tril": TRIL}),
    ("MultivariateNormal", {"loc": LOC, "covariance_matrix": ONE}),
    ("LowRankMultivariateNormal", {"loc": LOC, "cov_factor": FACTOR, "cov_diag": DIAGONAL}),
    ("Wishart", {"df": DF, "covariance_matrix": COVARIANCE}),
    ("Wishart", {"df": DF, "precision_matrix": COVARIANCE}),
    ("Wishart", {"df": DF, "scale_tril": TRIL}),
    ("LKJCholesky", {"dim": 3, "concentration": np.array([0.5, 2.0], dtype=np.float32)}),
]
CASES_BY_ID = pytest.mark.parametrize(
    ("name", "params"), CASES, ids=[f"{n}-{'-'.join(p)}-{i}" for i, (n, p) in enumerate(CASES)]
)


def pair(name, params):
    made = []
    for package, distributions in ((tn, D), (torch, TD)):
        given = {
            k: package.tensor(v) if isinstance(v, np.ndarray) else v for k, v in params.items()
        }
        made.append(getattr(distributions, name)(**given))
    return made


def close(found, expected, tolerance=1e-3):
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_allclose(
        found.detach().numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance
    )


@CASES_BY_ID
def test_moments_and_densities(name, params):
    ours, theirs = pair(name, params)
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    assert tuple(ours.event_shape) == tuple(theirs.event_shape)
    assert repr(ours) == repr(theirs).replace("torch.Size", "tenon.Size")
    names = ["mean", "mode", "variance", "covariance_matrix", "precision_matrix", "scale_tril"]
    for what in [] if name == "LKJCholesky" else names:
        close(getattr(ours, what), getattr(theirs, what))
    if name != "LKJCholesky":
        close(ours.entropy(), theirs.entropy())
    torch.manual_seed(0)
    sample = theirs.sample((4,))
    close(ours.log_prob(tn.tensor(sample.numpy())), theirs.log_prob(sample))
    close(
        ours.expand((4, 2)).log_prob(tn.tensor(sample.numpy())),
        theirs.expand((4, 2)).log_prob(sample),
    )


@CASES_BY_ID
def test_samples(name, params):
    tn.manual_seed(0)
    ours, theirs = pair(name, params)
    sample = ours.sample((3000,))
    assert tuple(sample.shape) == (3000, *theirs.batch_shape, *theirs.event_shape)
    assert bool(ours.support.check(sample[:50]).all())
    if name == "LKJCholesky":
        correlation = sample @ sample.transpose(-2, -1)
        torch.manual_seed(0)
        other = theirs.sample((3000,))
        other = other @ other.transpose(-2, -1)
        np.testing.assert_allclose(
            correlation.square().mean(0).numpy(), other.square().mean(0).numpy(), atol=0.03
        )
        return
    error = (sample.mean(0) - tn.tensor(theirs.mean.numpy())).abs()
    assert bool((error < 6 * tn.tensor(theirs.variance.numpy()).sqrt() / 3000**0.5).all())
    spread = sample.var(0) / tn.tensor(theirs.variance.numpy())
    assert bool(((spread - 1).abs() < 0.35).all())


def test_divergences():
    normals = [CASES[0], CASES[3], CASES[4]]
    for (a, x), (b, y) in itertools.product(normals, normals):
        y = {**y, "loc": y["loc"] + 0.5}
        p, q = pair(a, x), pair(b, y)
        close(D.kl_divergence(p[0], q[0]), TD.kl_divergence(p[1], q[1]))


def test_gradients_of_a_covariance():
    results = []
    for package, distributions in ((tn, D), (torch, TD)):
        matrix = package.tensor(ONE.astype(np.float64), requires_grad=True)
        d = distributions.MultivariateNormal(package.zeros(3, dtype=package.float64), matrix)
        x = package.tensor(LOC.astype(np.float64))
        (d.log_prob(x).sum() + d.entropy()).backward()
        results.append(matrix.grad.numpy())
    # Only the symmetric part of the derivative by a symmetric matrix is defined.
    a, b = (g + g.T for g in results)
    np.testing.assert_allclose(a, b, rtol=1e-8)


def test_incomplete_gamma_functions_of_distributions():
    value = np.array([0.5, 2.0], dtype=np.float32)
    for name, arguments in (("Gamma", (2.0, 1.5)), ("Chi2", (3.0,))):
        given = [np.full(2, a, dtype=np.float32) for a in arguments]
        ours = getattr(D, name)(*map(tn.tensor, given)).cdf(tn.tensor(value))
        theirs = getattr(TD, name)(*map(torch.tensor, given)).cdf(torch.tensor(value))
        close(ours, theirs, 1e-5)


def test_positive_definite_constraints():
    from tenon.distributions import constraints

    for name in ("positive_definite", "positive_semidefinite", "symmetric", "lower_cholesky"):
        ours, theirs = getattr(constraints, name), getattr(TD.constraints, name)
        for x in (COVARIANCE, -COVARIANCE, TRIL):
            assert ours.check(tn.tensor(x)).tolist() == theirs.check(torch.tensor(x)).tolist()
    x = tn.tensor(RNG.standard_normal((2, 3, 3)).astype(np.float32))
    y = D.transform_to(constraints.positive_definite)(x)
    assert bool(constraints.positive_definite.check(y).all())


def test_bad_arguments():
    with pytest.raises(ValueError, match="Exactly one"):
        D.MultivariateNormal(tn.zeros(3))
    with pytest.raises(ValueError):
        D.MultivariateNormal(tn.zeros(3), -tn.eye(3))
    with pytest.raises(ValueError):
        D.Wishart(tn.tensor(1.5), tn.eye(3))
    with pytest.raises(ValueError):
        D.LKJCholesky(1)
    with pytest.raises(ValueError):
        D.LowRankMultivariateNormal(tn.zeros(3), tn.zeros(2, 1), tn.ones(3))

"""tenon.distributions against torch.distributions, SciPy and mathematics."""

import itertools
import math
import warnings

import numpy as np
import pytest

import tenon as tn
import tenon.distributions as D

torch = pytest.importorskip("torch")
stats = pytest.importorskip("scipy.stats")
TD = torch.distributions


def t(*values):
    """A parameter: made a tensor of each package."""
    return np.array(values if len(values) > 1 else values[0], dtype=np.float32)


SIMPLEX = t([0.2, 0.5, 0.3], [0.1, 0.1, 0.8])

# name, parameters
CASES = [
    ("Bernoulli", {"probs": t(0.3, 0.7)}),
    ("Bernoulli", {"logits": t(-1.0, 2.0)}),
    ("Beta", {"concentration1": t(0.5, 2.0), "concentration0": t(3.0, 0.7)}),
    ("Binomial", {"total_count": 5, "probs": t(0.3, 0.6)}),
    ("Binomial", {"total_count": t(40.0, 3.0), "logits": t(0.3, -1.0)}),
    ("Categorical", {"probs": SIMPLEX}),
    ("Categorical", {"logits": SIMPLEX}),
    ("Cauchy", {"loc": t(0.5, -1.0), "scale": t(1.0, 2.0)}),
    ("Chi2", {"df": t(2.0, 5.5)}),
    ("ContinuousBernoulli", {"probs": t(0.2, 0.5)}),
    ("ContinuousBernoulli", {"logits": t(-3.0, 1.0)}),
    ("Dirichlet", {"concentration": t([0.5, 2.0, 3.0], [1.5, 2.5, 0.7])}),
    ("Exponential", {"rate": t(0.5, 3.0)}),
    ("FisherSnedecor", {"df1": t(3.0, 5.0), "df2": t(6.0, 9.0)}),
    ("Gamma", {"concentration": t(0.5, 4.0), "rate": t(1.0, 2.0)}),
    (
        "GeneralizedPareto",
        {"loc": t(0.0, 1.0), "scale": t(1.0, 2.0), "concentration": t(0.2, -0.4)},
    ),
    ("Geometric", {"probs": t(0.2, 0.6)}),
    ("Geometric", {"logits": t(-0.5, 1.0)}),
    ("Gumbel", {"loc": t(0.0, 2.0), "scale": t(1.0, 3.0)}),
    ("HalfCauchy", {"scale": t(1.0, 2.0)}),
    ("HalfNormal", {"scale": t(1.0, 2.0)}),
    ("InverseGamma", {"concentration": t(2.5, 4.0), "rate": t(1.0, 2.0)}),
    ("Kumaraswamy", {"concentration1": t(2.0, 1.5), "concentration0": t(3.0, 1.2)}),
    ("Laplace", {"loc": t(0.0, 1.0), "scale": t(1.0, 2.0)}),
    ("LogNormal", {"loc": t(0.0, 0.5), "scale": t(1.0, 0.4)}),
    ("LogisticNormal", {"loc": t([0.0, 1.0], [0.3, -1.0]), "scale": t([1.0, 0.5], [0.7, 1.0])}),
    ("Multinomial", {"total_count": 6, "probs": SIMPLEX}),
    ("NegativeBinomial", {"total_count": t(3.0, 5.0), "probs": t(0.3, 0.6)}),
    ("Normal", {"loc": t(0.0, 1.0), "scale": t(1.0, 2.0)}),
    ("OneHotCategorical", {"probs": SIMPLEX}),
    ("OneHotCategoricalStraightThrough", {"logits": SIMPLEX}),
    ("Pareto", {"scale": t(1.0, 2.0), "alpha": t(2.5, 4.0)}),
    ("Poisson", {"rate": t(0.5, 20.0)}),
    ("RelaxedBernoulli", {"temperature": t(0.7), "probs": t(0.3, 0.7)}),
    ("RelaxedOneHotCategorical", {"temperature": t(0.7), "probs": SIMPLEX}),
    ("StudentT", {"df": t(3.0, 5.0), "loc": t(0.0, 1.0), "scale": t(1.0, 2.0)}),
    ("Uniform", {"low": t(0.0, -1.0), "high": t(1.0, 2.0)}),
    ("VonMises", {"loc": t(0.0, 1.0), "concentration": t(0.5, 6.0)}),
    ("Weibull", {"scale": t(1.0, 2.0), "concentration": t(1.5, 3.0)}),
]
CASES_BY_ID = pytest.mark.parametrize(
    ("name", "params"), CASES, ids=[f"{n}-{'-'.join(p)}" for n, p in CASES]
)


def make(package, distributions, name, params):
    given = {k: package.tensor(v) if isinstance(v, np.ndarray) else v for k, v in params.items()}
    return getattr(distributions, name)(**given)


def pair(name, params):
    return make(tn, D, name, params), make(torch, TD, name, params)


def close(found, expected, tolerance=2e-5):
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_allclose(
        found.detach().numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance
    )


def value_of(d, name, argument=None):
    """A property or the result of a method, or None where the distribution has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = getattr(d, name)
            return (
                found
                if argument is None and not callable(found)
                else (found() if argument is None else found(argument))
            )
    except NotImplementedError:
        return None


@CASES_BY_ID
def test_moments_and_densities(name, params):
    ours, theirs = pair(name, params)
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    assert tuple(ours.event_shape) == tuple(theirs.event_shape)
    assert ours.has_rsample == theirs.has_rsample
    assert ours.has_enumerate_support == theirs.has_enumerate_support
    assert set(ours.arg_constraints) == set(theirs.arg_constraints)
    for what in ("mean", "mode", "variance", "stddev", "entropy"):
        expected = value_of(theirs, what)
        if expected is not None:
            close(value_of(ours, what), expected, 2e-4 if what == "entropy" else 2e-5)
    torch.manual_seed(0)
    sample = theirs.sample((5,))
    close(ours.log_prob(tn.tensor(sample.numpy())), theirs.log_prob(sample), 2e-4)
    close(
        ours.expand((3, *ours.batch_shape)).log_prob(tn.tensor(sample[:3].numpy())),
        theirs.expand((3, *theirs.batch_shape)).log_prob(sample[:3]),
        2e-4,
    )
    if name not in ("Gamma", "Chi2", "InverseGamma"):  # these want the incomplete gamma function
        expected = value_of(theirs, "cdf", sample)
        if expected is not None:
            close(ours.cdf(tn.tensor(sample.numpy())), expected, 1e-4)
    ranks = torch.rand((4, *theirs.batch_shape)) * 0.8 + 0.1
    expected = value_of(theirs, "icdf", ranks)
    if expected is not None and name not in ("InverseGamma",):
        close(ours.icdf(tn.tensor(ranks.numpy())), expected, 1e-4)
    if theirs.has_enumerate_support and name != "Binomial":
        for expand in (False, True):
            close(ours.enumerate_support(expand), theirs.enumerate_support(expand))


@CASES_BY_ID
def test_samples(name, params):
    tn.manual_seed(0)
    ours, theirs = pair(name, params)
    sample = ours.sample((4000,))
    assert tuple(sample.shape) == (4000, *theirs.batch_shape, *theirs.event_shape)
    assert not sample.requires_grad
    assert bool(ours.support.check(sample).all())
    heavy = {"Cauchy", "HalfCauchy", "FisherSnedecor", "InverseGamma", "Pareto", "StudentT"}
    mean, variance = value_of(theirs, "mean"), value_of(theirs, "variance")
    if mean is not None and name not in heavy | {"VonMises", "Categorical"}:
        error = (sample.mean(0) - tn.tensor(mean.numpy())).abs()
        bound = 5 * tn.tensor(variance.numpy()).sqrt() / 4000**0.5 + 1e-6
        assert bool((error <= bound).all())
    tn.manual_seed(0)
    assert tn.equal(ours.sample((4000,)), sample)  # the same seed, the same numbers


CONTINUOUS = {
    "Beta": lambda p: stats.beta(p["concentration1"], p["concentration0"]),
    "Cauchy": lambda p: stats.cauchy(p["loc"], p["scale"]),
    "Chi2": lambda p: stats.chi2(p["df"]),
    "Exponential": lambda p: stats.expon(scale=1 / p["rate"]),
    "FisherSnedecor": lambda p: stats.f(p["df1"], p["df2"]),
    "Gamma": lambda p: stats.gamma(p["concentration"], scale=1 / p["rate"]),
    "GeneralizedPareto": lambda p: stats.genpareto(p["concentration"], p["loc"], p["scale"]),
    "Gumbel": lambda p: stats.gumbel_r(p["loc"], p["scale"]),
    "HalfCauchy": lambda p: stats.halfcauchy(scale=p["scale"]),
    "HalfNormal": lambda p: stats.halfnorm(scale=p["scale"]),
    "InverseGamma": lambda p: stats.invgamma(p["concentration"], scale=p["rate"]),
    "Laplace": lambda p: stats.laplace(p["loc"], p["scale"]),
    "LogNormal": lambda p: stats.lognorm(p["scale"], scale=np.exp(p["loc"])),
    "Normal": lambda p: stats.norm(p["loc"], p["scale"]),
    "Pareto": lambda p: stats.pareto(p["alpha"], scale=p["scale"]),
    "StudentT": lambda p: stats.t(p["df"], p["loc"], p["scale"]),
    "Uniform": lambda p: stats.uniform(p["low"], p["high"] - p["low"]),
    "VonMises": lambda p: stats.vonmises(p["concentration"], p["loc"]),
    "Weibull": lambda p: stats.weibull_min(p["concentration"], scale=p["scale"]),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_samples_follow_scipys_distribution(name):
    tn.manual_seed(1)
    params = next(p for n, p in CASES if n == name)
    sample = make(tn, D, name, params).sample((5000,)).double().numpy()
    for i in range(2):
        one = CONTINUOUS[name]({k: float(v[i]) for k, v in params.items()})
        values = sample[:, i]
        if name == "VonMises":  # SciPy counts angles on from loc
            values = (values - one.mean() + np.pi) % (2 * np.pi) - np.pi + one.mean()
        assert stats.kstest(values, one.cdf).pvalue > 1e-4


DISCRETE = [
    (lambda: D.Poisson(tn.tensor(0.7)), stats.poisson(0.7)),
    (lambda: D.Poisson(tn.tensor(9.5)), stats.poisson(9.5)),
    (lambda: D.Poisson(tn.tensor(10.5)), stats.poisson(10.5)),
    (lambda: D.Poisson(tn.tensor(300.0)), stats.poisson(300.0)),
    (lambda: D.Binomial(3, tn.tensor(0.9)), stats.binom(3, 0.9)),
    (lambda: D.Binomial(30, tn.tensor(0.5)), stats.binom(30, 0.5)),
    (lambda: D.Binomial(500, tn.tensor(0.96)), stats.binom(500, 0.96)),
    (lambda: D.Geometric(tn.tensor(0.3)), stats.geom(0.3, loc=-1)),
    (lambda: D.NegativeBinomial(tn.tensor(4.0), tn.tensor(0.6)), stats.nbinom(4, 0.4)),
    (lambda: D.Bernoulli(tn.tensor(0.2)), stats.bernoulli(0.2)),
]


@pytest.mark.parametrize("case", range(len(DISCRETE)))
def test_counts_follow_scipys_distribution(case):
    tn.manual_seed(2)
    ours, theirs = DISCRETE[case]
    sample = ours().sample((20000,)).numpy().astype(int)
    low, high = int(theirs.ppf(1e-3)), int(theirs.ppf(1 - 1e-3))
    cells = np.clip(sample, low, high)
    observed = np.bincount(cells - low, minlength=high - low + 1)
    expected = theirs.pmf(np.arange(low, high + 1))
    expected[0] += theirs.cdf(low - 1)
    expected[-1] += theirs.sf(high)
    kept = expected * sample.size > 5
    observed = np.append(observed[kept], observed[~kept].sum())
    expected = np.append(expected[kept], expected[~kept].sum()) * sample.size
    if expected[-1] == 0:
        observed, expected = observed[:-1], expected[:-1]
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4


REPARAMETRIZED = [
    ("Gamma", {"concentration": 0.7, "rate": 2.0}),
    ("Gamma", {"concentration": 12.0, "rate": 0.5}),
    ("Beta", {"concentration1": 0.8, "concentration0": 2.5}),
    ("Normal", {"loc": 1.0, "scale": 2.0}),
    ("StudentT", {"df": 9.0, "loc": 0.5, "scale": 1.5}),
    ("Weibull", {"scale": 2.0, "concentration": 1.5}),
    ("Kumaraswamy", {"concentration1": 2.0, "concentration0": 3.0}),
    ("ContinuousBernoulli", {"probs": 0.3}),
]


@pytest.mark.parametrize(("name", "params"), REPARAMETRIZED)
def test_derivatives_of_samples(name, params):
    """d mean / d parameter and d mean of squares / d parameter, by samples and by formula."""
    tn.manual_seed(3)
    given = {k: tn.tensor(v, dtype=tn.float64, requires_grad=True) for k, v in params.items()}
    d = getattr(D, name)(**given)
    x = d.rsample((40000,))
    inputs = list(given.values())
    for moment, exact in ((x, d.mean), (x.square(), d.variance + d.mean.square())):
        found = tn.autograd.grad(moment.mean(), inputs, retain_graph=True, allow_unused=True)
        expected = tn.autograd.grad(exact, inputs, retain_graph=True, allow_unused=True)
        for a, b in zip(found, expected, strict=True):
            a, b = (0.0 if g is None else g.item() for g in (a, b))
            assert a == pytest.approx(b, rel=0.06, abs=0.02)


def test_derivative_of_gamma_samples_is_the_implicit_one():
    a = np.array([1e-3, 0.1, 0.6, 1.0, 3.0, 30.0, 1e4])
    for rank in (1e-4, 0.1, 0.5, 0.9, 0.9999):
        z, step = stats.gamma(a).ppf(rank), 1e-5 * a
        expected = (stats.gamma(a + step).ppf(rank) - stats.gamma(a - step).ppf(rank)) / (2 * step)
        found = tn.gamma_shape_derivative(tn.tensor(a), tn.tensor(z)).numpy()
        kept = z > 1e-290
        np.testing.assert_allclose(found[kept], expected[kept], rtol=2e-5)


def test_gamma_samples_differentiate_twice():
    a, z = (tn.tensor(v, dtype=tn.float64, requires_grad=True) for v in (2.0, 1.5))
    (first,) = tn.autograd.grad(tn.gamma_shape_derivative(a, z), a, create_graph=True)
    step = 1e-6
    up = tn.gamma_shape_derivative(a.detach() + step, z.detach())
    down = tn.gamma_shape_derivative(a.detach() - step, z.detach())
    assert first.item() == pytest.approx(((up - down) / (2 * step)).item(), rel=1e-6)


# ---- divergences


KL_NAMES = [
    *("Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "ContinuousBernoulli"),
    *("Dirichlet", "Exponential", "Gamma", "Geometric", "Gumbel", "HalfNormal", "Laplace"),
    *("Normal", "OneHotCategorical", "Pareto", "Poisson", "Uniform", "LogNormal", "Chi2"),
]
OTHER = {
    "Uniform": {"low": t(-1.0, -2.0), "high": t(2.0, 4.0)},
    "Normal": {"loc": t(0.5, -1.0), "scale": t(2.0, 1.0)},
    "Binomial": {"total_count": 5, "probs": t(0.5, 0.2)},
    "Pareto": {"scale": t(0.5, 2.0), "alpha": t(2.0, 5.0)},
}


def test_divergences():
    """Every pair for which PyTorch has one."""
    count = 0
    first = {name: next(p for n, p in CASES if n == name) for name in KL_NAMES}
    for a, b in itertools.product(KL_NAMES, KL_NAMES):
        if (a, b) == ("Uniform", "ContinuousBernoulli"):
            continue  # PyTorch calls a range up to 0 or 1 outside; test_divergences_by_samples
        p, q = pair(a, first[a]), pair(b, OTHER.get(b, first[b]))
        try:
            expected = TD.kl_divergence(p[1], q[1])
        except NotImplementedError:
            with pytest.raises(NotImplementedError):
                D.kl_divergence(p[0], q[0])
            continue
        found = D.kl_divergence(p[0], q[0])
        np.testing.assert_allclose(
            found.numpy(), expected.numpy(), rtol=3e-4, atol=3e-5, err_msg=f"{a} to {b}"
        )
        count += 1
    assert count > 80


def test_divergences_by_samples():
    for p, q in (
        (D.Gumbel(0.3, 1.2), D.Gumbel(-0.5, 2.0)),
        (D.Normal(0.3, 1.2), D.Laplace(-0.5, 2.0)),
        (D.Gamma(2.0, 1.5), D.Gumbel(0.5, 2.0)),
        (D.Uniform(0.2, 0.7), D.Beta(2.0, 1.5)),
        (D.Uniform(0.0, 1.0), D.ContinuousBernoulli(0.3)),
    ):
        tn.manual_seed(0)
        x = p.sample((200000,))
        expected = (p.log_prob(x) - q.log_prob(x)).mean().item()
        assert D.kl_divergence(p, q).item() == pytest.approx(expected, abs=0.01)


def test_registered_divergences_of_subclasses():
    class Mine(D.Normal):
        pass

    p = Mine(0.0, 1.0)
    assert D.kl_divergence(p, D.Normal(1.0, 1.0)).item() == 0.5
    with pytest.raises(NotImplementedError):
        D.kl_divergence(p, D.Poisson(1.0))
    with pytest.raises(TypeError):
        D.register_kl(int, D.Normal)


# ---- compositions


def test_independent_mixture_and_transformed():
    loc, scale = t([0.0, 1.0, 2.0], [1.0, 2.0, 3.0]), t([1.0, 2.0, 0.5], [1.0, 0.7, 2.0])
    results = []
    for package, d in ((tn, D), (torch, TD)):
        normal = d.Normal(package.tensor(loc), package.tensor(scale))
        mixture = d.MixtureSameFamily(d.Categorical(package.tensor(SIMPLEX)), normal)
        squashed = d.TransformedDistribution(
            d.Independent(normal, 1), [d.AffineTransform(1.0, 0.5, 1), d.TanhTransform()]
        )
        x = package.tensor(t([0.1, -0.4, 0.3], [0.5, 0.2, -0.9]))
        results.append(
            (
                d.Independent(normal, 1).log_prob(x),
                d.Independent(normal, 1).entropy(),
                mixture.log_prob(x[:, 0]),
                mixture.mean,
                mixture.variance,
                mixture.cdf(x[:, 0]),
                squashed.log_prob(x),
            )
        )
        assert tuple(squashed.batch_shape) == (2,) and tuple(squashed.event_shape) == (3,)
        assert tuple(mixture.sample((7,)).shape) == (7, 2)
    for found, expected in zip(*results, strict=True):
        close(found, expected)


TRANSFORMS = [
    ("ExpTransform", (), (3,)),
    ("PowerTransform", (2.0,), (3,)),
    ("SigmoidTransform", (), (3,)),
    ("SoftplusTransform", (), (3,)),
    ("TanhTransform", (), (3,)),
    ("AffineTransform", (1.0, -2.0), (3,)),
    ("StickBreakingTransform", (), (2, 3)),
    ("CorrCholeskyTransform", (), (2, 6)),
    ("ReshapeTransform", ((2, 3), (6,)), (4, 2, 3)),
]


@pytest.mark.parametrize(("name", "arguments", "shape"), TRANSFORMS)
def test_transforms(name, arguments, shape):
    x = np.random.default_rng(0).uniform(0.1, 0.9, shape).astype(np.float32)
    ours, theirs = getattr(D, name)(*arguments), getattr(TD, name)(*arguments)
    a, b = tn.tensor(x), torch.tensor(x)
    close(ours(a), theirs(b))
    close(ours.inv(ours(a)), b, 1e-4)
    close(ours.log_abs_det_jacobian(a, ours(a)), theirs.log_abs_det_jacobian(b, theirs(b)), 1e-4)
    assert tuple(ours.forward_shape(shape)) == tuple(theirs.forward_shape(shape))
    assert ours.bijective == theirs.bijective
    assert bool(ours.codomain.check(ours(a)).all())
    assert ours.inv.inv is ours


def test_joined_transforms_and_their_caches():
    x = tn.rand(4, 3)
    joined = D.CatTransform([D.ExpTransform(), D.TanhTransform()], dim=1, lengths=[1, 2])
    close(joined.inv(joined(x)), x)
    stacked = D.StackTransform(
        [D.ExpTransform(), D.AffineTransform(0.0, 2.0), D.TanhTransform()], 1
    )
    close(stacked.inv(stacked(x)), x)
    composed = D.ComposeTransform([D.ExpTransform(), D.AffineTransform(1.0, 2.0)])
    assert composed.sign == 1 and composed.bijective
    cached = D.TanhTransform(cache_size=1)
    y = cached(x)
    assert cached.inv(y) is x


def test_transforms_onto_constraints():
    from tenon.distributions import constraints

    x = tn.randn(5, 3)
    for constraint in (
        constraints.real,
        constraints.positive,
        constraints.greater_than(2.0),
        constraints.less_than(-1.0),
        constraints.interval(-1.0, 3.0),
        constraints.unit_interval,
        constraints.simplex,
        constraints.corr_cholesky,
        constraints.independent(constraints.positive, 1),
    ):
        for registry in (D.biject_to, D.transform_to):
            y = registry(constraint)(x)
            assert bool(constraint.check(y).all()), constraint
    with pytest.raises(NotImplementedError):
        D.biject_to(constraints.boolean)


# ---- errors and printing


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"Expected parameter scale .* GreaterThan"):
        D.Normal(0.0, -1.0)
    with pytest.raises(ValueError, match="Expected value argument"):
        D.Beta(1.0, 1.0).log_prob(tn.tensor(2.0))
    with pytest.raises(ValueError, match="Either `probs` or `logits`"):
        D.Bernoulli()
    with pytest.raises(ValueError):
        D.Uniform(1.0, 0.0)
    with pytest.raises(ValueError, match="not broadcastable"):
        D.Normal(tn.zeros(3), 1.0).log_prob(tn.zeros(2))
    with pytest.raises(ValueError):
        D.Independent(D.Normal(0.0, 1.0), 1)
    with pytest.raises(ValueError):
        D.Categorical(tn.tensor(0.5))
    assert math.isnan(D.Normal(0.0, -1.0, validate_args=False).log_prob(tn.tensor(0.0)).item())


@CASES_BY_ID
def test_text(name, params):
    ours, theirs = pair(name, params)
    assert repr(ours) == repr(theirs).replace("torch.Size", "tenon.Size")


def test_constraints_print_as_pytorchs():
    from tenon.distributions import constraints

    for name in ("positive", "unit_interval", "simplex", "nonnegative_integer", "real_vector"):
        assert repr(getattr(constraints, name)) == repr(getattr(TD.constraints, name))


def test_distributions_under_transforms():
    def loss(loc, value):
        return D.Normal(loc, 1.0, validate_args=False).log_prob(value)

    loc, value = tn.randn(5), tn.randn(5)
    close(tn.func.vmap(tn.func.grad(loss))(loc, value), value - loc)
    draws = tn.func.vmap(
        lambda rate: D.Poisson(rate, validate_args=False).sample(), randomness="different"
    )(tn.full((2000,), 12.0))
    assert abs(draws.mean().item() - 12) < 0.5
    assert draws.unique().shape[0] > 5

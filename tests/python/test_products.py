"""Matrix products give the same bits however their operands came to lie in memory."""

import numpy as np
import pytest

import tenon as tn

SIZES = [
    (1, 5, 7),
    (7, 1, 33),
    (3, 17, 1),
    (5, 9, 16),
    (9, 60, 40),
    (15, 70, 90),
    (70, 15, 64),
    (17, 1030, 520),
]


def products(m, n, k, dtype, between):
    rng = np.random.default_rng(m + 100 * n)
    a, at, b = (
        tn.tensor(rng.standard_normal(shape).tolist(), dtype=dtype)
        for shape in ((m, k), (k, m), (n, k))
    )
    turned = between((at * 2).t().contiguous())
    both = turned @ between((b + 1).t().contiguous())
    return [
        a @ between(b.t().contiguous()),
        turned @ b.t(),
        both,
        between(both[:, ::2].t()) @ between(a[:, :3].contiguous()),
        between((at + 1).reshape(m, k)) @ between(b.t().clone()),
        between(a[:, ::2]) @ between(b[:, ::2].t().contiguous()),
        tn.vmap(lambda x: x.t().contiguous().t() @ b.t())(between(tn.stack([a, a * 2]))),
    ]


def evaluated(x):
    tn.eval(x)
    return x


@pytest.mark.parametrize("dtype", [tn.float32, tn.float64, tn.bfloat16], ids=str)
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_products_do_not_depend_on_what_was_evaluated_before(m, n, k, dtype):
    whole = products(m, n, k, dtype, lambda x: x)
    cut = products(m, n, k, dtype, evaluated)
    for x, y in zip(whole, cut, strict=True):
        assert x.to(tn.float64).numpy().tobytes() == y.to(tn.float64).numpy().tobytes()

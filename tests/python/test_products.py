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


OUTER = {
    "vectors": ("i,j->ij", (5,), (7,)),
    "batches": ("bi,bj->bij", (4, 5), (4, 7)),
    "batches inside": ("ibk,jb->bikj", (5, 4, 3), (7, 4)),
    "one contracted": ("bci,bcj->bij", (4, 1, 5), (4, 1, 7)),
    "of one": ("bi,b->bi", (4, 5), (4,)),
    "nothing": ("bi,bj->bij", (4, 0), (4, 7)),
}


@pytest.mark.parametrize("case", OUTER)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64"])
def test_products_without_contraction_are_those_of_the_library(case, dtype):
    rule, *shapes = OUTER[case]
    rng = np.random.default_rng(0)
    a, b = (
        tn.tensor((3 * rng.standard_normal(shape)).tolist(), dtype=getattr(tn, dtype)).reshape(
            shape
        )
        for shape in shapes
    )
    a = tn.where(a.abs() < 1, a * 0, a)  # zeros of both signs

    def product(a, b):
        return tn.einsum(rule, a, b)

    def values():
        result = [product(a, b)]
        if a.is_floating_point():
            weight = product(a * 0 + 2, b * 0 + 0.5)
            result += tn.func.grad(lambda *x: (product(*x) * weight).sum(), argnums=(0, 1))(a, b)
        return [x.to(tn.float64).numpy() for x in result]

    fused = values()
    with tn.jit.disable("outer_products"):
        library = values()
    for x, y in zip(fused, library):
        assert np.array_equal(x, y) and np.array_equal(np.signbit(x), np.signbit(y))
    expected = np.einsum(rule, a.to(tn.float64).numpy(), b.to(tn.float64).numpy())
    np.testing.assert_allclose(fused[0], expected, rtol=1e-2)

"""flex_attention and its masks, against PyTorch's."""

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")
ours = pytest.importorskip("tenon.nn.attention.flex_attention")
theirs = pytest.importorskip("torch.nn.attention.flex_attention")
PACKAGES = ((tn, ours), (torch, theirs))
RNG = np.random.default_rng(0)
Q, K = RNG.standard_normal((2, 2, 4, 6, 8)).astype(np.float32)
V = RNG.standard_normal((2, 4, 6, 3)).astype(np.float32)
SLOPES = RNG.standard_normal(4).astype(np.float32)
TABLE = RNG.standard_normal(11).astype(np.float32)
DOCUMENTS = np.array([[0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 1, 1]])


def close(found, expected, tolerance=2e-5):
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_allclose(
        found.detach().numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance
    )


def none(package):
    return None


def alibi(package):
    slopes = package.tensor(SLOPES)
    return lambda score, b, h, q, k: score + slopes[h] * (q - k)


def relative(package):
    table = package.tensor(TABLE)
    return lambda score, b, h, q, k: score + table[q - k + 5]


def capped(package):
    return lambda score, b, h, q, k: 2 * (score / 2).tanh()


def causal(package):
    return lambda b, h, q, k: q >= k


def documents(package):
    ids = package.tensor(DOCUMENTS)
    return lambda b, h, q, k: ids[b, q] == ids[b, k]


def window(package):
    return lambda b, h, q, k: (q - k < 2) & (q > k)  # the first query has no key


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("score", [none, alibi, relative, capped])
@pytest.mark.parametrize("mask", [none, causal, documents, window])
def test_attention(score, mask):
    results = []
    for package, flex in PACKAGES:
        given = [package.tensor(x) for x in (Q, K, V)]
        mod = mask(package)
        block = None
        if mod is not None:
            block = flex.create_block_mask(
                mod, 2, None, 6, 6, device="cpu", BLOCK_SIZE=2 if package is tn else 128
            )
        output, lse = flex.flex_attention(
            *given, score_mod=score(package), block_mask=block, return_lse=True
        )
        results.append([output, lse])
    for i, (found, expected) in enumerate(zip(*results, strict=True)):
        if i == 1 and mask is window:  # PyTorch's log of nothing is its least number
            found, expected = found[..., 1:], expected[..., 1:]
        close(found, expected, 2e-4)


@pytest.mark.parametrize("score", [none, alibi, relative, capped])
@pytest.mark.parametrize("mask", [none, documents, window])
def test_gradients(score, mask):
    """Against central differences: PyTorch has no derivative on the CPU."""
    mod = mask(tn)
    block = None if mod is None else ours.create_block_mask(mod, 2, None, 6, 6, BLOCK_SIZE=2)

    def loss(*given):
        return ours.flex_attention(*given, score_mod=score(tn), block_mask=block).square().sum()

    given = [tn.tensor(x.astype(np.float64), requires_grad=True) for x in (Q, K, V)]
    loss(*given).backward()
    directions = [tn.randn(x.shape, dtype=tn.float64) for x in given]
    found = sum((x.grad * d).sum().item() for x, d in zip(given, directions, strict=True))
    step = 1e-6
    with tn.no_grad():
        up, down = (
            loss(*[x + sign * step * d for x, d in zip(given, directions, strict=True)]).item()
            for sign in (1, -1)
        )
    assert found == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_groups_scale_and_lengths():
    results = []
    for package, flex in PACKAGES:
        q, k, v = (package.tensor(x) for x in (Q[:, :, :5], K[:, :2], V[:, :2]))
        results.append(flex.flex_attention(q, k, v, enable_gqa=True, scale=0.3))
    close(*results)
    q = tn.tensor(Q)
    with pytest.raises(ValueError):
        ours.flex_attention(q, q[:, :2], q[:, :2])
    with pytest.raises(ValueError):
        ours.flex_attention(q, q[..., :4], q)
    with pytest.raises(ValueError):
        ours.flex_attention(q, q, q, block_mask=ours.create_block_mask(causal(tn), 1, 1, 4, 4))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mask", [causal, window])
def test_block_masks(mask):
    results = []
    for package, flex in PACKAGES:
        block = flex.create_block_mask(mask(package), 2, 1, 300, 200, device="cpu")
        results.append(block)
        both = flex.and_masks(mask(package), lambda b, h, q, k: k < 3)
        either = flex.or_masks(mask(package), lambda b, h, q, k: k < 3)
        for mod in (both, either, flex.noop_mask):
            results.append(flex.create_mask(mod, 2, 1, 5, 4, device="cpu"))
    half = len(results) // 2
    a, b = results[0], results[half]
    assert tuple(a.shape) == tuple(b.shape)
    assert a.to_dense().tolist() == b.to_dense().tolist()
    assert a.kv_num_blocks.tolist() == b.kv_num_blocks.tolist()
    assert a.full_kv_num_blocks.tolist() == b.full_kv_num_blocks.tolist()
    assert a.sparsity() == pytest.approx(b.sparsity())
    for found, expected in zip(results[1:half], results[half + 1 :], strict=True):
        assert found.tolist() == expected.tolist()


def test_blocks_that_are_left_out_are_masked():
    counts, columns = tn.tensor([[[1, 1, 1]]]), tn.tensor([[[[0, 1, 2], [1, 0, 2], [2, 0, 1]]]])
    block = ours.BlockMask.from_kv_blocks(counts, columns, BLOCK_SIZE=2)
    found = ours.flex_attention(tn.tensor(Q), tn.tensor(K), tn.tensor(V), block_mask=block)
    places = tn.arange(6) // 2
    mask = places.unsqueeze(1) == places
    expected = tn.nn.functional.scaled_dot_product_attention(
        tn.tensor(Q), tn.tensor(K), tn.tensor(V), attn_mask=mask
    )
    close(found, expected)

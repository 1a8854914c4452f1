"""Packed sequences and recurrent layers over them, against PyTorch's."""

import numpy as np
import pytest

import tenon as tn
from tenon import nn

torch = pytest.importorskip("torch")
PACKAGES = (tn, torch)


def close(found, expected):
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_allclose(
        found.detach().numpy(), expected.detach().numpy(), rtol=2e-5, atol=2e-6
    )


def data(lengths, size, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, size)).astype(np.float32) for n in lengths]


@pytest.mark.parametrize("lengths", [[4, 3, 3, 1], [2, 5, 1, 4], [3]])
@pytest.mark.parametrize("batch_first", [False, True])
def test_packing(lengths, batch_first):
    is_sorted = lengths == sorted(lengths, reverse=True)
    results = []
    for package in PACKAGES:
        rnn = package.nn.utils.rnn
        parts = [package.tensor(x) for x in data(lengths, 2)]
        packed = rnn.pack_sequence(parts, enforce_sorted=is_sorted)
        again = rnn.pack_padded_sequence(
            rnn.pad_sequence(parts, batch_first), lengths, batch_first, is_sorted
        )
        padded, counts = rnn.pad_packed_sequence(packed, batch_first, -1.0, 6)
        for part, back in zip(parts, rnn.unpack_sequence(packed), strict=True):
            assert part.tolist() == back.tolist()
        results.append((packed, again, padded, counts))
    (a, b, padded, counts), (c, d, expected, expected_counts) = results
    for found, theirs in ((a, c), (b, d)):
        close(found.data, theirs.data)
        assert found.batch_sizes.tolist() == theirs.batch_sizes.tolist()
        for name in ("sorted_indices", "unsorted_indices"):
            x, y = getattr(found, name), getattr(theirs, name)
            assert (x is None) == (y is None)
            assert x is None or x.tolist() == y.tolist()
    close(padded, expected)
    assert counts.tolist() == expected_counts.tolist()


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True, "num_layers": 2}, {"batch_first": True}]
)
@pytest.mark.parametrize("with_state", [False, True])
def test_recurrent_layers(kind, options, with_state):
    theirs, ours = (getattr(p.nn, kind)(3, 4, **options) for p in (torch, tn))
    ours.load_state_dict({k: tn.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    lengths = [2, 5, 1, 4]
    count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    begin = np.random.default_rng(1).standard_normal((count, 4, 4)).astype(np.float32)
    results = []
    for package, layer in ((tn, ours), (torch, theirs)):
        parts = [package.tensor(x, requires_grad=True) for x in data(lengths, 3)]
        packed = package.nn.utils.rnn.pack_sequence(parts, enforce_sorted=False)
        state = package.tensor(begin)
        given = ((state, state * 2) if kind == "LSTM" else state,) if with_state else ()
        output, last = layer(packed, *given)
        last = list(last) if kind == "LSTM" else [last]
        (output.data.square().sum() + sum((x * x).sum() for x in last)).backward()
        grads = [p.grad for p in layer.parameters()] + [x.grad for x in parts]
        results.append(([output.data, *last], grads))
    for found, expected in zip(results[0][0], results[1][0], strict=True):
        close(found, expected)
    for found, expected in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=2e-4, atol=2e-5)


def test_bad_lengths():
    rnn = nn.utils.rnn
    x = tn.ones(3, 2, 1)
    for lengths in ([1, 3], [3, 0], [3], [4, 1]):
        with pytest.raises(RuntimeError):
            rnn.pack_padded_sequence(x, lengths)
    with pytest.raises(ValueError):
        rnn.pad_packed_sequence(rnn.pack_sequence([tn.ones(3)]), total_length=2)
    with pytest.raises(RuntimeError):
        nn.LSTM(3, 4)(rnn.pack_sequence([tn.ones(3, 2)]))

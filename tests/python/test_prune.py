"""`nn.utils.prune` against PyTorch's."""

import numpy as np
import pytest

import tenon as tn

torch = pytest.importorskip("torch")
pytest.importorskip("torch.nn.utils.prune")

LIBRARIES = (tn, torch)


def layer(t, seed=0):
    made = t.nn.Linear(5, 4)
    draws = np.random.default_rng(seed)
    with t.no_grad():
        for p in made.parameters():
            p.copy_(t.tensor(draws.standard_normal(tuple(p.shape)).astype(np.float32)))
    return made


def state(module):
    return {k: v.detach().tolist() for k, v in module.state_dict().items()}


CASES = {
    "identity": lambda t, m: t.identity(m, "weight"),
    "l1 by number": lambda t, m: t.l1_unstructured(m, "weight", 7),
    "l1 by part": lambda t, m: t.l1_unstructured(m, "weight", 0.3),
    "nothing": lambda t, m: t.l1_unstructured(m, "bias", 0),
    "rows": lambda t, m: t.ln_structured(m, "weight", 2, 2, 0),
    "columns": lambda t, m: t.ln_structured(m, "weight", 0.4, 1, -1),
    "largest": lambda t, m: t.ln_structured(m, "weight", 1, float("inf"), 1),
    "twice": lambda t, m: t.l1_unstructured(t.l1_unstructured(m, "weight", 5), "weight", 0.5),
    "elements, then rows": lambda t, m: t.ln_structured(
        t.l1_unstructured(m, "weight", 5), "weight", 1, 2, 0
    ),
    "rows, then rows": lambda t, m: t.ln_structured(
        t.ln_structured(m, "weight", 1, 2, 0), "weight", 1, 2, 0
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_masks(case):
    results = []
    for t in LIBRARIES:
        module = layer(t)
        assert CASES[case](t.nn.utils.prune, module) is module
        assert t.nn.utils.prune.is_pruned(module)
        output = module(t.arange(10, dtype=t.float32).reshape(2, 5))
        output.sum().backward()
        grads = {k: p.grad.tolist() for k, p in module.named_parameters()}
        name = "bias" if case == "nothing" else "weight"
        assert not isinstance(getattr(module, name), t.nn.Parameter)
        pruned = state(module), output.detach().numpy()
        t.nn.utils.prune.remove(module, name)
        assert not t.nn.utils.prune.is_pruned(module)
        results.append((pruned[0], grads, state(module), pruned[1]))
    assert results[0][:3] == results[1][:3]
    np.testing.assert_allclose(results[0][3], results[1][3], rtol=1e-5)


@pytest.mark.parametrize("structured", [False, True])
def test_random_masks_have_the_right_size(structured):
    for t in LIBRARIES:
        module = layer(t)
        if structured:
            t.nn.utils.prune.random_structured(module, "weight", 2, 1)
            kept = module.weight_mask.sum(0)
            assert sorted(kept.tolist()) == [0, 0, 4, 4, 4]
        else:
            t.nn.utils.prune.random_unstructured(module, "weight", 0.5)
            assert module.weight_mask.sum().item() == 10


def test_several_parameters_together():
    results = []
    for t in LIBRARIES:
        prune = t.nn.utils.prune
        a, b = layer(t), layer(t, 1)
        scores = {(b, "bias"): t.tensor([9.0, 0.0, 9.0, 0.1])}
        pairs = [(a, "weight"), (b, "weight"), (b, "bias")]
        prune.global_unstructured(pairs, prune.L1Unstructured, scores, amount=0.25)
        results.append((state(a), state(b)))
    assert results[0] == results[1]


def test_a_pruned_module_trains_and_is_stored():
    for t in LIBRARIES:
        module = t.nn.utils.prune.l1_unstructured(layer(t), "weight", 0.5)
        optimizer = t.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            module(t.ones(2, 5)).square().sum().backward()
            optimizer.step()
        module(t.ones(1, 5))
        assert (module.weight == 0).sum().item() == 10
        other = t.nn.utils.prune.identity(layer(t), "weight")
        other.load_state_dict(module.state_dict())
        assert other(t.ones(1, 5)).tolist() == module(t.ones(1, 5)).tolist()


def test_bad_input():
    for t in LIBRARIES:
        prune = t.nn.utils.prune
        for amount in (-1, 1.5, 99, "a"):
            with pytest.raises(TypeError if amount == "a" else ValueError):
                prune.l1_unstructured(layer(t), "weight", amount)
        with pytest.raises(ValueError):
            prune.ln_structured(layer(t), "bias", 1, 2, 0)
        with pytest.raises(IndexError):
            prune.ln_structured(layer(t), "weight", 1, 2, 2)
        with pytest.raises(ValueError):
            prune.remove(layer(t), "weight")
        with pytest.raises(TypeError):
            prune.global_unstructured([(layer(t), "weight")], prune.LnStructured, amount=1, n=2)
        module = layer(t)
        before = state(module)
        with pytest.raises(ValueError):
            prune.l1_unstructured(module, "weight", 99)
        assert state(module) == before

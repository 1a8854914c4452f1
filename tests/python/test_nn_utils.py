"""Utilities for parameters and their gradients."""

import numpy as np
import pytest

import tenon
import tenon as tn
from tenon import nn
from tests.python.packages import PACKAGES

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("norm_type", [2.0, 1.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clipping_agrees(norm_type, max_norm):
    def program(p):
        ps = [p.nn.Parameter(p.root.ones(3)), p.nn.Parameter(p.root.ones(2, 2))]
        for i, q in enumerate(ps):
            (q * q * (i + 1)).sum().backward()
        total = p.nn.utils.clip_grad_norm_(ps, max_norm, norm_type)
        return [float(total)] + [np.asarray(q.grad.tolist()).ravel().tolist() for q in ps]

    expected, found = (program(package) for package in PACKAGES)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6)


def test_clipping_values_and_failures():
    p = nn.Parameter(tenon.tensor([1.0, -3.0]))
    (p * p).sum().backward()
    nn.utils.clip_grad_value_([p], 3)
    assert p.grad.tolist() == [2, -3]
    p.grad = tenon.tensor([float("nan"), 1.0])
    with pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)


def test_parameters_to_vector_and_back():
    net = nn.Linear(2, 2)
    vector = nn.utils.parameters_to_vector(net.parameters())
    nn.utils.vector_to_parameters(vector * 0 + 1, net.parameters())
    assert net.weight.tolist() == [[1, 1], [1, 1]] and net.bias.tolist() == [1, 1]


def test_normalizations_taken_into_the_layer_before():
    for name, arguments, shape in (
        ("Conv2d", (3, 4, 2), (2, 3, 5, 5)),
        ("ConvTranspose1d", (3, 4, 2), (2, 3, 5)),
    ):
        x = tn.randn(*shape)
        layer = getattr(nn, name)(*arguments).eval()
        bn = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(4).eval()
        with tn.no_grad():
            for p in [*bn.parameters(), *(b for b in bn.buffers() if b.is_floating_point())]:
                p.copy_(tn.rand(p.shape) + 0.5)
        fused = nn.utils.fuse_conv_bn_eval(layer, bn, transpose="Transpose" in name)
        assert tn.allclose(fused(x), bn(layer(x)), atol=1e-5)
    with pytest.raises(AssertionError):
        nn.utils.fuse_linear_bn_eval(nn.Linear(2, 3), nn.BatchNorm1d(3))

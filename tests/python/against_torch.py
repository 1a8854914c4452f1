"""Comparisons with PyTorch where half types take part."""

import numpy as np

import tenon as tn

TOLERANCE = {"float32": 1e-4, "float64": 1e-11, "bfloat16": 4e-2, "float16": 4e-3}


def ours(x):
    """A PyTorch tensor as ours."""
    dtype = str(x.dtype).removeprefix("torch.")
    values = x.float() if dtype == "bfloat16" else x
    return tn.tensor(values.numpy()).to(getattr(tn, dtype))


def agree(found, expected, name):
    a, b = found.detach().double().numpy(), expected.detach().double().numpy()
    assert a.shape == b.shape, name
    tolerance = TOLERANCE[str(expected.dtype).removeprefix("torch.")]
    largest = np.abs(b[np.isfinite(b)]).max(initial=1)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * largest, err_msg=name)

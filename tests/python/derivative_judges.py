"""Judges of derivatives: finite differences in float64, and comparison with tolerance."""

import numpy as np

import tenon as tn

N = 4
POINT = np.array([0.7, -1.2, 0.4, 1.6])
DIRECTION = np.array([0.3, 0.9, -0.5, 0.2])
COTANGENT = np.array([1.1, -0.4, 0.6, 0.8])
SCALES = np.array([0.6, -0.9, 1.3])
MATRIX = np.linspace(-1, 1, N * N).reshape(N, N) + 0.3 * np.eye(N)


def double(values, m=tn):
    return m.tensor(values, dtype=m.float64)


def close(a, b, tol=1e-9):
    a = a.numpy() if isinstance(a, tn.Tensor) else np.asarray(a)
    b = b.numpy() if hasattr(b, "numpy") else np.asarray(b)
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


def directional(f, x, u, h=1e-3):
    """The derivative of a function of arrays along u, by central differences of sixth order."""
    weights = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
    return sum(w * (f(x + k * h * u) - f(x - k * h * u)) for k, w in weights.items()) / h


def jacobian(f, x):
    columns = [directional(f, x, e.reshape(x.shape)) for e in np.eye(x.size)]
    return np.stack(columns, -1).reshape(np.shape(columns[0]) + x.shape)


def on_arrays(f):
    """A function of tensors as one of arrays."""
    return lambda x: f(double(x)).numpy()


def smooth(m, x):
    return m.sin(x) * m.exp(-x * x) + x

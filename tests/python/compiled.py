"""Comparing compiled functions with the functions themselves."""

import numpy as np

import tenon as tn


def skips(f):
    return f._skipped if isinstance(f, tn.CompiledFunction) else f.forward._skipped


def settle(f, *args, **kwargs):
    """Calls until Python is skipped."""
    for _ in range(3):
        result = f(*args, **kwargs)
    return result


def same(a, b):
    if isinstance(a, tn.Tensor):
        assert type(a) is type(b)
        assert a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride()
        assert a.requires_grad == b.requires_grad
        assert a._version == b._version
        assert (a._base is None) == (b._base is None)
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    else:
        assert type(a) is type(b) and (a == b or a != a)


def check(function, *calls, skipped=True):
    """Compiled and plain, over calls that repeat."""
    f = tn.compile(function)
    for args in calls:
        for _ in range(4):
            same(f(*args), function(*args))
    assert (skips(f) > 0) == skipped, f.explain()
    return f


def outcome(function, *args):
    """Its result, or the name of what it raises."""
    try:
        return function(*args)
    except Exception as error:
        return type(error).__name__

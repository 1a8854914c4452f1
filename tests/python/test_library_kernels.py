"""Operations that users declare in C or C++: kernels over buffers."""

import ctypes
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import tenon as tn

F64 = {"dtype": tn.float64}


@pytest.fixture(scope="module")
def median():
    sys.path.insert(0, "examples")
    try:
        import rolling_median
    finally:
        sys.path.pop(0)
    try:
        return rolling_median.load()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def medians(x, window):
    windows = np.lib.stride_tricks.sliding_window_view(x, window, axis=-1)
    return np.median(windows, axis=-1)


def places_of(x, window):
    windows = np.lib.stride_tricks.sliding_window_view(x, window, axis=-1)
    inside = np.argsort(windows, axis=-1)[..., window // 2]
    return inside + np.arange(inside.shape[-1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernel_values(median, dtype):
    x = np.random.default_rng(0).normal(size=(4, 2, 9)).astype(dtype)
    values, places = median(tn.from_numpy(x), 5)
    np.testing.assert_array_equal(values.numpy(), medians(x, 5).astype(dtype))
    np.testing.assert_array_equal(places.numpy(), places_of(x, 5))
    across = tn.from_numpy(x).transpose(0, 2)[::2]  # neither contiguous nor dense
    np.testing.assert_array_equal(median(across, window=3)[0].numpy(), medians(across.numpy(), 3))
    assert median(tn.ones(3))[0].tolist() == [1]  # the window's default
    assert median(tn.zeros(0, 5), 3)[0].shape == (0, 3)
    (only,) = (median(tn.from_numpy(x), 5)[1],)  # a result alone
    np.testing.assert_array_equal(only.numpy(), places_of(x, 5))


def test_kernel_fuses_around_and_compiles_nothing_new(median):
    def step(x, window):
        return (median(x * 2, window)[0] + 1).sum()

    for length, window in ((8, 3), (9, 5), (17, 7)):
        x = tn.randn(2, length)
        x.numpy()
        np.testing.assert_allclose(
            step(x, window).item(), (medians(2 * x.numpy(), window) + 1).sum(), rtol=1e-5
        )
    x = tn.randn(2, 33)
    x.numpy()
    made = tn.jit.counters()["plans"]
    step(x, 9).item()
    assert tn.jit.counters()["plans"] == made


def test_kernel_derivatives(median):
    x, t = tn.randn(3, 8, **F64), tn.randn(3, 8, **F64)
    tn.library.opcheck(median, (x.clone().requires_grad_(), 3))
    loss = lambda x: median(x, 3)[0].pow(3).sum()  # noqa: E731
    places = places_of(x.numpy(), 3)
    expected = np.zeros((3, 8))
    np.add.at(expected, (np.arange(3)[:, None], places), 3 * medians(x.numpy(), 3) ** 2)
    np.testing.assert_allclose(tn.func.grad(loss)(x).numpy(), expected)
    second = np.zeros((3, 8))
    weights = 6 * medians(x.numpy(), 3) * np.take_along_axis(t.numpy(), places, 1)
    np.add.at(second, (np.arange(3)[:, None], places), weights)
    for mode in (
        lambda: tn.func.jvp(tn.func.grad(loss), (x,), (t,))[1],
        lambda: tn.func.grad(lambda x: tn.func.jvp(loss, (x,), (t,))[1])(x),
        lambda: tn.func.grad(lambda x: (tn.func.grad(loss)(x) * t).sum())(x),
    ):
        np.testing.assert_allclose(mode().numpy(), second)
    leaf = x.clone().requires_grad_()
    y = loss(leaf)
    y.item()  # what the derivative needs outlives the run
    y.backward()
    np.testing.assert_allclose(leaf.grad.numpy(), expected)


def test_kernel_batches(median):
    x = tn.randn(4, 3, 7, **F64)
    one = lambda x: median(x, 3)[0]  # noqa: E731
    expected = medians(x.numpy(), 3)
    np.testing.assert_array_equal(tn.vmap(one)(x).numpy(), expected)
    np.testing.assert_array_equal(tn.vmap(tn.vmap(one))(x).numpy(), expected)
    np.testing.assert_array_equal(tn.vmap(one, in_dims=1, out_dims=1)(x).numpy(), expected)
    grads = tn.vmap(tn.func.grad(lambda x: one(x).square().sum()))(x)
    whole = tn.func.grad(lambda x: tn.vmap(one)(x).square().sum())(x)
    np.testing.assert_allclose(grads.numpy(), whole.numpy())
    jacobian = tn.func.jacfwd(one)(x[0, 0])
    np.testing.assert_array_equal(jacobian.numpy(), tn.func.jacrev(one)(x[0, 0]).numpy())
    assert jacobian.sum(1).tolist() == [1] * 5


def test_kernel_in_regions_and_compiled_functions(median):
    x = tn.randn(5, 6, **F64)

    def f(x):
        return tn.scan(lambda c, row: (c + median(row * c, 3)[0].sum(), c), x.sum() * 0 + 1, x)[0]

    def loop(x):
        c = x.sum() * 0 + 1
        for i in range(5):
            c = c + median(x[i] * c, 3)[0].sum()
        return c

    np.testing.assert_allclose(f(x).item(), loop(x).item())
    np.testing.assert_allclose(tn.func.grad(f)(x).numpy(), tn.func.grad(loop)(x).numpy())
    t = tn.randn(5, 6, **F64)
    np.testing.assert_allclose(
        tn.func.jvp(f, (x,), (t,))[1].item(), tn.func.jvp(loop, (x,), (t,))[1].item()
    )
    xs = tn.randn(2, 5, 6, **F64)
    np.testing.assert_allclose(tn.vmap(f)(xs).numpy(), [loop(xs[0]).item(), loop(xs[1]).item()])
    chosen = tn.cond(x.sum() > -1e9, lambda x: median(x, 3)[0], lambda x: x[:, :4] * 1, (x,))
    np.testing.assert_array_equal(chosen.numpy(), medians(x.numpy(), 3))
    compiled = tn.compile(lambda x: median(x + 1, 3)[0].exp())
    for _ in range(3):
        y = tn.randn(2, 7)
        np.testing.assert_allclose(
            compiled(y).numpy(), np.exp(medians(y.numpy() + 1, 3)), rtol=1e-6
        )


@pytest.mark.parametrize("mode", ["unfused", "interpret"])
def test_kernel_in_other_modes(median, mode):
    text = """
import sys; sys.path.insert(0, "examples")
import rolling_median, tenon as tn
median = rolling_median.load()
x = tn.arange(10.0, requires_grad=True)
y = (median(x * x, 3)[0] * 2).sum()
y.backward()
print(y.item(), x.grad.tolist())
"""

    run = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "TENON_JIT": mode, "TENON_CHECK": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    grads = [0.0] + [4.0 * k for k in range(1, 9)] + [0.0]
    assert run.stdout.strip() == f"{2.0 * sum(k * k for k in range(1, 9))} {grads}"


def test_kernel_refuses_in_words(median):
    for call, error, words in (
        (lambda: median(tn.ones(4, dtype=tn.int64)), RuntimeError, "expected float32 or float64"),
        (lambda: median(tn.ones(4), 2), RuntimeError, "window must be odd and at most 4, got 2"),
        (lambda: median(tn.ones(4), 1.5), TypeError, "type 'int' for argument 'window'"),
        (lambda: median([1.0]), TypeError, "type 'Tensor' for argument 'x'"),
        (lambda: median(), TypeError, "missing value for argument 'x'"),
        (lambda: median(tn.ones(4), 3, 4), TypeError, "at most 2 positional"),
        (lambda: median(tn.ones(4), size=3), TypeError, "unexpected keyword argument 'size'"),
        (lambda: median(tn.ones(4), x=tn.ones(4)), TypeError, "multiple values for argument 'x'"),
    ):
        with pytest.raises(error, match=r"filters::rolling_median") as caught:
            call()
        assert words in str(caught.value)
    assert median(tn.ones(4))[0].tolist() == [1, 1]


def test_the_example_runs(median):
    run = subprocess.run(
        [sys.executable, "examples/rolling_median.py"], capture_output=True, text=True, check=True
    )
    plain, filtered, pieces = run.stdout.splitlines()
    amplitude = float(filtered.split("amplitude ")[1].split()[0])
    offset = float(filtered.split("offset ")[1].split()[0])
    assert abs(amplitude - 0.7) < 0.1 and abs(offset - 0.3) < 0.1
    assert float(plain.split("offset ")[1].split()[0]) > 1
    assert pieces.endswith("(4, 48)")


def test_the_example_in_the_header_is_c(tmp_path):

    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tn.library.include_path()
    with open(f"{folder}/tenon_operation.h") as header:
        comment = header.read().split("*/")[0]
    lines = [line[7:] for line in comment.splitlines() if line.startswith(" " * 7)]
    (tmp_path / "mine.c").write_text("\n".join(lines))
    library = tmp_path / "libmine.so"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{folder}"]
    subprocess.run([compiler, *flags, tmp_path / "mine.c", "-o", library], check=True)
    (square,) = tn.library.load_library(library)
    assert tn.ops.mine.square is square and square.__doc__ == "x times x."
    assert square(tn.tensor([1.0, -3.0])).tolist() == [1, 9]
    with pytest.raises(OSError, match="does not export tenon_operations"):
        (tmp_path / "empty.c").write_text("int nothing;")
        empty = tmp_path / "empty.so"
        subprocess.run([compiler, "-shared", tmp_path / "empty.c", "-o", empty], check=True)
        tn.library.load_library(empty)


def test_a_kernel_by_address():

    class Type(ctypes.Structure):
        _fields_ = [
            ("dtype", ctypes.c_int32),
            ("rank", ctypes.c_int32),
            ("dims", ctypes.c_int64 * 64),
        ]

    class Buffer(ctypes.Structure):
        _fields_ = [("type", Type), ("strides", ctypes.c_int64 * 64), ("data", ctypes.c_void_p)]

    class Attribute(ctypes.Structure):
        _fields_ = [
            ("kind", ctypes.c_int32),
            ("integer", ctypes.c_int64),
            ("number", ctypes.c_double),
            ("count", ctypes.c_int64),
            ("text", ctypes.c_char_p),
            ("integers", ctypes.POINTER(ctypes.c_int64)),
            ("numbers", ctypes.POINTER(ctypes.c_double)),
        ]

    class Arguments(ctypes.Structure):
        _fields_ = [
            ("input_count", ctypes.c_size_t),
            ("inputs", ctypes.POINTER(Buffer)),
            ("attribute_count", ctypes.c_size_t),
            ("attributes", ctypes.POINTER(Attribute)),
        ]

    seen = []
    signature = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(Arguments), ctypes.POINTER(Buffer))

    @signature
    def kernel(arguments, results):
        a = arguments.contents
        kinds = [a.attributes[k].kind for k in range(a.attribute_count)]
        seen.append(
            (kinds, a.attributes[1].text, a.attributes[2].integers[:3], a.inputs[1].type.dtype)
        )
        count = a.inputs[0].type.dims[0]
        x = (ctypes.c_float * count).from_address(a.inputs[0].data)
        y = (ctypes.c_float * count).from_address(results[0].data)
        for k in range(count):
            y[k] = x[k] * a.attributes[0].number + len(a.attributes[1].text)
        return None

    op = tn.library.define(
        "test::by_address",
        "(Tensor x, Tensor? other, float factor, str text, int[] list, bool flag=True) -> Tensor",
    )
    with pytest.raises(NotImplementedError, match="test::by_address has no implementation"):
        op(tn.ones(1), None, 1.0, "", [])
    op.register_kernel(kernel)
    with pytest.raises(RuntimeError, match="test::by_address: nothing says which types"):
        op(tn.ones(1), None, 1.0, "", [])
    op.register_fake(lambda x, *rest: tn.empty_like(x))
    result = op(tn.tensor([1.0, 2.0]), None, 2, "a text of some length", (3, 4, 5))
    assert result.tolist() == [23, 25]
    assert seen == [([2, 4, 5, 3], b"a text of some length", [3, 4, 5], -1)]
    with pytest.raises(NotImplementedError, match="vmap: test::by_address has no batching rule"):
        tn.vmap(lambda x: op(x, None, 1.0, "", []))(tn.ones(2, 3))
    with pytest.raises(RuntimeError, match="differentiate test::by_address but no derivative"):
        op(tn.ones(2, requires_grad=True), None, 1.0, "", []).sum().backward()
    with pytest.raises(RuntimeError, match="differentiate test::by_address but no derivative"):
        tn.func.jvp(lambda x: op(x, None, 1.0, "", []), (tn.ones(2),), (tn.ones(2),))

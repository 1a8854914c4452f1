"""`autograd.functional` against PyTorch's: values, structure, what strict refuses."""

import pytest

import tenon as tn

torch = pytest.importorskip("torch")

LIBRARIES = (tn, torch)


def plain(x):
    if isinstance(x, tuple | list):  # PyTorch's forward mode gives lists
        return tuple(plain(item) for item in x)
    return (tuple(x.shape), x.detach().flatten().tolist(), x.requires_grad)


def same(function, close=1e-5):
    ours, theirs = (plain(function(t)) for t in LIBRARIES)

    def compare(a, b):
        assert isinstance(a, tuple) == isinstance(b, tuple)
        if isinstance(a[0], tuple) and a[0] and not isinstance(a[0][0], int):
            assert len(a) == len(b)
            for x, y in zip(a, b, strict=True):
                compare(x, y)
        else:
            assert a[0] == b[0] and a[2] == b[2]
            assert a[1] == pytest.approx(b[1], rel=close)

    compare(ours, theirs)


def two(t):
    return t.tensor([1.0, 2.0, 3.0]), t.tensor([[0.5, -1.0, 2.0], [1.0, 1.0, 0.0]])


def product(x, y):
    return (y * x).sin(), (x * x).sum()


def energy(x, y):
    return ((y * x).sin() ** 2).sum() + (x**3).sum()


@pytest.mark.parametrize("create_graph", [False, True])
def test_jacobians(create_graph):
    same(lambda t: t.autograd.functional.jacobian(lambda x: x.exp(), two(t)[0], create_graph))
    same(lambda t: t.autograd.functional.jacobian(product, two(t), create_graph))
    same(lambda t: t.autograd.functional.jacobian(lambda x: (x, x * 2), two(t)[0], create_graph))
    same(lambda t: t.autograd.functional.jacobian(lambda x, y: y.sum(), two(t), create_graph))


def test_jacobians_in_forward_mode():
    def run(t, inputs):
        function = product if isinstance(inputs, tuple) else t.exp
        return t.autograd.functional.jacobian(
            function, inputs, vectorize=True, strategy="forward-mode"
        )

    same(lambda t: run(t, two(t)[0]))
    same(lambda t: run(t, two(t)))
    for t in LIBRARIES:
        with pytest.raises(NotImplementedError):
            t.autograd.functional.jacobian(t.exp, two(t)[0], strategy="forward-mode")


@pytest.mark.parametrize("create_graph", [False, True])
def test_hessians(create_graph):
    same(lambda t: t.autograd.functional.hessian(lambda x: (x**4).sum(), two(t)[0], create_graph))
    same(lambda t: t.autograd.functional.hessian(energy, two(t), create_graph), 1e-4)
    same(lambda t: t.autograd.functional.hessian(lambda x: x.sum(), two(t)[0], create_graph))


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", ["vhp", "hvp"])
def test_products_with_hessians(name, create_graph):
    def run(t):
        function = getattr(t.autograd.functional, name)
        return function(energy, two(t), two(t), create_graph)

    same(run, 1e-4)


@pytest.mark.parametrize("create_graph", [False, True])
def test_products_with_jacobians(create_graph):
    def vector(t):
        return t.ones(2, 3), t.tensor(2.0)

    same(lambda t: t.autograd.functional.vjp(product, two(t), vector(t), create_graph))
    same(lambda t: t.autograd.functional.jvp(product, two(t), two(t), create_graph))
    same(lambda t: t.autograd.functional.vjp(lambda x: x.sum(), two(t)[0], None, create_graph))
    same(lambda t: t.autograd.functional.jvp(t.exp, t.tensor([2.0]), None, create_graph))


def test_results_may_be_differentiated():
    def run(t):
        x = t.tensor([1.0, 2.0], requires_grad=True)
        rows = t.autograd.functional.jacobian(lambda x: x**3, x, create_graph=True)
        (rows * rows).sum().backward()
        return x.grad

    same(run)


STRICT = {
    "a constant": ("jacobian", lambda x: x.detach() * 2, 1),
    "an unused input": ("jacobian", lambda x, y: x * 2, 2),
    "vjp": ("vjp", lambda x, y: (x * 2).sum(), 2),
    "hessian of something linear": ("hessian", lambda x: x.sum(), 1),
    "vhp of something linear": ("vhp", lambda x: x.sum(), 1),
}


@pytest.mark.parametrize("case", STRICT)
def test_strict(case):
    name, function, count = STRICT[case]
    for t in LIBRARIES:
        inputs = two(t)[:count] if count > 1 else two(t)[0]
        extra = () if name in ("jacobian", "hessian", "vjp") else (inputs,)
        with pytest.raises(RuntimeError):
            getattr(t.autograd.functional, name)(function, inputs, *extra, strict=True)


def test_bad_input():
    for t in LIBRARIES:
        f = t.autograd.functional
        with pytest.raises(TypeError):
            f.jacobian(t.exp, [1.0])
        with pytest.raises(TypeError):
            f.jacobian(lambda x: 3, two(t)[0])
        with pytest.raises(RuntimeError):
            f.vjp(t.exp, two(t)[0])
        with pytest.raises(RuntimeError):
            f.vjp(t.exp, two(t)[0], t.ones(2))
        with pytest.raises(RuntimeError):
            f.hessian(t.exp, two(t)[0])
        with pytest.raises(RuntimeError):
            f.vhp(t.exp, two(t)[0], two(t)[0])


def test_variable():
    for t in LIBRARIES:
        x = t.autograd.Variable(t.ones(2), requires_grad=True)
        assert x.requires_grad and isinstance(x, t.autograd.Variable)
        assert isinstance(t.ones(2), t.autograd.variable.Variable)


def test_inference_mode_is_known():
    for t in LIBRARIES:
        seen = [t.is_inference_mode_enabled()]
        with t.inference_mode():
            seen.append(t.is_inference_mode_enabled())
            with t.inference_mode(False):
                seen.append(t.is_inference_mode_enabled())
        seen.append(t.is_inference_mode_enabled())
        assert seen == [False, True, False, False]

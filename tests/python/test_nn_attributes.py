"""Reading attributes of modules and calling them, which a base in C++ does."""

import copy
import pickle
from random import Random

import pytest

import tenon as tn
import tenon.nn.functional as F
from tenon import nn

MISSING = object()


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.size = 4

    def forward(self, x, *, scale=1):
        return self.layer(x) * scale


def test_calls_pass_on_every_argument():
    model, x = Scaled(), tn.ones(1, 2)
    assert tn.allclose(model(x, scale=2), 2 * model(x=x))
    with pytest.raises(TypeError, match="takes 2 positional arguments but 3 were given"):
        model(x, x)


def test_a_missing_attribute_is_named():
    with pytest.raises(AttributeError, match="'Scaled' object has no attribute 'absent'"):
        Scaled().absent  # noqa: B018
    assert not hasattr(Scaled(), "absent")


def test_a_subclass_may_define_getattr_and_ask_the_base():
    class WithDefault(Scaled):
        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return "default"

    model = WithDefault()
    assert model.absent == "default"
    assert isinstance(model.layer, nn.Linear)
    assert model.size == 4


def test_getattr_assigned_to_a_class_later_is_used():
    class Late(Scaled):
        pass

    class Below(Late):
        pass

    model = Below()
    Late.__getattr__ = lambda self, name: f"late {name}"
    assert model.layer == "late layer"
    del Late.__getattr__
    assert isinstance(model.layer, nn.Linear)


def test_a_forward_of_the_instance_is_called():
    model = Scaled()
    model.forward = lambda x: x + 1
    assert model(1) == 2


def test_a_forward_that_is_no_function_is_called():
    class Callable:
        def __call__(self, x):
            return x + 2

    class Static(nn.Module):
        @staticmethod
        def forward(x):
            return x + 1

    class Held(nn.Module):
        forward = Callable()

    assert Static()(1) == 2
    assert Held()(1) == 3


def test_hooks_are_seen_when_added_and_not_after():
    model, x = Scaled(), tn.ones(1, 2)
    handle = model.register_forward_hook(lambda module, args, output: "hooked")
    assert model(x) == "hooked"
    handle.remove()
    assert model(x).shape == (1, 3)


def test_copies_and_pickles_are_modules_of_their_own():
    model = Scaled()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(nn.Linear(2, 2)))):
        assert other.state_dict().keys()
        assert other(tn.ones(1, 2)).shape[0] == 1


def test_a_module_without_init_has_no_members():
    class Bare(nn.Module):
        def __init__(self):
            self.x = 1

    assert Bare().x == 1
    with pytest.raises(AttributeError, match="no attribute 'weight'"):
        Bare().weight  # noqa: B018
    with pytest.raises(NotImplementedError, match="forward"):
        Bare()(1)


def test_endless_calls_end_in_a_recursion_error():
    class Endless(nn.Module):
        def forward(self, x):
            return self(x)

    with pytest.raises(RecursionError):
        Endless()(1)


def test_a_layer_of_one_call_is_what_its_forward_says(monkeypatch):
    layer, x = nn.Linear(2, 3), tn.randn(4, 2)
    expected = nn.functional.linear(x, layer.weight, layer.bias)
    assert tn.equal(layer(x), expected)
    assert tn.equal(layer(input=x), expected)
    assert tn.equal(layer.forward(x), expected)
    assert tn.equal(nn.GELU(approximate="tanh")(x), nn.functional.gelu(x, approximate="tanh"))
    layer.bias = None
    assert tn.equal(layer(x), x @ layer.weight.T)

    class Below(nn.Linear):
        def forward(self, input):
            return super().forward(input) * 2

    below = Below(2, 3, bias=False)
    assert tn.allclose(below(x), 2 * (x @ below.weight.T))

    monkeypatch.setattr(nn.functional, "linear", lambda *args: "replaced")
    assert layer(x) == "replaced"


def test_errors_of_a_layer_of_one_call():
    layer = nn.Linear(2, 3)
    with pytest.raises(TypeError, match="forward"):
        layer()
    with pytest.raises(TypeError, match="forward"):
        layer(tn.ones(2), tn.ones(2))
    with pytest.raises(RuntimeError, match="linear"):
        layer(tn.ones(4, 5))
    del layer.weight
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'weight'"):
        layer(tn.ones(4, 2))


def read_by_the_rules(module, name):
    """What an attribute is: the object's own, else a member in the order of the dictionaries."""
    try:
        return object.__getattribute__(module, name)
    except AttributeError:
        fields = vars(module)
        for kind in ("_parameters", "_modules", "_buffers"):
            if name in fields[kind]:
                return fields[kind][name]
        return MISSING


def change(random, module, names):
    fields, cls = vars(module), type(module)
    name = random.choice(names)
    kind = random.choice(["_parameters", "_modules", "_buffers"])
    match random.randrange(8):
        case 0:
            fields[kind][name] = object()
        case 1:
            fields[kind].pop(name, None)
        case 2:
            fields[name] = object()
        case 3:
            fields.pop(name, None)
        case 4:
            fields[kind] = dict(fields[kind])
        case 5:
            setattr(cls, name, random.choice([object(), property(lambda self: 7)]))
        case 6:
            if name in vars(cls):
                delattr(cls, name)
        case 7:
            fields["_parameters"]["weight"] = nn.Parameter(tn.randn(2, 2))


@pytest.mark.parametrize("seed", range(4))
def test_reads_repeated_see_every_change(seed):
    random, x = Random(seed), tn.randn(3, 2)
    names = ["weight", "bias", "inner", "noise", "kept"]
    runs = 0
    for _ in range(40):
        module = type("Sub", (nn.Linear,), {})(2, 2)
        for _ in range(8):
            for name in names * 2:
                assert getattr(module, name, MISSING) is read_by_the_rules(module, name)
            weight, bias = (read_by_the_rules(module, name) for name in ("weight", "bias"))
            if isinstance(weight, tn.Tensor) and isinstance(bias, tn.Tensor):
                for _ in range(2):
                    assert tn.equal(module(x), F.linear(x, weight, bias))
                    runs += 1
            change(random, module, names)
    assert runs > 100

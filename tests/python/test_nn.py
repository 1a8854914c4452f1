"""Module: PyTorch's dictionaries, attribute rules, hooks, state and text.

The judge is PyTorch: each program runs in both packages, and what it says must be equal.
"""

import copy
import io
import pickle
from collections import OrderedDict

import pytest

import tenon
from tenon import nn
from tests.python.packages import PACKAGES

torch = pytest.importorskip("torch")


def same_in_both(program):
    expected, found = (program(package) for package in PACKAGES)
    assert found == expected
    return found


def raised(program):
    def run(package):
        try:
            program(package)
        except Exception as error:
            return type(error)
        return None

    assert same_in_both(run) is not None


def test_names_of_everything():
    def program(p):
        net = p.net()
        return [
            [n for n, _ in net.named_parameters()],
            [n for n, _ in net.named_parameters(remove_duplicate=False)],
            [n for n, _ in net.named_parameters(prefix="x", recurse=False)],
            [n for n, _ in net.named_buffers()],
            [n for n, _ in net.named_modules()],
            [n for n, _ in net.named_children()],
            list(net.state_dict()),
            [tuple(v.shape) for v in net.state_dict().values()],
            sorted(n for n in dir(net) if n in ("first", "scale", "steps", "absent", "blocks")),
        ]

    same_in_both(program)


def test_modules_print_alike():
    def program(p):
        nn = p.nn
        sequential = nn.Sequential(
            OrderedDict(a=nn.Linear(1, 2), b=nn.Sequential(nn.ReLU(), nn.Tanh()))
        )
        return [repr(p.net()), repr(sequential), repr(nn.Sequential()), repr(nn.ModuleList())]

    same_in_both(program)


def test_attribute_rules():
    def parameter_to_buffer(p):
        net = p.net()
        net.scale = p.root.zeros(3)

    def number_to_module(p):
        net = p.net()
        net.first = 3

    def number_to_buffer(p):
        net = p.net()
        net.steps = 3

    def before_init(p):
        class Early(p.nn.Module):
            def __init__(self):
                self.w = p.nn.Parameter(p.root.zeros(1))

        Early()

    def module_before_init(p):
        class Early(p.nn.Module):
            def __init__(self):
                self.w = p.nn.ReLU()

        Early()

    def taken(p):
        p.net().register_buffer("first", p.root.zeros(1))

    def dotted(p):
        p.net().register_parameter("a.b", None)

    def empty(p):
        p.net().register_buffer("", None)

    def no_such(p):
        p.net().nothing  # noqa: B018

    def not_a_parameter(p):
        p.net().register_parameter("w", p.root.zeros(1))

    def non_leaf(p):
        p.net().register_parameter("w", p.nn.Parameter(p.root.ones(2)) * 2)

    def not_a_module(p):
        p.net().add_module("m", 3)

    def no_forward(p):
        p.nn.Module()(1)

    for program in (
        parameter_to_buffer,
        number_to_module,
        number_to_buffer,
        before_init,
        module_before_init,
        taken,
        dotted,
        empty,
        no_such,
        not_a_parameter,
        non_leaf,
        not_a_module,
        no_forward,
    ):
        raised(program)


def test_assignment_moves_between_dictionaries():
    def program(p):
        net = p.net()
        net.first = None
        net.scale = None
        net.steps = None
        first = [list(net._parameters), list(net._buffers), list(net._modules)]
        net.plain = 3
        net.plain = p.nn.Parameter(p.root.zeros(1))
        net.extra = p.nn.Tanh()
        net.extra = p.nn.Parameter(p.root.zeros(1))
        del net.plain
        return [first, list(net._parameters), list(net._modules), hasattr(net, "plain"), net.scale]

    same_in_both(program)


def test_paths():
    def program(p):
        net = p.net()
        net.set_submodule("blocks.1.norm", p.nn.Identity())
        return [
            repr(net.get_submodule("blocks.1")),
            tuple(net.get_parameter("blocks.0.linear.weight").shape),
            tuple(net.get_buffer("steps").shape),
            net.get_submodule("") is net,
        ]

    same_in_both(program)
    raised(lambda p: p.net().get_submodule("blocks.9"))
    raised(lambda p: p.net().get_parameter("steps"))
    raised(lambda p: p.net().get_submodule("scale"))


def test_modes_reach_every_module():
    def program(p):
        net = p.net().eval()
        modes = [m.training for m in net.modules()]
        net.blocks.train()
        return modes + [m.training for m in net.modules()]

    same_in_both(program)
    raised(lambda p: p.net().train(1))


def test_apply_and_requires_grad():
    def program(p):
        seen = []
        net = p.net().apply(lambda m: seen.append(type(m).__name__))
        net.requires_grad_(False)
        off = [q.requires_grad for q in net.parameters()]
        return seen, off, [q.requires_grad for q in net.requires_grad_().parameters()]

    same_in_both(program)


def test_conversion_is_in_place():
    def program(p):
        net = p.net()
        weight = net.first.weight
        net.first(p.root.ones(1, 2)).sum().backward()
        net.double()
        net.register_buffer("whole", p.root.arange(3))
        net.to(p.root.float64)
        return [
            weight is net.first.weight,
            [str(q.dtype).split(".")[-1] for q in net.parameters()],
            [str(b.dtype).split(".")[-1] for b in net.buffers()],
            str(weight.grad.dtype).split(".")[-1],
            [str(q.dtype).split(".")[-1] for q in net.half().parameters()][:2],
        ]

    same_in_both(program)
    raised(lambda p: p.net().to(p.root.int64))


def test_hooks():
    def program(p):
        net = p.nn.Sequential(p.nn.Identity())
        log = []
        x = p.root.ones(2)
        first = net.register_forward_pre_hook(lambda m, a: log.append("pre"))
        net.register_forward_pre_hook(lambda m, a: (a[0] * 3,))
        net.register_forward_hook(lambda m, a, y: log.append(("post", y.tolist())))
        net.register_forward_hook(lambda m, a, y: y + 1)
        net.register_forward_hook(
            lambda m, a, k, y: log.append(sorted(k)), prepend=True, with_kwargs=True
        )
        one = net(x).tolist()
        first.remove()
        return one, net(x).tolist(), log

    same_in_both(program)


def test_a_hook_that_is_always_called_sees_failures():
    def program(p):
        class Failing(p.nn.Module):
            def forward(self, x):
                raise RuntimeError("inside")

        log = []
        net = Failing()
        net.register_forward_hook(lambda m, a, y: log.append("always"), always_call=True)
        net.register_forward_hook(lambda m, a, y: log.append("never"))
        with pytest.raises(RuntimeError, match="inside"):
            net(1)
        return log

    same_in_both(program)


def test_zero_grad():
    def program(p):
        net = p.nn.Linear(2, 1)
        net(p.root.ones(1, 2)).sum().backward()
        net.zero_grad(set_to_none=False)
        zeros = net.weight.grad.tolist()
        net.zero_grad()
        return zeros, net.weight.grad

    same_in_both(program)


# ---- state --------------------------------------------------------------------------------------


def numbers(state):
    return {name: value.tolist() for name, value in state.items()}


def test_a_state_goes_round():
    net, other = PACKAGES[1].net(), PACKAGES[1].net()
    keep = other.first.weight
    assert str(other.load_state_dict(net.state_dict())) == "<All keys matched successfully>"
    assert other.first.weight is keep and keep.requires_grad
    assert numbers(other.state_dict()) == numbers(net.state_dict())
    x = tenon.randn(4, 2)
    assert other.eval()(x).tolist() == net.eval()(x).tolist()


def broken_state(p):
    state = p.net().state_dict()
    state["first.weight"] = p.root.zeros(5, 2)
    state["steps"] = p.root.zeros(3)
    del state["scale"], state["blocks.1.norm.bias"]
    state["nowhere"] = state["blocks.7.x"] = state["heads.b.weight"] = p.root.zeros(1)
    return state


def test_a_state_that_does_not_match_names_every_error():
    def program(p):
        with pytest.raises(RuntimeError) as failure:
            p.net().load_state_dict(broken_state(p))
        return str(failure.value).replace("torch.Size", "Size").replace("tenon.Size", "Size")

    text = same_in_both(program)
    for name in ("first.weight", "steps", "scale", "blocks.1.norm.bias", "nowhere", "blocks.7.x"):
        assert name in text


def test_a_state_that_does_not_match_changes_nothing():
    package = PACKAGES[1]
    net = package.net()
    before = numbers(net.state_dict())
    for strict in (True, False):
        with pytest.raises(RuntimeError):
            net.load_state_dict(broken_state(package), strict=strict)
    assert numbers(net.state_dict()) == before


def test_without_strictness_missing_and_unexpected_names_are_returned():
    def program(p):
        state = broken_state(p)
        del state["first.weight"], state["steps"]
        result = p.net().load_state_dict(state, strict=False)
        return sorted(result.missing_keys), sorted(result.unexpected_keys)

    same_in_both(program)
    raised(lambda p: p.net().load_state_dict(3))


def test_assigning_a_state_takes_its_tensors():
    net = nn.Linear(2, 2)
    weight = nn.Parameter(tenon.ones(2, 2), requires_grad=False)
    net.load_state_dict({"weight": weight, "bias": tenon.zeros(2)}, assign=True)
    assert net.weight is weight
    assert isinstance(net.bias, nn.Parameter) and net.bias.requires_grad


def test_extra_state_and_overridden_loading():
    def program(p):
        class Counting(p.nn.Module):
            _version = 2

            def __init__(self):
                super().__init__()
                self.count = 0
                self.w = p.nn.Parameter(p.root.zeros(1))

            def get_extra_state(self):
                return {"count": self.count}

            def set_extra_state(self, state):
                self.count = state["count"]

            def _load_from_state_dict(self, state_dict, prefix, metadata, *rest):
                self.seen = metadata.get("version")
                if prefix + "old" in state_dict:
                    state_dict[prefix + "w"] = state_dict.pop(prefix + "old")
                super()._load_from_state_dict(state_dict, prefix, metadata, *rest)

        a, b = p.nn.Sequential(Counting()), p.nn.Sequential(Counting())
        a[0].count = 5
        state = a.state_dict()
        state["0.old"] = p.root.ones(1)
        del state["0.w"]
        b.load_state_dict(state)
        return list(state), b[0].count, b[0].seen, b[0].w.tolist(), list(state._metadata)

    same_in_both(program)


def test_state_dict_hooks():
    def program(p):
        net = p.nn.Sequential(p.nn.Linear(1, 1))
        log = []
        net.register_state_dict_pre_hook(lambda m, prefix, keep: log.append(prefix))
        net._register_state_dict_hook(
            lambda m, state, prefix, meta: state.update(extra=p.root.ones(1))
        )
        net.register_load_state_dict_pre_hook(lambda m, state, *rest: state.pop("extra"))
        net.register_load_state_dict_post_hook(lambda m, keys: log.append(list(keys.missing_keys)))
        state = net.state_dict()
        net.load_state_dict(state)
        return sorted(state), log

    same_in_both(program)


def test_deepcopy_and_pickle_make_modules_of_their_own():
    net = PACKAGES[1].net()
    copied = copy.deepcopy(net)
    assert numbers(copied.state_dict()) == numbers(net.state_dict())
    assert copied.tied is copied.blocks[0].linear is not net.tied
    with tenon.no_grad():
        copied.scale.mul_(2.0)
    assert net.scale.tolist() == [1, 1, 1]
    assert type(copied.scale) is nn.Parameter and copied.scale.requires_grad

    plain = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    loaded = pickle.load(io.BytesIO(pickle.dumps(plain)))
    assert numbers(loaded.state_dict()) == numbers(plain.state_dict())
    assert isinstance(loaded[0].weight, nn.Parameter)


# ---- parameters and containers ------------------------------------------------------------------


def test_parameters():
    p = nn.Parameter(tenon.ones(2))
    assert isinstance(p, nn.Parameter) and isinstance(p, tenon.Tensor)
    assert p.requires_grad and p.is_leaf
    assert not isinstance(p * 1, nn.Parameter)
    assert not isinstance(tenon.ones(2), nn.Parameter)
    assert not nn.Parameter(tenon.arange(2), requires_grad=False).requires_grad
    assert repr(p).startswith("Parameter containing:\ntensor([1., 1.]")


def test_containers():
    def program(p):
        nn = p.nn
        layers = nn.ModuleList([nn.ReLU(), nn.Tanh()])
        layers.append(nn.Sigmoid()).extend([nn.GELU()])
        layers.insert(1, nn.SiLU())
        layers[0] = nn.ELU()
        popped = layers.pop(2)
        del layers[-1]
        sequential = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid())
        table = nn.ModuleDict({"x": nn.ReLU()})
        table["y"] = nn.Tanh()
        table.update([("z", nn.GELU())])
        removed = table.pop("x")
        plist = nn.ParameterList([p.root.ones(2), nn.Parameter(p.root.zeros(1, 2))])
        plist.append(p.root.ones(1))
        pdict = nn.ParameterDict({"a": nn.Parameter(p.root.ones(2))})
        return [
            repr(layers),
            repr(popped),
            repr(layers[1:]),
            len(layers),
            repr(sequential[1:]),
            repr(sequential[-1]),
            list(table),
            repr(removed),
            "y" in table,
            [n for n, _ in plist.named_parameters()],
            [n for n, _ in pdict.named_parameters()],
            repr(nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1), nn.ReLU()])),
        ]

    same_in_both(program)
    raised(lambda p: p.nn.ModuleList([p.nn.ReLU()])[3])
    raised(lambda p: p.nn.ModuleDict()["x"])

"""Hooks of tensors. PyTorch, running the same function, is the judge: values and order of calls."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

import tenon as tn

torch = pytest.importorskip("torch")


def plain(value):
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    return value.detach().tolist() if isinstance(value, (tn.Tensor, torch.Tensor)) else value


class Log(list):
    """Makes hooks that note their name and what they saw."""

    def hook(self, name, change=None):
        def call(gradient):
            self.append((name, gradient.tolist()))
            return None if change is None else change(gradient)

        return call


def leaf(m, *values):
    return m.tensor(values, requires_grad=True)


def order_and_replacement(m):
    log = Log()
    x = leaf(m, 1.0, 2.0)
    h = x * 3
    x.register_hook(log.hook("leaf 1", lambda g: g + 1))
    h.register_hook(log.hook("1", lambda g: g * 10))
    h.register_hook(log.hook("2"))
    h.register_hook(log.hook("3", lambda g: g + 0.5))
    x.register_hook(log.hook("leaf 2"))
    (h * h).sum().backward()
    return log, x.grad


def removal(m):
    log = Log()
    x = leaf(m, 1.0, 2.0)
    h = x * 3
    first = h.register_hook(log.hook("first", lambda g: g * 2))
    second = h.register_hook(log.hook("second"))
    last = x.register_hook(log.hook("last"))
    loss = (h * h).sum()
    loss.backward(retain_graph=True)
    first.remove()
    loss.backward(retain_graph=True)
    second.remove()
    last.remove()
    last.remove()
    loss.backward()
    with x.register_hook(log.hook("within")):
        (x * 2).sum().backward()
    (x * 2).sum().backward()
    return log, x.grad


def removes_itself(m):
    log = Log()
    x = leaf(m, 1.0, 2.0)
    handles = []

    def once(gradient):
        log.append("once")
        handles[0].remove()

    handles.append(x.register_hook(once))
    x.register_hook(log.hook("always"))
    for _ in range(2):
        (x * x).sum().backward()
    return log, x.grad


def several_uses_are_summed(m):
    log = Log()
    x = leaf(m, 1.0, 2.0)
    h = x.exp()
    before = h.sum()  # recorded before the hook, and seen by it
    h.register_hook(log.hook("h"))
    x.register_hook(log.hook("x"))
    ((h * h).sum() + before + (x * h).sum()).backward()
    return [name for name, _ in log], len(log)


def across_reads(m):
    log = Log()
    x = leaf(m, 1.0, 2.0)
    h = x * 3
    h.sum().item()
    h.register_hook(log.hook("of a value that was read", lambda g: g * 2))
    k = h * h
    k.register_hook(log.hook("before a read"))
    k.sum().item()
    x.register_hook(log.hook("leaf"))
    (k * 2).sum().backward()
    return log, x.grad


def of_views(m):
    log = Log()
    x = leaf(m, 1.0, 2.0, 3.0)
    y = x * 2
    view = y[1:]
    view.register_hook(log.hook("view", lambda g: g * 5))
    (view * view).sum().backward()
    return log, x.grad


def around_a_write(m):
    log = Log()
    x = leaf(m, 1.0, 2.0)
    y = x * 3
    y.register_hook(log.hook("before"))
    y.mul_(4)
    y.register_hook(log.hook("after"))
    y.sum().backward()
    return log, x.grad


def retained(m):
    x = leaf(m, 1.0, 2.0)
    h = x * 3
    h.retain_grad()
    h.register_hook(lambda g: g * 2)
    (h * h).sum().backward()
    return h.grad, x.grad


def gradients_on_demand(m):
    """autograd.grad and backward(inputs=...) call the hooks on the way to the inputs alone."""
    log = Log()
    x, w = leaf(m, 1.0, 2.0), leaf(m, 0.0, 0.0)
    h = x * 2
    v = w.exp()
    k = h * v
    for name, tensor in {"x": x, "w": w, "h": h, "v": v, "k": k}.items():
        tensor.register_hook(log.hook(name, lambda g: g * 2))
    loss = k.sum() + (h * h).sum() + v.sum()
    passes = []

    def note(gradients):
        passes.append((sorted(log), gradients))
        log.clear()

    note(m.autograd.grad(loss, h, retain_graph=True))
    note(m.autograd.grad(loss, x, retain_graph=True))
    note(m.autograd.grad(loss, [w, h], retain_graph=True))
    note(loss.backward(inputs=[w], retain_graph=True))
    k.sum().item()
    note(m.autograd.grad(loss, [v], retain_graph=True))
    note(loss.backward(inputs=[x]))
    return passes, x.grad, w.grad


def with_create_graph(m):
    x = leaf(m, 1.0, 2.0)
    h = x * x
    h.register_hook(lambda g: g * g * x)
    (g,) = m.autograd.grad((h * h).sum(), x, create_graph=True)
    (second,) = m.autograd.grad(g.sum(), x)
    return g, second


def modes_inside(m):
    seen = []
    x = leaf(m, 1.0, 2.0)
    x.register_hook(lambda g: seen.append((m.is_grad_enabled(), g.requires_grad)))
    (x * x).sum().backward()
    (x * x).sum().backward(create_graph=True)
    return seen


def reads_and_computes_inside(m):
    seen = []
    x = leaf(m, 1.0, 2.0)
    h = (x * 2).tanh()

    def hook(gradient):
        seen.append(bool((gradient > 0).all()))
        inner = leaf(m, 5.0)
        with m.enable_grad():
            (inner * inner).sum().backward()  # another pass, inside this one
        seen.append(inner.grad)
        return gradient.clamp(max=0.5) if gradient.max() > 0.5 else None

    h.register_hook(hook)
    (h * h).sum().backward()
    return [v if isinstance(v, bool) else v.tolist() for v in seen], (x.grad * 1e4).round()


def twice_the_same(m):
    log = Log()
    x = leaf(m, 1.0, 2.0)
    hook = log.hook("both", lambda g: g * 2)
    x.register_hook(hook)
    x.register_hook(hook)
    x.sum().backward()
    return log, x.grad


def after_accumulation(m):
    log = Log()
    x = leaf(m, 1.0, 2.0)
    handle = x.register_post_accumulate_grad_hook(lambda p: log.append((p is x, p.grad.tolist())))
    x.register_hook(log.hook("before", lambda g: g * 2))
    for _ in range(2):
        (x * x).sum().backward()
    m.autograd.grad((x * x).sum(), x)
    log.append("no more")
    handle.remove()
    (x * x).sum().backward()
    return log, x.grad


def an_optimizer_in_backward(m):
    a, b = leaf(m, 1.0, 2.0), leaf(m, 3.0)
    optimizers = {p: m.optim.SGD([p], lr=0.1) for p in (a, b)}

    def step(p):
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in (a, b):
        p.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        (a * a * b).sum().backward()
    return (a * 1e4).round(), (b * 1e4).round(), a.grad, b.grad


PROGRAMS = [
    order_and_replacement, removal, removes_itself, several_uses_are_summed, across_reads, of_views,
    around_a_write, retained, gradients_on_demand, with_create_graph, modes_inside,
    reads_and_computes_inside, twice_the_same, after_accumulation, an_optimizer_in_backward,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore:Using backward")
def test_as_pytorch(program):
    assert plain(program(tn)) == plain(program(torch))


def test_mistakes():
    x = leaf(tn, 1.0, 2.0)
    with pytest.raises(RuntimeError, match="doesn't require grad"):
        tn.ones(2).register_hook(print)
    with pytest.raises(RuntimeError, match="non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(NotImplementedError, match="vmap"):
        tn.vmap(lambda v: (v * x).register_hook(print))(tn.ones(3, 2))
    for hook, error, words in [
        (lambda g: g[:1], RuntimeError, "size"),
        (lambda g: g.double(), RuntimeError, "dtype"),
        (lambda g: 3, TypeError, "None or a Tensor"),
        (lambda g: 1 / 0, ZeroDivisionError, "division"),
    ]:
        h = x * 2
        h.register_hook(hook)
        with pytest.raises(error, match=words):
            h.sum().backward()
    (x * 3).sum().backward()  # nothing of that has stayed
    assert x.grad.tolist() == [3, 3]


def test_hooks_go_with_what_they_belong_to():
    class Hook:
        def __call__(self, gradient):
            pass

    alive = []

    def add(tensor):
        hook = Hook()
        alive.append(weakref.ref(hook))
        tensor.register_hook(hook)

    x = leaf(tn, 1.0, 2.0)
    for _ in range(3):
        h = x * 2
        add(h)
        loss = (h * h).sum()
        loss.item()
        k = loss * 3
        add(k)
        k.backward()
    add(x)
    assert alive[-1]() is not None
    del h, k, loss, x
    tn.flush()
    gc.collect()
    tn.ones(1)
    assert [hook() for hook in alive] == [None] * len(alive)


def test_other_threads_record_while_a_hook_runs():
    x = leaf(tn, 1.0, 2.0)
    results = []

    def hook(gradient):
        thread = threading.Thread(target=lambda: results.append((tn.ones(3) * 2).sum().item()))
        thread.start()
        thread.join()
        return gradient * 2

    h = x * 3
    h.register_hook(hook)
    h.sum().backward()
    assert results == [6] and x.grad.tolist() == [6, 6]

"""What a fuzzed program is put under, by name: derivatives and batches, nested.

Each takes the module, the program's body as a function of its inputs, and the inputs, and gives the
tensors to compare. A function under a transform is `scalar` (a loss of all results) or `several`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Body = Callable[..., list[Any]]  # of the inputs: real tensors


def scalar_of(values: list[Any]) -> Any:
    total = values[0].sum() * 0
    for value in values:
        total = total + (value * 0.5).sin().sum()
    return total


def batched(m: Any, xs: list[Any]) -> list[Any]:
    return [m.stack([x, x * 0.5 + 0.1, -x]) for x in xs]


def vmap(m: Any, f: Callable[..., Any]) -> Callable[..., Any]:
    return m.vmap(f, randomness="different")


def everything(f: Callable[..., Any], m: Any, xs: list[Any]) -> Any:
    return m.func.grad(f, argnums=tuple(range(len(xs))))


def grad(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    return list(everything(lambda *a: scalar_of(body(*a)), m, xs)(*xs))


def vjp(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    outputs, pull = m.func.vjp(lambda *a: tuple(body(*a)), *xs)
    return [*outputs, *pull(tuple(y * 0.5 + 0.7 for y in outputs))]


def jvp_of(m: Any, f: Callable[..., Any], xs: list[Any]) -> tuple[Any, Any]:
    return m.func.jvp(f, tuple(xs), tuple(x * 0.25 + 0.7 for x in xs))


def jvp(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    values, tangents = jvp_of(m, lambda *a: tuple(body(*a)), xs)
    return [*values, *tangents]


def linearize(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    def loss(*a: Any) -> Any:
        return scalar_of(body(*a))

    if m.__name__ == "torch":  # whose linearize reads saved values after writes to them
        return list(jvp_of(m, loss, xs))
    value, differential = m.func.linearize(loss, *xs)
    return [value, differential(*[x * 0.25 + 0.7 for x in xs])]


def vmap_alone(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    return list(vmap(m, lambda *a: tuple(body(*a)))(*batched(m, xs)))


def vmap_of_vmap(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    twice = batched(m, batched(m, xs))
    return list(vmap(m, vmap(m, lambda *a: tuple(body(*a))))(*twice))


def vmap_of_grad(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    return list(vmap(m, everything(lambda *a: scalar_of(body(*a)), m, xs))(*batched(m, xs)))


def grad_of_vmap(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    per_example = vmap(m, lambda *a: scalar_of(body(*a)))
    return list(everything(lambda *a: per_example(*a).sum(), m, xs)(*batched(m, xs)))


def jvp_of_vmap(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    per_example = vmap(m, lambda *a: scalar_of(body(*a)))
    return list(jvp_of(m, per_example, batched(m, xs)))


def vmap_of_jvp(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    per_example = vmap(m, lambda *a: jvp_of(m, lambda *b: scalar_of(body(*b)), list(a)))
    return list(per_example(*batched(m, xs)))


def grad_of_grad(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    def size(*a: Any) -> Any:
        return scalar_of(list(everything(lambda *b: scalar_of(body(*b)), m, xs)(*a)))

    return list(everything(size, m, xs)(*xs))


def jvp_of_grad(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    values, tangents = jvp_of(m, everything(lambda *a: scalar_of(body(*a)), m, xs), xs)
    return [*values, *tangents]


def grad_of_jvp(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    def tangent(*a: Any) -> Any:
        return jvp_of(m, lambda *b: scalar_of(body(*b)), list(a))[1]

    return list(everything(tangent, m, xs)(*xs))


def first(body: Body, xs: list[Any]) -> Callable[[Any], Any]:
    return lambda x: body(x, *xs[1:])[-1]


def jacrev(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    return [m.func.jacrev(first(body, xs))(xs[0])]


def jacfwd(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    return [m.func.jacfwd(first(body, xs))(xs[0])]


def hessian(m: Any, body: Body, xs: list[Any]) -> list[Any]:
    return [m.func.hessian(lambda x: scalar_of(body(x, *xs[1:])))(xs[0])]


FUNCTIONAL: dict[str, Callable[[Any, Body, list[Any]], list[Any]]] = {
    "grad": grad,
    "vjp": vjp,
    "jvp": jvp,
    "linearize": linearize,
    "vmap": vmap_alone,
    "vmap_of_vmap": vmap_of_vmap,
    "vmap_of_grad": vmap_of_grad,
    "grad_of_vmap": grad_of_vmap,
    "jvp_of_vmap": jvp_of_vmap,
    "vmap_of_jvp": vmap_of_jvp,
    "grad_of_grad": grad_of_grad,
    "jvp_of_grad": jvp_of_grad,
    "grad_of_jvp": grad_of_jvp,
    "jacrev": jacrev,
    "jacfwd": jacfwd,
    "hessian": hessian,
}
EAGER = ("none", "backward", "double_backward")
TRANSFORMS = (*EAGER, *FUNCTIONAL)
HIGHER = {"double_backward", "grad_of_grad", "jvp_of_grad", "grad_of_jvp", "vmap_of_vmap"}
HIGHER |= {"jacrev", "jacfwd", "hessian", "vmap_of_grad", "vmap_of_jvp"}
BATCHED = {n for n in TRANSFORMS if "vmap" in n or n in ("jacfwd", "hessian")}  # can't be cut

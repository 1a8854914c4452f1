"""Derivatives of functions: taking arguments apart and results together.

C++ marks what goes in (enter), and transforms what was recorded in between (exit, pull).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .. import _C
from .._C import Tensor
from ..utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten
from ._batching import vmap

Function = Callable[..., Any]
ArgNums = int | tuple[int, ...]


def _tensors(tree: Any, where: str) -> tuple[list[Tensor], TreeSpec]:
    leaves, spec = tree_flatten(tree)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise ValueError(f"{where}: expected tensors, got {type(leaf).__name__}")
    return leaves, spec


def _split_aux(result: Any, has_aux: bool, where: str) -> tuple[Any, Any]:
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise RuntimeError(f"{where}: output of function f should be a tuple: (output, aux)")
    return result


class _Reverse:
    """One run of a function whose derivatives will be pulled back."""

    def __init__(self, function: Function, primals: Any, has_aux: bool, where: str) -> None:
        leaves, spec = _tensors(primals, where)
        transform = _C._ReverseTransform()
        try:
            entered = [transform.enter(leaf) for leaf in leaves]
            result = function(*tree_unflatten(entered, spec))
            output, aux = _split_aux(result, has_aux, where)
            outputs, self.output_spec = _tensors(output, where)
            aux_leaves, aux_spec = tree_flatten(aux)
            aux_tensors = [i for i, leaf in enumerate(aux_leaves) if isinstance(leaf, Tensor)]
            # Auxiliary tensors leave the transform like outputs, and get no cotangent.
            self.count = len(outputs)
            finished = transform.exit(outputs + [aux_leaves[i] for i in aux_tensors])
        finally:  # after an exception nothing may stay open, however long its traceback is kept
            transform.close()
        for i, leaf in zip(aux_tensors, finished[self.count :], strict=True):
            aux_leaves[i] = leaf
        self.transform = transform
        self.total = len(finished)
        self.input_spec = spec
        self.outputs = finished[: self.count]
        self.output = tree_unflatten(self.outputs, self.output_spec)
        self.aux = tree_unflatten(aux_leaves, aux_spec)

    def pull(self, cotangents: list[Tensor]) -> Any:
        padded = cotangents + [None] * (self.total - self.count)
        return tree_unflatten(self.transform.pull(padded), self.input_spec)


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """(func(*primals), a function from cotangents of the output to cotangents of the primals).

    With has_aux, func returns (output, aux), and aux is the third result. The pullback gives one
    result for one primal and a tuple for several; it may be called any number of times.
    Errors: ValueError for what is no tensor, RuntimeError for cotangents of another structure or
    size.

    Example::

        >>> x, y = tn.tensor([1.0, 2.0]), tn.tensor(3.0)
        >>> output, pullback = tn.func.vjp(tn.mul, x, y)
        >>> pullback(tn.tensor([1.0, 1.0]))
        (tensor([3., 3.]), tensor(3.))
    """
    run = _Reverse(func, primals, has_aux, "vjp")

    def pullback(cotangents: Any, *more: Any) -> Any:
        if more:
            cotangents = (cotangents, *more)
        leaves, spec = _tensors(cotangents, "vjp")
        if spec != run.output_spec:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of "
                "outputs "
                f"to the function: {spec} and {run.output_spec}"
            )
        for leaf, output in zip(leaves, run.outputs, strict=True):
            if leaf.shape != output.shape:
                raise RuntimeError(
                    f"vjp: cotangent of size {tuple(leaf.shape)} for an output of size "
                    f"{tuple(output.shape)}"
                )
        result = run.pull(leaves)
        return result[0] if len(primals) == 1 else result

    return (run.output, pullback, run.aux) if has_aux else (run.output, pullback)


def linearize(func: Function, *primals: Any) -> tuple[Any, Function]:
    """(func(*primals), its differential: a function from tangents to the output's tangent).

    Example::

        >>> output, differential = tn.func.linearize(tn.square, tn.tensor([1.0, 2.0]))
        >>> differential(tn.tensor([1.0, 10.0]))
        tensor([ 2., 40.])
    """
    start = _C.default_generator.get_state()
    output, _ = jvp(func, primals, tree_map(_C._all["zeros_like"], primals))

    def differential(*tangents: Any) -> Any:
        now = _C.default_generator.get_state()  # the function runs again, and draws what it drew
        _C.default_generator.set_state(start)
        try:
            return jvp(func, primals, tangents)[1]
        finally:
            _C.default_generator.set_state(now)

    return output, differential


def jvp(func: Function, primals: Any, tangents: Any, *, has_aux: bool = False) -> Any:
    """(func(*primals), its derivative in the direction of tangents[, aux]).

    Errors: RuntimeError unless primals and tangents are tuples of equal structure and sizes.

    Example::

        >>> tn.func.jvp(tn.square, (tn.tensor([1.0, 2.0]),), (tn.tensor([1.0, 10.0]),))
        (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(f"jvp: expected primals to be a tuple, got {type(primals).__name__}")
    if not isinstance(tangents, tuple) or len(tangents) != len(primals):
        raise RuntimeError("jvp: expected as many tangents as primals, in a tuple")
    leaves, spec = _tensors(primals, "jvp")
    directions, direction_spec = _tensors(tangents, "jvp")
    if spec != direction_spec:
        raise RuntimeError("jvp: expected primals and tangents to have the same structure")
    for leaf, direction in zip(leaves, directions, strict=True):
        if leaf.shape != direction.shape:
            raise RuntimeError(
                f"jvp: tangent of size {tuple(direction.shape)} for a primal of size "
                f"{tuple(leaf.shape)}"
            )
    transform = _C._ForwardTransform()
    try:
        entered = [transform.enter(p, t) for p, t in zip(leaves, directions, strict=True)]
        result = func(*tree_unflatten(entered, spec))
        output, aux = _split_aux(result, has_aux, "jvp")
        outputs, output_spec = _tensors(output, "jvp")
        aux_leaves, aux_spec = tree_flatten(aux)
        aux_tensors = [i for i, leaf in enumerate(aux_leaves) if isinstance(leaf, Tensor)]
        values, derivatives = transform.exit(outputs + [aux_leaves[i] for i in aux_tensors])
    finally:
        transform.close()
    for i, leaf in zip(aux_tensors, values[len(outputs) :], strict=True):
        aux_leaves[i] = leaf
    results = (
        tree_unflatten(values[: len(outputs)], output_spec),
        tree_unflatten(derivatives[: len(outputs)], output_spec),
    )
    return (*results, tree_unflatten(aux_leaves, aux_spec)) if has_aux else results


def _indices(argnums: ArgNums, count: int) -> list[int]:
    wanted = (argnums,) if isinstance(argnums, int) else argnums
    for i in wanted:
        if not -count <= i < count:
            raise RuntimeError(f"Got argnum={i}, but only {count} positional inputs")
    return [i % count for i in wanted]


def _partial(func: Function, args: tuple[Any, ...], kwargs: Any, at: list[int]) -> Function:
    """func of the arguments at the given places alone."""

    def restricted(*chosen: Any) -> Any:
        full = list(args)
        for i, value in zip(at, chosen, strict=True):
            full[i] = value
        return func(*full, **kwargs)

    return restricted


def grad_and_value(func: Function, argnums: ArgNums = 0, has_aux: bool = False) -> Function:
    """A function that gives (gradients, value), or (gradients, (value, aux)) with has_aux.

    Example::

        >>> tn.func.grad_and_value(lambda x: (x**2).sum())(tn.tensor([1.0, 2.0]))
        (tensor([2., 4.]), tensor(5.))
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        at = _indices(argnums, len(args))
        restricted = _partial(func, args, kwargs, at)
        run = _Reverse(restricted, tuple(args[i] for i in at), has_aux, "grad")
        if run.count != 1 or not isinstance(run.output, Tensor):
            raise RuntimeError(
                "Expected f(*args) to return a single tensor, got "
                f"{type(run.output).__name__} of {run.count} tensors"
            )
        if run.output.ndim != 0:
            raise RuntimeError(
                "Expected f(*args) to return a scalar tensor, got tensor with "
                f"{run.output.ndim} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
            )
        grads = run.pull([_C._all["ones_like"](run.output)])
        grads = grads[0] if isinstance(argnums, int) else grads
        return (grads, (run.output, run.aux)) if has_aux else (grads, run.output)

    return wrapper


def grad(func: Function, argnums: ArgNums = 0, has_aux: bool = False) -> Function:
    """The gradient of a function that returns a scalar, with respect to arguments by number.

    Gradients have the arguments' sizes and dtypes; for a tuple of argnums they come as a tuple.
    Errors: RuntimeError where the function returns anything but one 0-d tensor.

    Example::

        >>> tn.func.grad(lambda x: (x**3).sum())(tn.tensor([1.0, 2.0]))
        tensor([ 3., 12.])
        >>> tn.func.grad(tn.func.grad(lambda x: x**3))(tn.tensor(2.0))
        tensor(12.)
    """
    with_value = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        grads, value = with_value(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapper


def value_and_grad(func: Function, argnums: ArgNums = 0, has_aux: bool = False) -> Function:
    """As grad_and_value, in JAX's order: (value, gradients).

    Example::

        >>> tn.func.value_and_grad(lambda x: (x**2).sum())(tn.tensor([1.0, 2.0]))
        (tensor(5.), tensor([2., 4.]))
    """
    swapped = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        grads, value = swapped(*args, **kwargs)
        return value, grads

    return wrapper


# ---- Jacobians -----------------------------------------------------------------------------------


def _basis(like: list[Tensor]) -> list[Tensor]:
    """One unit vector for each element of the tensors, along a leading dimension."""
    total = sum(x.numel() for x in like)
    start, result = 0, []
    for x in like:
        n = x.numel()
        unit = _C._all["eye"](n, dtype=x.dtype, device=x.device)
        unit = _C._functional.pad(unit, (0, 0, start, total - start - n))
        result.append(unit.reshape(total, *x.shape))
        start += n
    return result


def jacrev(
    func: Function,
    argnums: ArgNums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Function:
    """The Jacobian, by reverse mode: one pullback for each element of the output, batched.

    Of an output of size (*m) with respect to an argument of size (*n): (*m, *n).

    Example::

        >>> tn.func.jacrev(tn.square)(tn.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        at = _indices(argnums, len(args))
        restricted = _partial(func, args, kwargs, at)
        run = _Reverse(restricted, tuple(args[i] for i in at), has_aux, "jacrev")

        def pull(*cotangents: Tensor) -> Any:
            return run.pull(list(cotangents))

        rows = vmap(pull, chunk_size=chunk_size)(*_basis(run.outputs))
        columns, _ = tree_flatten(rows)
        sizes = [output.numel() for output in run.outputs]
        blocks = []  # one structure of inputs for each output
        for k, output in enumerate(run.outputs):
            start = sum(sizes[:k])
            parts = [
                column.narrow(0, start, sizes[k]).reshape(*output.shape, *column.shape[1:])
                for column in columns
            ]
            block = tree_unflatten(parts, run.input_spec)
            blocks.append(block[0] if isinstance(argnums, int) else block)
        result = tree_unflatten(blocks, run.output_spec)
        return (result, run.aux) if has_aux else result

    return wrapper


def jacfwd(
    func: Function,
    argnums: ArgNums = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
    chunk_size: int | None = None,
) -> Function:
    """The Jacobian, by forward mode: one direction for each element of the arguments, batched.

    Of an output of size (*m) with respect to an argument of size (*n): (*m, *n).

    Example::

        >>> tn.func.jacfwd(lambda x: x.prod())(tn.tensor([2.0, 5.0]))
        tensor([5., 2.])
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        at = _indices(argnums, len(args))
        restricted = _partial(func, args, kwargs, at)
        primals = tuple(args[i] for i in at)
        leaves, spec = _tensors(primals, "jacfwd")

        def push(*directions: Tensor) -> Any:
            tangents = tree_unflatten(list(directions), spec)
            results = jvp(restricted, primals, tangents, has_aux=has_aux)
            return results[1:] if has_aux else results[1]

        # The derivative of each output along each element, the elements last.
        pushed = vmap(
            push,
            out_dims=(-1, None) if has_aux else -1,
            randomness=randomness,
            chunk_size=chunk_size,
        )(*_basis(leaves))
        derivatives, aux = pushed if has_aux else (pushed, None)
        outputs, output_spec = tree_flatten(derivatives)
        blocks = []
        for output in outputs:
            start, parts = 0, []
            for leaf in leaves:
                part = output.narrow(-1, start, leaf.numel())
                parts.append(part.reshape(*output.shape[:-1], *leaf.shape))
                start += leaf.numel()
            block = tree_unflatten(parts, spec)
            blocks.append(block[0] if isinstance(argnums, int) else block)
        result = tree_unflatten(blocks, output_spec)
        return (result, aux) if has_aux else result

    return wrapper


def hessian(func: Function, argnums: ArgNums = 0) -> Function:
    """The matrix of second derivatives: the forward-mode Jacobian of the reverse-mode one.

    Of an output of size (*m) with respect to an argument of size (*n): (*m, *n, *n).

    Example::

        >>> tn.func.hessian(lambda x: x[0] ** 2 * x[1])(tn.tensor([1.0, 3.0]))
        tensor([[6., 2.],
                [2., 0.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)

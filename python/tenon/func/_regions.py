"""Control flow as part of the program: loops and branches that are recorded once and run compiled.

A body is recorded on tensors that stand for its parameters. Tensors of the surrounding program are
used inside as they are, and get their derivatives. What does not depend on the parameters of a loop
is computed once, before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import _C
from .._C import Tensor
from ..utils._pytree import TreeSpec, tree_flatten, tree_unflatten

Function = Callable[..., Any]


def _name(path: str, count: int, index: int) -> str:
    return path if count == 1 else f"{path}, leaf {index}"


def _type(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('tenon.')}{list(x.shape)}"


def _tensors(tree: Any, where: str) -> tuple[list[Tensor], TreeSpec]:
    leaves, spec = tree_flatten(tree)
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, (bool, int, float, complex)):
            leaves[i] = _C.tensor(leaf)
        elif not isinstance(leaf, Tensor):
            raise TypeError(
                f"{_name(where, len(leaves), i)}: expected a tensor, got {type(leaf).__name__}"
            )
    return leaves, spec


def _check_carry(
    where: str, result: Any, before: list[Tensor], before_spec: TreeSpec
) -> list[Tensor]:
    after, spec = _tensors(result, f"{where}: the carry")
    if spec != before_spec:
        raise TypeError(
            f"{where}: the body must return a carry of the structure it was given: "
            f"{before_spec.num_leaves} leaves in {before_spec}, got {spec.num_leaves} in {spec}"
        )
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        if old.dtype != new.dtype or old.shape != new.shape:
            raise TypeError(
                f"{where}: {_name('the carry', len(after), i)} changes its type from "
                f"{_type(old)} to {_type(new)} in one step; convert it inside the body, or begin "
                "with the type it ends with"
            )
    return after


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """A loop that carries values from step to step and stacks what each step gives.

    The signature is that of `jax.lax.scan`; `torch._higher_order_ops.scan` is the same with
    dim=0. It computes::

        for t in range(length):              # backwards with reverse
            carry, y = f(carry, x[t])
            ys[t] = y
        return carry, stack(ys)

    carry, x and y are tensors, or nested structures of them; y may be None. f is called once: a
    longer sequence, like a smaller one, compiles nothing new. Inside f random operations draw
    other numbers in each step, values can't be read, and tensors from outside can't be written
    in place. Derivatives of both modes and any order, and vmap, go through.

    Shape: xs of (length, *), each step sees (*); ys (length, *). Carry: as init, in each step.
    Errors: TypeError for a carry whose dtype, shape or structure f changes, ValueError for stacks
    of different lengths or without any, RuntimeError for reads and writes inside f.

    Example::

        >>> total, sums = tn.scan(lambda c, x: (c + x, c + x), tn.tensor(0), tn.tensor([1, 2, 3]))
        >>> sums
        tensor([1, 3, 6])
        >>> tn.scan(lambda c, _: (c * 2, None), tn.tensor(1.0), length=5)
        (tensor(32.), None)
    """
    carry, carry_spec = _tensors(init, "scan: init")
    if xs is None:
        stacks: list[Tensor] = []
        xs_spec = None
        if length is None:
            raise ValueError("scan: without xs, length must say how many steps there are")
    else:
        stacks, xs_spec = _tensors(xs, "scan: xs")
        for i, stack in enumerate(stacks):
            if stack.ndim == 0:
                raise ValueError(
                    f"scan: {_name('xs', len(stacks), i)} is 0-d; a stack of steps has dimensions"
                )
            if length is None:
                length = int(stack.shape[0])
            if stack.shape[0] != length:
                raise ValueError(
                    f"scan: {_name('xs', len(stacks), i)} has {stack.shape[0]} steps along "
                    f"dimension 0, where {length} are expected"
                )
    if length is None or length < 0:
        raise ValueError(f"scan: the length must be a number of steps, got {length}")
    body = _C._Region("scan", length)
    try:
        state = [body.parameter(leaf) for leaf in carry]
        steps = [body.element(stack) for stack in stacks]
        x = None if xs_spec is None else tree_unflatten(steps, xs_spec)
        result = f(tree_unflatten(list(state), carry_spec), x)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                f"scan: f must return (carry, y), got {type(result).__name__}"
                + (f" of {len(result)}" if isinstance(result, tuple) else "")
            )
        after = _check_carry("scan", result[0], carry, carry_spec)
        ys, ys_spec = tree_flatten(result[1])
        given = [y for y in ys if y is not None]
        for y in given:
            if not isinstance(y, Tensor):
                raise TypeError(f"scan: expected tensors to stack, got {type(y).__name__}")
        outputs = body.scan(after + given, carry, stacks, length, bool(reverse))
    finally:  # after an exception nothing may stay open, however long its traceback is kept
        body.close()
    stacked = iter(outputs[len(carry) :])
    return (
        tree_unflatten(outputs[: len(carry)], carry_spec),
        tree_unflatten([None if y is None else next(stacked) for y in ys], ys_spec),
    )


def while_loop(cond_fn: Function, body_fn: Function, carried_inputs: Any) -> Any:
    """A loop of as many steps as a condition asks for.

    The signature is that of `torch._higher_order_ops.while_loop`: cond_fn(*carry) gives a bool of
    one element, body_fn(*carry) the next carry, of the same structure, dtypes and shapes. With
    carried_inputs that are no tuple or list (`jax.lax.while_loop`'s way, but for the order) both
    take and give the one value. Both functions are called once.

    Forward-mode derivatives and vmap go through: a batch runs until the last example is done.
    Errors: TypeError for a carry whose type changes, or a condition that is no bool of one element;
    RuntimeError for a derivative in reverse mode (use scan), for random operations, and for reads
    and writes inside.

    Example::

        >>> tn.while_loop(lambda x: x < 100, lambda x: x * 3, tn.tensor(2))
        tensor(162)
        >>> start = (tn.tensor(0), tn.ones(2))
        >>> tn.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x / 2), start)
        (tensor(3), tensor([0.1250, 0.1250]))
    """
    several = isinstance(carried_inputs, (tuple, list))
    carry, spec = _tensors(carried_inputs, "while_loop: carried_inputs")

    def call(function: Function, leaves: list[Tensor]) -> Any:
        state = tree_unflatten(leaves, spec)
        return function(*state) if several else function(state)

    condition = _C._Region("while_loop", _C._NO_STEPS)
    body = _C._Region("while_loop", _C._NO_STEPS)
    try:
        holds = call(cond_fn, [condition.parameter(leaf) for leaf in carry])
        if isinstance(holds, bool):
            holds = _C.tensor(holds)
        if not isinstance(holds, Tensor) or holds.dtype != _C.bool or holds.numel() != 1:
            shown = _type(holds) if isinstance(holds, Tensor) else type(holds).__name__
            raise TypeError(f"while_loop: cond_fn must return a bool of one element, got {shown}")
        condition.finish([holds.reshape(())])
        result = call(body_fn, [body.parameter(leaf) for leaf in carry])
        if several and isinstance(result, (tuple, list)):
            result = type(carried_inputs)(result)
        after = _check_carry("while_loop", result, carry, spec)
        outputs = body.while_loop(condition, after, carry)
    finally:
        condition.close()
        body.close()
    return tree_unflatten(outputs, spec)


def cond(pred: Any, true_fn: Function, false_fn: Function, operands: Sequence[Any] = ()) -> Any:
    """true_fn(*operands) where pred holds, else false_fn(*operands), decided when it runs.

    The signature is that of `torch.cond`. Both functions are called once, to record them; the
    branch that is not taken does not run. They must give equal structures, dtypes and shapes.
    A pred that is no tensor picks the branch at once. Under vmap, a pred that differs between
    examples runs both branches and selects. Random numbers are drawn whichever branch is taken.

    Errors: TypeError for branches whose results differ, or a pred that is no bool or number of one
    element; RuntimeError for reads, and writes to tensors from outside, in the branches.

    Example::

        >>> x = tn.tensor([1.0, 4.0])
        >>> tn.cond(x.sum() > 3, lambda x: x.sqrt(), lambda x: -x, (x,))
        tensor([1., 2.])
    """
    if not isinstance(operands, (tuple, list)):
        raise TypeError(f"cond: operands must be a tuple or list, got {type(operands).__name__}")
    if not isinstance(pred, Tensor):
        if not isinstance(pred, (bool, int)):
            raise TypeError(f"cond: pred must be a bool or a tensor, got {type(pred).__name__}")
        return (true_fn if pred else false_fn)(*operands)
    if pred.numel() != 1:
        raise TypeError(f"cond: pred must have one element, got {_type(pred)}")
    predicate = pred.reshape(()) if pred.dtype == _C.bool else pred.reshape(()) != 0
    if_true = _C._Region("cond", _C._ONCE)
    if_false = None
    try:
        a, a_spec = _tensors(true_fn(*operands), "cond: the result of true_fn")
        if_false = _C._Region("cond", _C._ONCE)
        if_true.finish(a)
        b, b_spec = _tensors(false_fn(*operands), "cond: the result of false_fn")
        if a_spec != b_spec:
            raise TypeError(f"cond: true_fn returns {a_spec}, false_fn {b_spec}")
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            if x.dtype != y.dtype or x.shape != y.shape:
                raise TypeError(
                    f"cond: the branches differ: {_name('the result', len(a), i)} is {_type(x)} "
                    f"from true_fn and {_type(y)} from false_fn"
                )
        outputs = if_false.cond(if_true, b, predicate)
    finally:
        if_true.close()
        if if_false is not None:
            if_false.close()
    return tree_unflatten(outputs, a_spec)

"""Calls of operations, and their derivatives, on flat lists of tensors.

Whatever an operation declares (a backward, a jvp, a transpose, or none), a call has both modes:
what isn't declared is derived from what is, by the transposition of a linear function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import _C, func
from .._C import Tensor
from ..autograd.function import Function, FunctionCtx
from ._schema import FLAG, INTEGER, INTEGERS, NONE, NUMBER, NUMBERS, TEXT

if TYPE_CHECKING:
    from ._operation import CustomOpDef

Tensors = list[Any]  # of tensors, and None where there is none


def is_differentiable(x: Any) -> bool:
    """Whether a value has derivatives."""
    return isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex())


def zeros_like(x: Tensor) -> Any:
    """Zeros of its type."""
    return _C._all["zeros_like"](x)


class Call:
    """One call of an operation: what isn't a tensor of it, and its rules on what is."""

    def __init__(self, op: CustomOpDef, attributes: Sequence[Any]) -> None:
        self.op = op
        self.attributes = list(attributes)

    def values(self, tensors: Sequence[Any]) -> list[Any]:
        return self.op._schema.unflatten(tensors, self.attributes)

    def run(self, tensors: Tensors) -> list[Tensor]:
        """The results, by the operation's body."""
        return self.op._run(self.values(tensors))

    def prepare(self, tensors: Tensors, results: list[Tensor]) -> FunctionCtx:
        """What setup_context leaves for the backward, saved tensors not yet settled."""
        values = self.values(tensors)
        ctx = FunctionCtx(self.op._needs(values))
        setup = self.op._setup_context
        if setup is not None:
            output = self.op._shaped(results)
            positional, named = self.op._called(values)
            if named:
                setup(ctx=ctx, inputs=positional, keyword_only_inputs=named, output=output)
            else:
                setup(ctx=ctx, inputs=positional, output=output)
        elif self.op._backward is None:  # derived: reads what the declared rule does
            ctx.save_for_backward(*tensors, *results)
        return ctx

    def backward(self, ctx: FunctionCtx, gradients: Tensors, count: int) -> Tensors:
        """The gradients of the tensors, of which there are `count`, from those of the results."""
        op = self.op
        if op._backward is not None:
            given = op._backward(ctx, *(gradients if not op._schema.gives_list else [gradients]))
            return op._flat_gradients(given, self.attributes, count)
        saved: Tensors = list(ctx.saved_tensors)
        push = self.forward if op._jvp is not None else self._push_body
        return self._transposed(push, saved[:count], saved[count:], gradients)

    def forward(self, tensors: Tensors, results: list[Tensor], tangents: Tensors) -> Tensors:
        """The tangents of the results, from those of the tensors."""
        op = self.op
        if op._jvp is not None:
            values = self.values(tensors)
            given = op._jvp(tuple(values), tuple(self.values(tangents)), op._shaped(results))
            return op._flat(given, "jvp")
        if op._backward is not None:
            return self._pulled_twice(tensors, results, tangents)
        return self._push_body(tensors, results, tangents)

    def _push_body(self, tensors: Tensors, results: list[Tensor], tangents: Tensors) -> Tensors:
        """Forward mode of a body whose operations have derivatives."""
        at = [k for k, tangent in enumerate(tangents) if tangent is not None]

        def body(*primals: Tensor) -> tuple[Tensor, ...]:
            given = list(tensors)
            for k, primal in zip(at, primals):
                given[k] = primal
            return tuple(self.run(given))

        _, pushed = func.jvp(body, tuple(tensors[k] for k in at), tuple(tangents[k] for k in at))
        return list(pushed)

    def _transposed(
        self,
        forward: Callable[..., Tensors],
        tensors: Tensors,
        results: list[Tensor],
        gradients: Tensors,
    ) -> Tensors:
        """Reverse mode: the transpose of forward mode, which is linear in the tangents."""
        at = [k for k, x in enumerate(tensors) if is_differentiable(x)]
        real = [k for k, y in enumerate(results) if is_differentiable(y)]

        def push(*tangents: Tensor) -> tuple[Any, ...]:
            given: Tensors = [None] * len(tensors)
            for k, tangent in zip(at, tangents):
                given[k] = tangent
            found = forward(tensors, results, given)
            return tuple(zeros_like(results[k]) if found[k] is None else found[k] for k in real)

        _, pull = func.vjp(push, *(zeros_like(tensors[k]) for k in at))
        found = _several(pull)(
            tuple(zeros_like(results[k]) if gradients[k] is None else gradients[k] for k in real)
        )
        cotangents: Tensors = [None] * len(tensors)
        for k, cotangent in zip(at, found):
            cotangents[k] = cotangent
        return cotangents

    def _pulled_twice(self, tensors: Tensors, results: list[Tensor], tangents: Tensors) -> Tensors:
        """Forward mode: the transpose of reverse mode, which is linear in the gradients."""
        at = [k for k, tangent in enumerate(tangents) if tangent is not None]
        real = [k for k, y in enumerate(results) if is_differentiable(y)]
        ctx = settled(self.prepare(tensors, results))

        def pull(*cotangents: Tensor) -> tuple[Any, ...]:
            given: Tensors = [None] * len(results)
            for k, cotangent in zip(real, cotangents):
                given[k] = cotangent
            found = self.backward(ctx, given, len(tensors))
            return tuple(zeros_like(tensors[k]) if found[k] is None else found[k] for k in at)

        _, push = func.vjp(pull, *(zeros_like(results[k]) for k in real))
        found = _several(push)(tuple(tangents[k] for k in at))
        pushed: Tensors = [None] * len(results)
        for k, tangent in zip(real, found):
            pushed[k] = tangent
        return pushed


def _several(pull: Callable[..., Any]) -> Callable[..., tuple[Tensor, ...]]:
    """A pullback whose gradients come in a tuple, of one input, too."""

    def wrapped(cotangents: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found = pull(cotangents)
        return found if isinstance(found, tuple) else (found,)

    return wrapped


class BatchedCall:
    """A call for each example of a batch: its value and rules are the call's, under vmap."""

    def __init__(self, call: Call | BatchedCall, is_batched: Sequence[bool]) -> None:
        self.call = call
        self.is_batched = list(is_batched)

    def _map(
        self, function: Callable[..., Tensors], *lists: tuple[Tensors, Sequence[bool]]
    ) -> Tensors:
        """vmap of a function of lists, which have None here and there; results may, too."""
        given = [(k, i) for k, (values, _) in enumerate(lists) for i, x in enumerate(values)]
        at = [(k, i) for k, i in given if lists[k][0][i] is not None]
        present: list[bool] = []

        def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
            examples: list[Tensors] = [[None] * len(values) for values, _ in lists]
            for (k, i), tensor in zip(at, tensors):
                examples[k][i] = tensor
            found = function(*examples)
            present[:] = [x is not None for x in found]
            return tuple(x for x in found if x is not None)

        dims = tuple(0 if lists[k][1][i] else None for k, i in at)
        found = iter(func.vmap(flat, in_dims=dims)(*(lists[k][0][i] for k, i in at)))
        return [next(found) if there else None for there in present]

    def _all(self, values: Sequence[Any]) -> list[bool]:
        return [True] * len(values)

    def run(self, tensors: Tensors) -> list[Tensor]:
        return self._map(self.call.run, (tensors, self.is_batched))

    def prepare(self, tensors: Tensors, results: list[Tensor]) -> FunctionCtx:
        ctx = FunctionCtx(tuple(is_differentiable(x) for x in tensors))
        ctx.save_for_backward(*tensors, *results)
        return ctx

    def backward(self, ctx: FunctionCtx, gradients: Tensors, count: int) -> Tensors:
        saved: Tensors = list(ctx.saved_tensors)
        tensors, results = saved[:count], saved[count:]

        def each(xs: Tensors, ys: Tensors, gs: Tensors) -> Tensors:
            return self.call.backward(settled(self.call.prepare(xs, ys)), gs, count)

        found = self._map(
            each,
            (tensors, self.is_batched),
            (results, self._all(results)),
            (gradients, self._all(gradients)),
        )
        return [  # what all examples share gets a gradient from each
            g.sum(0) if g is not None and not batched else g
            for g, batched in zip(found, self.is_batched)
        ]

    def forward(self, tensors: Tensors, results: list[Tensor], tangents: Tensors) -> Tensors:
        return self._map(
            self.call.forward,
            (tensors, self.is_batched),
            (results, self._all(results)),
            (tangents, self.is_batched),
        )


class Rules:
    """What the trace calls for the recorded calls of an operation: see trace/library.h."""

    def __init__(self, name: str, make: Callable[[list[Any]], Call | BatchedCall]) -> None:
        self.name = name
        self.make = make
        self.batched: dict[tuple[bool, ...], tuple[int, Rules]] = {}

    def enter(self, count: int = 1, batches_leading: bool = False, *addresses: int) -> int:
        """A number for it, which is never given again: the table refers to this forever."""
        infer, kernel = addresses or (0, 0)
        return _C._library_add(
            self.name, count, batches_leading, infer, kernel, self.pull, self.push, self.batch
        )

    def pull(
        self, tensors: Tensors, attributes: list[Any], results: list[Tensor], gradients: Tensors
    ) -> Tensors:
        call = self.make(attributes)
        ctx = settled(call.prepare(tensors, results))
        if ctx.materialize_grads:
            gradients = [
                zeros_like(y) if g is None and is_differentiable(y) else g
                for g, y in zip(gradients, results)
            ]
        return call.backward(ctx, gradients, len(tensors))

    def push(
        self, tensors: Tensors, attributes: list[Any], results: list[Tensor], tangents: Tensors
    ) -> Tensors:
        return self.make(attributes).forward(tensors, results, tangents)

    def batch(
        self, tensors: Tensors, attributes: list[Any], is_batched: list[bool], extent: int
    ) -> tuple[Tensors, list[int | None]]:
        call = BatchedCall(self.make(attributes), is_batched)
        given = [(_kind(value), value) for value in attributes]
        results = place(call, lambda: self._batched(is_batched), tensors, given)
        return results, [0] * len(results)

    def _batched(self, is_batched: list[bool]) -> int:
        key = tuple(is_batched)
        if key not in self.batched:
            rules = Rules(
                f"{self.name}_batched", lambda attributes: BatchedCall(self.make(attributes), key)
            )
            self.batched[key] = rules.enter(), rules
        return self.batched[key][0]


def place(
    call: Call | BatchedCall,
    number: Callable[[], int],
    tensors: Tensors,
    attributes: list[tuple[int, Any]],
    types: Callable[[], list[tuple[Any, list[int]]]] | None = None,
) -> list[Tensor]:
    """Runs or records a call with its derivative, by what its tensors depend on.

    Of a vmap's example: a node that the vmap's end replaces by the batched call. In a region: a
    node that owns the recorded body. Else the body runs.
    """
    if any(map(is_example, tensors)):
        seen = types() if types else [(y.dtype, list(y.shape)) for y in call.run(tensors)]
        return _C._library_call(number(), tensors, attributes, seen)
    if not any(isinstance(x, Tensor) and _C._is_inside_region(x) for x in tensors):
        return record(call, tensors)
    body = _C._Region("call", _C._ONCE)
    try:
        inside = [None if x is None else body.parameter(x) for x in tensors]
        return body.call(number(), call.run(inside), tensors, attributes)
    finally:
        body.close()


def is_example(x: Any) -> bool:
    """Whether a value is the example of a vmap."""
    return isinstance(x, Tensor) and _C._is_example(x)


def _kind(value: Any) -> int:
    """Of an attribute as the trace gives it back, whose lists have elements of one type."""
    if isinstance(value, list):
        return NUMBERS if value and isinstance(value[0], float) else INTEGERS
    return {type(None): NONE, bool: FLAG, int: INTEGER, float: NUMBER, str: TEXT}[type(value)]


def settled(ctx: FunctionCtx) -> FunctionCtx:
    """With what was saved as it is: for a backward that follows at once."""
    ctx._saved, ctx._to_save = ctx._to_save, ()
    return ctx


def record(call: Call | BatchedCall, tensors: Tensors) -> list[Tensor]:
    """Runs a call's body, and records its derivative in the body's place."""
    if not any(isinstance(x, Tensor) and _C._is_differentiated(x) for x in tensors):
        return call.run(tensors)
    results = _Recorded.apply(call, *tensors)
    return list(results)


class _Recorded(Function):
    _materializes_tangents = False  # a rule is told where there is none

    @staticmethod
    def forward(ctx: Any, call: Any, *tensors: Any) -> Any:
        results = call.run(list(tensors))
        ctx.call = call
        ctx.count = len(tensors)
        ctx.inner = inner = call.prepare(list(tensors), results)
        ctx.save_for_backward(*inner._to_save)
        ctx.mark_non_differentiable(*inner._non_differentiable)
        ctx.set_materialize_grads(inner.materialize_grads)
        # Of forward mode alone: kept longer, they would keep the graph of reverse mode.
        ctx.tensors = tensors if any(map(_has_tangent, tensors)) else None
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        ctx.inner._saved, ctx.inner._to_save = ctx.saved_tensors, ()
        return (None, *ctx.call.backward(ctx.inner, list(gradients), ctx.count))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        tensors = list(ctx.tensors)
        given = [t if is_differentiable(x) else None for x, t in zip(tensors, tangents[1:])]
        return tuple(ctx.call.forward(tensors, ctx._outputs, given))


def _has_tangent(x: Any) -> bool:
    return isinstance(x, Tensor) and _C._has_tangent(x)

"""Functions with derivatives of their own.

Example::

    >>> import tenon as tn
    >>> class Exp(tn.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         y = x.exp()
    ...         ctx.save_for_backward(y)
    ...         return y
    ...
    ...     @staticmethod
    ...     def backward(ctx, gradient):
    ...         (y,) = ctx.saved_tensors
    ...         return gradient * y
    >>> x = tn.tensor([0.0, 1.0], requires_grad=True)
    >>> Exp.apply(x).sum().backward()
    >>> x.grad
    tensor([1.0000, 2.7183])

The derivative is one of reverse mode, and of forward mode where the class has a `jvp`; else
`func.jvp` through it raises NotImplementedError, as does `vmap` where the derivative is taken
outside of it; `vmap(grad(f))` works. (An operation of :mod:`tenon.library` has neither limit.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from .. import _C
from .._C import Tensor
from ..grad_mode import no_grad

__all__ = ["Function", "FunctionCtx", "once_differentiable"]

F = TypeVar("F", bound=Callable[..., Any])


class FunctionCtx:
    """What forward leaves for backward: saved tensors, and any attribute that is set on it."""

    def __init__(self, needs_input_grad: tuple[bool, ...] = ()) -> None:
        self.needs_input_grad = needs_input_grad
        self.materialize_grads = True
        self._to_save: tuple[Tensor | None, ...] = ()
        self._saved: tuple[Tensor | None, ...] = ()
        self._saved_for_forward: tuple[Tensor | None, ...] | None = None
        self._outputs: list[Tensor] = []  # while jvp runs
        self._non_differentiable: tuple[Tensor, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors as they are now for backward, where `saved_tensors` has them.

        Inputs and outputs come back with their derivatives, so that the derivative can be
        differentiated again.
        """
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for `jvp`, where `saved_tensors` has them."""
        self._saved_for_forward = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors given to :meth:`save_for_backward`."""
        return self._saved

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Outputs that have no derivative. (Those of integers and bools have none anyway.)"""
        self._non_differentiable = outputs

    def mark_dirty(self, *inputs: Tensor) -> None:
        """Is for inputs that forward changes in place, which is not supported."""
        raise NotImplementedError(
            "mark_dirty: an autograd.Function can't give its derivative to inputs that it changes "
            "in place; compute a new tensor and return it"
        )

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for outputs without a gradient."""
        self.materialize_grads = value

    # ---- between forward and backward

    def _save(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> list[tuple[int, Tensor]]:
        """Settles what is saved; gives those that are outputs, by number of the output."""
        saved: list[Tensor | None] = []
        of_outputs = []
        self._places = []  # in saved_tensors of those outputs
        for place, tensor in enumerate(self._to_save):
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {place} is of type "
                    f"{type(tensor).__name__}"
                )
            number = next((i for i, output in enumerate(outputs) if output is tensor), None)
            is_input = any(tensor is each for each in inputs)
            value = None if tensor is None else _C._same_value(tensor)
            if value is not None and number is not None and not is_input:
                of_outputs.append((number, value))
                self._places.append(place)
            saved.append(value)
        self._saved, self._to_save = tuple(saved), ()
        return of_outputs


def _is_differentiable(output: Any) -> bool:
    return isinstance(output, Tensor) and (output.is_floating_point() or output.is_complex())


def _is_inside_region(x: Any) -> bool:
    return _is_differentiable(x) and _C._is_inside_region(x)


class Function:
    """A function with a derivative of its own: a subclass with static forward and backward.

    `forward(ctx, *args)` computes the result from tensors and whatever else, without recording a
    derivative; or `forward(*args)` does, with `setup_context(ctx, inputs, output)` beside it.
    `backward(ctx, *gradients)` takes a gradient for each output and returns one for each argument
    of forward, None where there is none. `apply(*args)` is the call.

    Example::

        >>> class Clipped(tn.autograd.Function):  # a gradient of at most 1
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return x * 3
        ...
        ...     @staticmethod
        ...     def backward(ctx, gradient):
        ...         return (gradient * 3).clamp(max=1)
        >>> x = tn.tensor([2.0], requires_grad=True)
        >>> Clipped.apply(x).backward()
        >>> x.grad
        tensor([1.])
    """

    _materializes_tangents = True

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The result; see the class."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Keeps what backward needs, where forward takes no ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of forward's arguments; see the class."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """The outputs' tangents, from one for each argument of forward."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with "
            "forward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Calls forward and records the derivative."""
        needs = tuple(isinstance(arg, Tensor) and _C._is_differentiated(arg) for arg in args)
        if _C.is_grad_enabled() and any(_is_inside_region(arg) for arg in args):
            raise NotImplementedError(
                f"{cls.__name__}: an autograd.Function inside of scan, while_loop or cond would "
                "lose its own derivative; compose it of operations, declare it as an operation "
                "(tenon.library.custom_op), or call it outside"
            )
        ctx = FunctionCtx(needs)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                output = cls.forward(ctx, *args)
            else:
                output = cls.forward(*args)
                cls.setup_context(ctx, args, output)
        if not any(needs):
            return output
        several = isinstance(output, (tuple, list))
        outputs = list(output) if several else [output]
        results = cls._record(ctx, args, outputs)
        return tuple(results) if several else results[0]

    @classmethod
    def _record(cls, ctx: FunctionCtx, args: tuple[Any, ...], outputs: list[Any]) -> list[Any]:
        constant = ctx._non_differentiable
        numbers = [
            i
            for i, output in enumerate(outputs)
            if _is_differentiable(output) and not any(output is c for c in constant)
        ]
        values = [outputs[i] for i in numbers]
        saved_outputs = ctx._save(args, values)
        like = [(tuple(v.shape), v.dtype) for v in values]
        places = [i for i, needed in enumerate(ctx.needs_input_grad) if needed]
        total = len(outputs)

        def derivative(gradients: list[Any], again: list[Tensor]) -> list[Any]:
            saved = list(ctx._saved)
            for place, tensor in zip(ctx._places, again):
                saved[place] = tensor
            ctx._saved = tuple(saved)
            given: list[Any] = [None] * total
            for i, gradient, (shape, dtype) in zip(numbers, gradients, like):
                if gradient is None and ctx.materialize_grads:
                    gradient = _C._all["zeros"](shape, dtype=dtype)
                given[i] = gradient
            return cls._gradients(ctx, given, places, len(args))

        forward = cls._forward_mode(ctx, args, places, numbers, outputs)
        recorded = _C._record_custom(
            derivative,
            forward,
            [args[i] for i in places],
            values,
            saved_outputs,
            bool(ctx._saved),
        )
        results = list(outputs)
        for i, tensor in zip(numbers, recorded):
            results[i] = tensor
        return results

    @classmethod
    def _forward_mode(
        cls,
        ctx: FunctionCtx,
        args: tuple[Any, ...],
        places: list[int],
        numbers: list[int],
        constant: list[Any],
    ) -> Callable[..., list[Any]] | None:
        """From tangents and outputs to the outputs' tangents, where the class has a jvp.

        What it saves would be kept by the graph of reverse mode, too, so only where it is needed.
        """
        if cls.jvp is Function.jvp or not any(_C._has_tangent(args[i]) for i in places):
            return None
        saved = ctx._saved_for_forward

        def forward(tangents: list[Any], outputs: list[Tensor]) -> list[Any]:
            given: list[Any] = [None] * len(args)
            for i, tangent in zip(places, tangents):
                given[i] = tangent
            if ctx.materialize_grads and cls._materializes_tangents:
                for i, arg in enumerate(args):
                    if given[i] is None and _is_differentiable(arg):
                        given[i] = _C._all["zeros_like"](arg)
            before, ctx._saved = ctx._saved, ctx._saved if saved is None else saved
            ctx._outputs = list(constant)
            for i, output in zip(numbers, outputs):
                ctx._outputs[i] = output
            try:
                result = cls.jvp(ctx, *given)
            finally:
                ctx._saved = before
            found = list(result) if isinstance(result, (tuple, list)) else [result]
            if len(found) != len(constant):
                raise RuntimeError(
                    f"function {cls.__name__}: jvp returned {len(found)} tangents for "
                    f"{len(constant)} outputs"
                )
            return [
                _C._all["zeros_like"](output) if found[i] is None else found[i]
                for i, output in zip(numbers, outputs)
            ]

        return forward

    @classmethod
    def _gradients(
        cls, ctx: FunctionCtx, given: list[Any], places: list[int], count: int
    ) -> list[Any]:
        """Calls backward; the gradients of the inputs at `places`, of `count`."""
        backward = cls.backward if cls.backward is not Function.backward else cls.vjp
        result = backward(ctx, *given)
        gradients = list(result) if isinstance(result, (tuple, list)) else [result]
        while len(gradients) > count and gradients[-1] is None:
            gradients.pop()
        if len(gradients) != count:
            raise RuntimeError(
                f"function {cls.__name__}Backward returned an incorrect number of gradients "
                f"(expected {count}, got {len(gradients)})"
            )
        for i, gradient in enumerate(gradients):
            if gradient is not None and not isinstance(gradient, Tensor):
                raise TypeError(
                    f"function {cls.__name__}Backward returned a {type(gradient).__name__} at "
                    f"position {i}: gradients are tensors or None"
                )
        return [gradients[i] for i in places]


class _NoSecondDerivative(Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 1

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )


def once_differentiable(backward: F) -> F:
    """For a backward that can't be differentiated itself: it runs without recording a derivative.

    To differentiate what it returns, where the gradients given to it can be, raises RuntimeError.
    """

    @functools.wraps(backward)
    def wrapped(ctx: Any, *gradients: Any) -> Any:
        with no_grad():
            result = backward(ctx, *gradients)
        if not _C.is_grad_enabled() or not any(
            isinstance(gradient, Tensor) and _C._is_differentiated(gradient)
            for gradient in gradients
        ):
            return result

        def marked(gradient: Any) -> Any:
            if not _is_differentiable(gradient):
                return gradient
            return _NoSecondDerivative.apply(gradient.detach().requires_grad_())

        if isinstance(result, (tuple, list)):
            return tuple(marked(gradient) for gradient in result)
        return marked(result)

    return wrapped  # type: ignore[return-value]

"""An operation of the user's: its schema, its body or kernel, and the rules registered for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import _C
from .._C import Tensor
from ._rules import Call, Rules, Tensors, is_differentiable, is_example, place
from ._schema import Schema

Rule = Callable[..., Any]


class VmapInfo(NamedTuple):
    """What a batching rule is told of the vmap around it: how many examples there are.

    Example::

        >>> tn.library.VmapInfo(3, "error").batch_size
        3
    """

    batch_size: int
    randomness: str


class CustomOpDef:
    """An operation that :func:`tenon.library.custom_op` or a shared library declared.

    Called like a function, it checks its arguments against the schema. It runs in eager code,
    under `tn.compile`, in loops and branches, and under every transform for which it has a rule;
    an operation whose body is made of Tenon's operations has all rules from these.

    Example::

        >>> @tn.library.custom_op("docs::twice", mutates_args=())
        ... def twice(x: tn.Tensor) -> tn.Tensor:
        ...     return x + x
        >>> twice(tn.tensor([1.0, 2.0]))
        tensor([2., 4.])
        >>> twice
        <CustomOpDef docs::twice(Tensor x) -> Tensor>
    """

    def __init__(
        self,
        schema: Schema,
        body: Rule | None = None,
        doc: str = "",
        infer: int = 0,
        kernel: int = 0,
        flags: int = 0,
    ) -> None:
        self._schema = schema
        self._body = body
        self.__doc__ = doc
        self.__name__ = schema.name.split("::")[1]
        self.__qualname__ = schema.name
        self._infer = infer
        self._kernel = kernel
        self._batches_leading = bool(flags & 1)
        self._fake: Rule | None = None
        self._backward: Rule | None = None
        self._setup_context: Rule | None = None
        self._jvp: Rule | None = None
        self._vmap: Rule | None = None
        self._id = self._enter()

    def _enter(self) -> int:
        addresses = (self._infer, self._kernel)
        return _OperationRules(self).enter(
            len(self._schema.returns), self._batches_leading, *addresses
        )

    def __repr__(self) -> str:
        return f"<CustomOpDef {self._schema}>"

    @property
    def name(self) -> str:
        """ "space::name"."""
        return self._schema.name

    # ---- calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        values = self._schema.bind(args, kwargs)
        tensors, attributes = self._schema.flatten(values)
        call = Call(self, [value for _, value in attributes])
        return self._shaped(self._results(call, tensors, attributes))

    def _results(
        self, call: Call, tensors: Tensors, attributes: list[tuple[int, Any]]
    ) -> list[Tensor]:
        if self._kernel:
            types = None if self._infer else self._types(call, tensors)
            return _C._library_call(self._id, tensors, attributes, types)
        if self._body is None:
            raise NotImplementedError(
                f"{self.name} has no implementation yet: register one with "
                "tenon.library.register_kernel or tenon.library.impl"
            )
        has_derivative = self._backward is not None or self._jvp is not None
        if not has_derivative and self._vmap is None:
            return call.run(tensors)
        if not has_derivative and not any(map(is_example, tensors)):
            return call.run(tensors)
        return place(
            call, lambda: self._id, tensors, attributes, lambda: self._types(call, tensors)
        )

    def _run(self, values: list[Any]) -> list[Tensor]:
        assert self._body is not None
        tensors = [x for x in self._schema.flatten(values)[0] if x is not None]
        versions = [x._version for x in tensors]
        positional, named = self._called(values)
        results = self._flat(self._body(*positional, **named), "the body")
        for result in results:
            if any(result is x for x in tensors):
                raise RuntimeError(
                    f"{self.name}: the body returned one of its inputs. The result of an operation "
                    "may not be an input: return a copy (x.clone())"
                )
        if any(x._version != version for x, version in zip(tensors, versions)):
            raise RuntimeError(
                f"{self.name}: the body wrote to one of its inputs, which operations may not. "
                "Compute a new tensor, and write it where the operation is called"
            )
        return results

    def _called(self, values: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """As arguments of a call: by position, and by keyword."""
        named = {
            a.name: value for a, value in zip(self._schema.arguments, values) if a.keyword_only
        }
        return tuple(values[: len(values) - len(named)]), named

    def _types(self, call: Call, tensors: Tensors) -> list[tuple[Any, list[int]]]:
        """The results' types, by register_fake; of a body of operations, by recording it."""
        values = call.values(tensors)
        if self._fake is None and self._kernel:
            raise RuntimeError(
                f"{self.name}: nothing says which types its results have. Declare them with "
                "tenon.library.register_fake"
            )
        if self._fake is not None:
            positional, named = self._called(values)
            results = self._flat(self._fake(*positional, **named), "register_fake's function")
        else:
            try:
                results = self._run(values)
            except RuntimeError as error:
                raise RuntimeError(
                    f"{self.name}: its body can't be recorded for one example of a vmap: {error} "
                    "Declare the types of its results with tenon.library.register_fake, and the "
                    "batched computation with tenon.library.register_vmap"
                ) from error
        return [(result.dtype, list(result.shape)) for result in results]

    # ---- structures

    def _flat(self, results: Any, what: str) -> list[Any]:
        returns = self._schema.returns
        several = len(returns) > 1 or self._schema.gives_list
        found = list(results) if isinstance(results, (tuple, list)) else [results]
        fits = isinstance(results, (tuple, list)) == several
        if not self._schema.gives_list:
            fits = fits and len(found) == len(returns)
        if not fits or any(
            (x is not None and not isinstance(x, Tensor)) or (x is None and what != "jvp")
            for x in found
        ):
            raise RuntimeError(
                f"{self.name}: {what} gave {_described(results)}, where the schema says "
                f"{self._schema}"
            )
        return found

    def _shaped(self, results: Sequence[Any]) -> Any:
        if self._schema.gives_list:
            return list(results)
        return results[0] if len(self._schema.returns) == 1 else tuple(results)

    def _needs(self, values: Sequence[Any]) -> tuple[Any, ...]:
        def need(value: Any) -> Any:
            if isinstance(value, list):
                return [need(item) for item in value]
            return is_differentiable(value) and _C._is_differentiated(value)

        return tuple(need(value) for value in values)

    def _flat_gradients(self, given: Any, attributes: Sequence[Any], count: int) -> Tensors:
        """A backward's gradients, one an argument, as a list of one a tensor."""
        found = list(given) if isinstance(given, (tuple, list)) else [given]
        arguments = [a for a in self._schema.arguments if not a.keyword_only or a.holds_tensors]
        while len(found) > len(arguments) and found[-1] is None:
            found.pop()
        if len(found) != len(arguments):
            raise RuntimeError(
                f"{self.name}: the backward returned an incorrect number of gradients (expected "
                f"{len(arguments)}, one for each argument, got {len(found)})"
            )
        lengths = iter(
            [
                value
                for a, value in zip(
                    (a for a in self._schema.arguments if a.base != "Tensor"), attributes
                )
                if a.base == "Tensor[]"
            ]
        )
        flat: Tensors = []
        for argument, gradient in zip(arguments, found):
            if argument.base == "Tensor":
                flat.append(gradient)
            elif argument.base == "Tensor[]":
                length = next(lengths) or 0
                flat += [None] * length if gradient is None else list(gradient)
            elif gradient is not None:
                raise RuntimeError(
                    f"{self.name}: the backward returned a gradient for '{argument.name}', which "
                    "is no tensor: return None there"
                )
        for k, gradient in enumerate(flat):
            if gradient is not None and not isinstance(gradient, Tensor):
                raise TypeError(
                    f"{self.name}: the backward returned a {type(gradient).__name__} at position "
                    f"{k}: gradients are tensors or None"
                )
        if len(flat) != count:
            raise RuntimeError(f"{self.name}: {len(flat)} gradients for {count} tensors")
        return flat

    # ---- what transforms ask for

    def _require_derivative(self) -> None:
        if self._backward is not None or self._jvp is not None:
            return
        if self._body is not None:  # of operations, which have derivatives: the body's own
            return
        raise RuntimeError(
            f"Trying to differentiate {self.name} but no derivative was registered. Use "
            "tenon.library.register_autograd, register_jvp or register_transpose to add one"
        )

    def _batch(
        self, tensors: Tensors, attributes: list[Any], is_batched: list[bool], extent: int
    ) -> tuple[Tensors, list[int | None]]:
        assert self._vmap is not None
        call = Call(self, attributes)
        marks = [0 if batched else None for batched in is_batched]
        in_dims = [
            mark if a.holds_tensors else None
            for a, mark in zip(self._schema.arguments, call.values(marks))
        ]
        positional, named = self._called(call.values(tensors))
        given = self._vmap(VmapInfo(extent, "error"), tuple(in_dims), *positional, **named)
        if not isinstance(given, tuple) or len(given) != 2:
            raise RuntimeError(
                f"vmap: the batching rule of {self.name} must return (output, out_dims), got "
                f"{_described(given)}"
            )
        results = self._flat(given[0], "the batching rule")
        dims = given[1]
        listed = list(dims) if isinstance(dims, (tuple, list)) else [dims] * len(results)
        if len(listed) != len(results):
            raise RuntimeError(
                f"vmap: the batching rule of {self.name} gave {len(listed)} out_dims for "
                f"{len(results)} results"
            )
        return results, listed

    # ---- registration, as decorators or calls

    def register_fake(self, function: Rule) -> Rule:
        """See :func:`tenon.library.register_fake`."""
        self._fake = function
        return function

    def register_autograd(self, backward: Rule, /, *, setup_context: Rule | None = None) -> None:
        """See :func:`tenon.library.register_autograd`."""
        self._backward, self._setup_context = backward, setup_context

    def register_jvp(self, function: Rule) -> Rule:
        """See :func:`tenon.library.register_jvp`."""
        self._jvp = function
        return function

    def register_vmap(self, function: Rule) -> Rule:
        """See :func:`tenon.library.register_vmap`."""
        self._vmap = function
        return function

    def register_kernel(self, kernel: Any, infer: Any = 0, flags: int = 0) -> None:
        """See :func:`tenon.library.register_kernel`."""
        if any(a.base == "Tensor[]" for a in self._schema.arguments) or self._schema.gives_list:
            raise ValueError(
                f"{self.name}: a kernel takes and gives a fixed number of tensors, not Tensor[]"
            )
        self._kernel, self._infer = _address(self.name, kernel), _address(self.name, infer)
        if not self._kernel:
            raise ValueError(f"{self.name}: the kernel's address is null")
        self._batches_leading = bool(flags & 1)
        self._id = self._enter()


class _OperationRules(Rules):
    """An operation's own, and errors in its name where there are none."""

    def __init__(self, op: CustomOpDef) -> None:
        super().__init__(op.name, lambda attributes: Call(op, attributes))
        self.op = op

    def pull(
        self, tensors: Tensors, attributes: list[Any], results: list[Tensor], gradients: Tensors
    ) -> Tensors:
        self.op._require_derivative()
        return super().pull(tensors, attributes, results, gradients)

    def push(
        self, tensors: Tensors, attributes: list[Any], results: list[Tensor], tangents: Tensors
    ) -> Tensors:
        self.op._require_derivative()
        return super().push(tensors, attributes, results, tangents)

    def batch(
        self, tensors: Tensors, attributes: list[Any], is_batched: list[bool], extent: int
    ) -> tuple[Tensors, list[int | None]]:
        if self.op._vmap is not None:
            return self.op._batch(tensors, attributes, is_batched, extent)
        if self.op._kernel:
            raise NotImplementedError(
                f"vmap: {self.op.name} has no batching rule: its kernel is for one example. Use "
                "tenon.library.register_vmap to add one"
            )
        return super().batch(tensors, attributes, is_batched, extent)


def _address(name: str, function: Any) -> int:
    if isinstance(function, int):
        return function
    import ctypes

    try:
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    except (ctypes.ArgumentError, TypeError):
        raise TypeError(
            f"{name}: a kernel is an address or a ctypes function, not {type(function).__name__}"
        ) from None


def _described(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"({', '.join(type(item).__name__ for item in value)})"
    return type(value).__name__

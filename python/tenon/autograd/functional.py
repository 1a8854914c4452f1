"""Jacobians, Hessians and their products with vectors, at given inputs.

`tenon.func` has the same as transforms of functions. Here functions take one tensor or several and
give one or several, results are not differentiable unless `create_graph` asks for it, and `strict`
refuses outputs that don't depend on an input (which otherwise give zeros).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import _C
from .._C import Tensor
from ..grad_mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Function = Callable[..., Any]
Tensors = tuple[Tensor, ...]


def _as_tuple(given: Any, what: str, function: str) -> tuple[bool, Tensors]:
    several = isinstance(given, tuple)
    tensors = given if several else (given,)
    for i, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            where = f" the value at index {i} in" if several else ""
            raise TypeError(
                f"The {what} given to {function} must be either a Tensor or a tuple of Tensors but"
                f"{where} the given {what} has type {type(tensor)}."
            )
    return several, tensors


def _entered(inputs: Tensors, create_graph: bool) -> Tensors:
    """The inputs as leaves of their own, or, to be differentiated further, as views."""
    return tuple(
        x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_()
        for x in inputs
    )


def _left(results: Any, create_graph: bool) -> Any:
    if isinstance(results, tuple):
        return tuple(_left(result, create_graph) for result in results)
    return results if create_graph else results.detach()


def _run(func: Function, inputs: Tensors, strict: bool, name: str) -> tuple[bool, Tensors]:
    several, outputs = _as_tuple(func(*inputs), "outputs of the user-provided function", name)
    if strict:
        for i, output in enumerate(outputs):
            if not output.requires_grad:
                raise RuntimeError(
                    f"Output {i} of the user-provided function does not require gradients. The "
                    "outputs must be computed in a differentiable manner from the input when "
                    "running in strict mode."
                )
    return several, outputs


def _pulled(
    outputs: Sequence[Tensor],
    inputs: Tensors,
    cotangents: Sequence[Tensor],
    create_graph: bool,
    strict: bool,
    batched: bool = False,
) -> Tensors:
    """What the cotangents pull back to, zeros for inputs without influence."""
    from . import grad

    pairs = [(y, g) for y, g in zip(outputs, cotangents, strict=True) if y.requires_grad]
    found: tuple[Any, ...] = (None,) * len(inputs)
    if pairs:
        found = grad(
            [y for y, _ in pairs],
            inputs,
            [g for _, g in pairs],
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
            is_grads_batched=batched,
        )
    results = []
    for i, (x, g) in enumerate(zip(inputs, found, strict=True)):
        if g is None:
            if strict:
                raise RuntimeError(
                    "The output of the user-provided function is independent of input "
                    f"{i}. This is not allowed in strict mode."
                )
            rows = (cotangents[0].shape[0],) if batched else ()
            g = x.new_zeros((*rows, *x.shape))
        results.append(g)
    return tuple(results)


def _check_strict(results: Tensors, strict: bool, create_graph: bool, what: str) -> None:
    if not strict or not create_graph:
        return
    for i, result in enumerate(results):
        if not result.requires_grad:
            raise RuntimeError(
                f"The {what} of the user-provided function is independent of input {i}. This is "
                "not allowed in strict mode when create_graph=True."
            )


def _vector(v: Any, like: Tensors, several: bool, what: str) -> Tensors:
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(
                "The vector v can only be None if the user-provided function "
                f"{what} a single Tensor with a single element."
            )
        return (_C._all["ones_like"](like[0]),)
    _, vector = _as_tuple(v, "vector, v,", "v")
    if len(vector) != len(like):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(like)} but got {len(vector)}."
            if several
            else "The given v should contain a single Tensor."
        )
    for i, (own, other) in enumerate(zip(vector, like, strict=True)):
        if own.shape != other.shape:
            entry = f"Entry {i} in v" if several else "v"
            raise RuntimeError(
                f"{entry} has invalid size: should be {tuple(other.shape)} but got "
                f"{tuple(own.shape)}."
            )
    return vector


def _unpacked(results: tuple[Any, ...], several: bool) -> Any:
    return results if several else results[0]


def vjp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), the vector v times the Jacobian, one tensor an input).

    v has the outputs' structure; it may be left out for a single output of one element.
    Errors: TypeError for what is no tensor; RuntimeError for a v of another structure or size, and
    where strict finds no dependence.

    Example::

        >>> x = tn.tensor([1.0, 2.0])
        >>> tn.autograd.functional.vjp(lambda x: x**2, x, tn.tensor([1.0, 10.0]))
        (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    with enable_grad():
        several, own = _as_tuple(inputs, "inputs", "vjp")
        own = _entered(own, create_graph)
        several_outputs, outputs = _run(func, own, strict, "vjp")
        vector = _vector(v, outputs, several_outputs, "returns")
        pulled = _pulled(outputs, own, vector, create_graph, strict)
    _check_strict(pulled, strict, create_graph, "jacobian")
    return (
        _left(_unpacked(outputs, several_outputs), create_graph),
        _left(_unpacked(pulled, several), create_graph),
    )


def _pushed(
    outputs: Sequence[Tensor],
    inputs: Tensors,
    vector: Tensors,
    create_graph: bool,
    strict: bool,
) -> Tensors:
    """The Jacobian times the vector: the pullback is linear in its cotangents, and pulled back."""
    like = _C._all["zeros_like"]
    cotangents = tuple(like(y).requires_grad_() for y in outputs)
    pulled = _pulled(outputs, inputs, cotangents, True, strict)
    return _pulled(pulled, cotangents, vector, create_graph, strict)


def jvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), the Jacobian times the vector v, one tensor an output).

    v has the inputs' structure; it may be left out for a single input of one element.
    Errors: TypeError for what is no tensor; RuntimeError for a v of another structure or size, and
    where strict finds no dependence.

    Example::

        >>> x = tn.tensor([1.0, 2.0])
        >>> tn.autograd.functional.jvp(lambda x: x**2, x, tn.tensor([1.0, 10.0]))
        (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    with enable_grad():
        several, own = _as_tuple(inputs, "inputs", "jvp")
        vector = _vector(v, own, several, "has inputs of")
        own = _entered(own, create_graph)
        several_outputs, outputs = _run(func, own, strict, "jvp")
        pushed = _pushed(outputs, own, vector, create_graph, strict)
    _check_strict(pushed, strict, create_graph, "jacobian")
    return (
        _left(_unpacked(outputs, several_outputs), create_graph),
        _left(_unpacked(pushed, several_outputs), create_graph),
    )


def jacobian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of each output by each input: output's sizes, then input's.

    A single tensor for one input and one output, else tuples: of the outputs, then of the inputs.
    Rows are batched, whether or not `vectorize` asks for it; strategy "forward-mode" (with
    vectorize) takes columns.
    Errors: TypeError for what is no tensor; RuntimeError where strict finds no dependence, and for
    strict with vectorize; NotImplementedError for forward mode without vectorize or with
    create_graph.

    Example::

        >>> tn.autograd.functional.jacobian(lambda x: x**2, tn.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your '
            'function has more outputs than inputs, "forward-mode" tends to be more performant. '
            'Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode" and create_graph:
        raise NotImplementedError(
            "torch.autograd.functional.jacobian: `create_graph=True` and "
            '`strategy="forward-mode"` are not supported together (yet). Please either set '
            '`create_graph=False` or `strategy="reverse-mode"`.'
        )
    if strict and vectorize:
        raise RuntimeError("jacobian: strict=True and vectorize=True are not supported together")
    if strategy == "forward-mode" and not vectorize:
        raise NotImplementedError(
            'jacobian: strategy="forward-mode" is only supported with vectorize=True'
        )
    several, own = _as_tuple(inputs, "inputs", "jacobian")
    if strategy == "forward-mode":
        from ..func import jacfwd

        columns = jacfwd(func, argnums=tuple(range(len(own))))(*[x.detach() for x in own])
        if several:
            return columns
        alone = isinstance(columns[0], tuple)
        return tuple(column[0] for column in columns) if alone else columns[0]
    from ..func._derivatives import _basis

    with enable_grad():
        own = _entered(own, create_graph)
        several_outputs, outputs = _run(func, own, strict, "jacobian")
        rows = []
        for output in outputs:
            count = output.numel()
            if strict:  # batched gradients don't tell what is independent
                _pulled([output], own, [_C._all["ones_like"](output)], create_graph, strict)
            if count == 0:
                pulled = tuple(x.new_zeros((0, *x.shape)) for x in own)
            else:
                pulled = _pulled([output], own, _basis([output]), create_graph, False, batched=True)
            _check_strict(pulled, strict, create_graph, "jacobian")
            blocks = tuple(
                g.reshape(*output.shape, *x.shape) for g, x in zip(pulled, own, strict=True)
            )
            rows.append(_unpacked(blocks, several))
    return _left(_unpacked(tuple(rows), several_outputs), create_graph)


def _scalar_output(func: Function, name: str) -> Function:
    """func, which must give one tensor of one element, as a 0-d tensor."""

    def restricted(*inputs: Tensor) -> Tensor:
        several, outputs = _as_tuple(func(*inputs), "outputs of the user-provided function", name)
        if several or outputs[0].numel() != 1:
            raise RuntimeError(
                f"The function given to {name} should return a single Tensor with a single element."
            )
        return outputs[0].reshape(())

    return restricted


def hessian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a function that gives one element.

    A tensor of the input's sizes twice, for several inputs tuples of tuples of these.
    Errors: as `jacobian`, and RuntimeError for a function that gives anything else.

    Example::

        >>> tn.autograd.functional.hessian(lambda x: (x**3).sum(), tn.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    from ..func import jacrev

    several, _ = _as_tuple(inputs, "inputs", "hessian")
    scalar = _scalar_output(func, "hessian")
    if outer_jacobian_strategy == "forward-mode":
        if create_graph:
            raise NotImplementedError("hessian: create_graph=True with forward-mode")

        def gradient(*x: Tensor) -> Any:
            found = jacrev(scalar, argnums=tuple(range(len(x))))(*x)
            return found if several else found[0]

    else:

        def gradient(*x: Tensor) -> Any:
            found = jacobian(scalar, x if several else x[0], create_graph=True, strict=strict)
            _check_strict(found if several else (found,), strict, True, "jacobian")
            return found

    return jacobian(
        gradient,
        inputs,
        create_graph=create_graph,
        strict=strict,
        vectorize=vectorize,
        strategy=outer_jacobian_strategy,
    )


def _hessian_product(
    func: Function,
    inputs: Any,
    v: Any,
    create_graph: bool,
    strict: bool,
    name: str,
    product: Callable[..., Tensors],
) -> tuple[Any, Any]:
    with enable_grad():
        several, own = _as_tuple(inputs, "inputs", name)
        vector = _vector(v, own, several, "has inputs of")
        own = _entered(own, create_graph)
        value = func(*own)
        several_outputs, outputs = _as_tuple(value, "outputs of the user-provided function", name)
        if several_outputs or outputs[0].numel() != 1:
            raise RuntimeError(
                f"The function given to {name} should return a single Tensor with a single element."
            )
        if strict:
            _run(lambda *_: value, own, strict, name)
        ones = _C._all["ones_like"](outputs[0])
        gradients = _pulled(outputs, own, [ones], True, strict)
        _check_strict(gradients, strict, True, "jacobian")
        results = product(gradients, own, vector, create_graph, strict)
        _check_strict(results, strict, create_graph, "hessian")
    return _left(outputs[0], create_graph), _left(_unpacked(results, several), create_graph)


def vhp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), the vector v times the Hessian), of a function that gives one element.

    Errors: as `vjp`, and RuntimeError for a function that gives anything else.

    Example::

        >>> x = tn.tensor([1.0, 2.0])
        >>> tn.autograd.functional.vhp(lambda x: (x**3).sum(), x, tn.tensor([1.0, 10.0]))
        (tensor(9.), tensor([  6., 120.]))
    """

    def product(
        gradients: Tensors, inputs: Tensors, vector: Tensors, create_graph: bool, strict: bool
    ) -> Tensors:
        return _pulled(gradients, inputs, vector, create_graph, strict)

    return _hessian_product(func, inputs, v, create_graph, strict, "vhp", product)


def hvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), the Hessian times the vector v), of a function that gives one element.

    `vhp` costs less, and is the same wherever the Hessian is symmetric.
    Errors: as `vjp`, and RuntimeError for a function that gives anything else.

    Example::

        >>> x = tn.tensor([1.0, 2.0])
        >>> tn.autograd.functional.hvp(lambda x: (x**3).sum(), x, tn.tensor([1.0, 10.0]))
        (tensor(9.), tensor([  6., 120.]))
    """
    return _hessian_product(func, inputs, v, create_graph, strict, "hvp", _pushed)

"""Operations of one's own, beside the framework's, with the same rights.

An operation has a name `space::name`, a schema, and a body: a Python function, or a kernel in C or
C++ over buffers (`tenon/include/tenon_operation.h`). What is registered for it besides is what
transforms ask for: a derivative (either mode; the other follows), a batching rule, the types of its
results. The names and conventions are those of `torch.library`.

Example::

    >>> import tenon as tn
    >>> @tn.library.custom_op("docs::cube", mutates_args=())
    ... def cube(x: tn.Tensor) -> tn.Tensor:
    ...     return tn.from_numpy(x.detach().numpy() ** 3)  # any Python
    >>> @cube.register_fake
    ... def _(x):
    ...     return tn.empty_like(x)
    >>> def backward(ctx, gradient):
    ...     (x,) = ctx.saved_tensors
    ...     return gradient * 3 * x**2
    >>> def setup_context(ctx, inputs, output):
    ...     ctx.save_for_backward(*inputs)
    >>> cube.register_autograd(backward, setup_context=setup_context)
    >>> x = tn.tensor([1.0, 2.0], requires_grad=True)
    >>> cube(x).sum().backward()
    >>> x.grad
    tensor([ 3., 12.])

The rules are called with tensors and record like any code, so that derivatives of derivatives are
those of the rules. Operations may stand in `scan`, `while_loop` and `cond`, if they read no values.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

from .. import _C
from ._check import opcheck
from ._namespace import Namespaces
from ._operation import CustomOpDef, VmapInfo
from ._schema import check_mutates, check_name, infer, parse
from ._stubs import write_stubs

__all__ = [
    "CustomOpDef",
    "VmapInfo",
    "custom_op",
    "define",
    "docs",
    "get",
    "impl",
    "include_path",
    "infer_schema",
    "list",
    "load_library",
    "opcheck",
    "register_autograd",
    "register_fake",
    "register_jvp",
    "register_kernel",
    "register_transpose",
    "register_vmap",
    "schema",
    "write_stubs",
]

Rule = Callable[..., Any]
_operations: dict[str, CustomOpDef] = {}
ops = Namespaces(_operations)


def _enter(op: CustomOpDef) -> CustomOpDef:
    _operations[op.name] = op
    return op


def _found(op: str | CustomOpDef) -> CustomOpDef:
    if isinstance(op, CustomOpDef):
        return op
    if op not in _operations:
        raise ValueError(
            f"no operation {op!r} was declared; there are "
            f"{', '.join(sorted(_operations)) or 'none'}"
        )
    return _operations[op]


def custom_op(
    name: str,
    fn: Rule | None = None,
    /,
    *,
    mutates_args: str | Sequence[str],
    device_types: str | Sequence[str] | None = None,
    schema: str | None = None,
    tags: Any = None,
) -> Any:
    """Declares an operation by the Python function that computes it; a decorator.

    The schema is read off the annotations unless it is given, as "(Tensor x) -> Tensor". The body
    runs at each call and may be any Python. Where it is made of Tenon's operations, derivatives and
    batches come from these; where it reads values (NumPy) register what is needed. A later
    declaration of the same name takes its place. device_types and tags are PyTorch's, and have no
    effect.
    Errors: ValueError for names, annotations and schemas that aren't understood, and for arguments
    that it says it writes to.

    Example::

        >>> @tn.library.custom_op("docs::scaled", mutates_args=())
        ... def scaled(x: tn.Tensor, factor: float = 2.0) -> tn.Tensor:
        ...     return x * factor
        >>> scaled(tn.tensor([1.0, 2.0]))
        tensor([2., 4.])
        >>> tn.ops.docs.scaled(tn.tensor([1.0, 2.0]), factor=3.0)
        tensor([3., 6.])
    """
    check_name(name)
    check_mutates(name, mutates_args)

    def declare(function: Rule) -> CustomOpDef:
        known = parse(name + schema) if schema is not None else infer(function, (), name)
        return _enter(CustomOpDef(known, function, function.__doc__ or ""))

    return declare if fn is None else declare(fn)


def define(name: str, schema: str) -> CustomOpDef:
    """Declares an operation by its schema, for :func:`impl` or :func:`register_kernel` to follow.

    Example::

        >>> tn.library.define("docs::shifted", "(Tensor x, float by) -> Tensor")
        <CustomOpDef docs::shifted(Tensor x, float by) -> Tensor>
        >>> @tn.library.impl("docs::shifted", "default")
        ... def _(x, by):
        ...     return x + by
        >>> tn.ops.docs.shifted(tn.tensor([1.0]), 2.0)
        tensor([3.])
    """
    check_name(name)
    return _enter(CustomOpDef(parse(name + schema)))


def impl(name: str | CustomOpDef, types: str | Sequence[str] = "default", func: Any = None) -> Any:
    """Gives a declared operation its Python body; a decorator. `types` is PyTorch's.

    Example::

        >>> _ = tn.library.define("docs::negated", "(Tensor x) -> Tensor")
        >>> tn.library.impl("docs::negated", "default", lambda x: -x)
        >>> tn.ops.docs.negated(tn.tensor([1.0]))
        tensor([-1.])
    """
    op = _found(name)

    def register(function: Rule) -> None:
        op._body = function

    return register if func is None else register(func)


def register_kernel(op: str | CustomOpDef, kernel: Any, infer: Any = 0, flags: int = 0) -> None:
    """Gives a declared operation its kernel: a C function over buffers.

    kernel and infer are addresses or ctypes functions of the types `tenon_kernel` and `tenon_infer`
    of tenon_operation.h (see :func:`include_path`), which say what they are called with. Without
    infer, :func:`register_fake` says which types the results have. A kernel runs when its results
    are needed, on any thread, among the other steps of a program.
    Errors: ValueError for an operation that takes or gives lists of tensors.

    Example::

        >>> import ctypes
        >>> _ = tn.library.define("docs::nothing", "(Tensor x) -> Tensor")
        >>> kernel = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)(
        ...     lambda arguments, results: None
        ... )
        >>> tn.library.register_kernel("docs::nothing", kernel)
        >>> tn.library.register_fake("docs::nothing", lambda x: tn.empty_like(x))
        >>> tn.ops.docs.nothing(tn.ones(2)).shape
        tenon.Size([2])
    """
    found = _found(op)
    found.register_kernel(kernel, infer, flags)
    found._kept = kernel, infer  # type: ignore[attr-defined]


def load_library(path: str) -> builtins.list[CustomOpDef]:
    """Loads a shared library's operations (tenon_operation.h), and gives them.

    They are found by name, too: `tn.ops.space.name`. The library stays loaded.
    Errors: OSError for what can't be loaded, or was built for another version of the header;
    ValueError for a schema that isn't understood.

    Example::

        >>> tn.library.load_library("/no/such/library.so")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        OSError: load_library: /no/such/library.so: ...
    """
    loaded = []
    for text, doc, infer_types, kernel, flags in _C._library_open(str(path)):
        op = CustomOpDef(parse(text), None, doc)
        op.register_kernel(kernel, infer_types, flags)
        loaded.append(_enter(op))
    return loaded


def include_path() -> str:
    """The folder of tenon_operation.h, for a compiler's -I.

    Example::

        >>> import os
        >>> "tenon_operation.h" in os.listdir(tn.library.include_path())
        True
    """
    from pathlib import Path

    return str(Path(__file__).parent.parent / "include")


def register_fake(op: str | CustomOpDef, func: Rule | None = None, /) -> Any:
    """Says which types an operation's results have: a function of its arguments; a decorator.

    It returns tensors of the right sizes and dtypes (`tn.empty_like(x)`), whose values are not
    looked at. It is asked of operations with a kernel that has no `infer`, and, under vmap, of
    those whose body reads values.

    Example::

        >>> op = tn.library.define("docs::halves", "(Tensor x) -> Tensor")
        >>> @tn.library.register_fake("docs::halves")
        ... def _(x):
        ...     return x.new_empty(x.shape[0] // 2)
    """
    found = _found(op)
    return found.register_fake if func is None else _none(found.register_fake(func))


def register_autograd(
    op: str | CustomOpDef, backward: Rule, /, *, setup_context: Rule | None = None
) -> None:
    """Gives an operation a derivative: `backward(ctx, *gradients)`.

    It gets a gradient for each result and returns one for each argument, None for what is no
    tensor. `setup_context(ctx, inputs, output)` keeps what it needs: `ctx.save_for_backward`, or
    attributes of ctx. The gradients it returns are differentiated in turn by what they were
    computed with. Forward mode follows from it: the transpose of a linear function.

    Example::

        >>> @tn.library.custom_op("docs::clipped", mutates_args=())
        ... def clipped(x: tn.Tensor) -> tn.Tensor:
        ...     return x * 3
        >>> tn.library.register_autograd("docs::clipped", lambda ctx, g: (g * 3).clamp(max=1))
        >>> tn.func.grad(clipped)(tn.tensor(2.0))
        tensor(1.)
    """
    _found(op).register_autograd(backward, setup_context=setup_context)


def register_jvp(op: str | CustomOpDef, func: Rule | None = None, /) -> Any:
    """Gives an operation a derivative in forward mode: `f(primals, tangents, output)`; a decorator.

    primals are the arguments, tangents the same with None where there is none, output what the
    operation gave; it returns a tangent for each result. Reverse mode follows from it unless it is
    registered, too.

    Example::

        >>> @tn.library.custom_op("docs::squared", mutates_args=())
        ... def squared(x: tn.Tensor) -> tn.Tensor:
        ...     return x * x
        >>> tn.library.register_jvp("docs::squared", lambda p, t, y: 2 * p[0] * t[0])
        >>> tn.func.grad(squared)(tn.tensor(3.0))
        tensor(6.)
    """
    found = _found(op)
    return found.register_jvp if func is None else _none(found.register_jvp(func))


def register_transpose(
    op: str | CustomOpDef, func: Rule | None = None, /, *, linear: Sequence[str]
) -> Any:
    """For an operation that is linear in some of its tensors together; a decorator.

    `f(gradient, *args)` is the transpose: from the gradients of the results, and the call's
    arguments, to those of the arguments that `linear` names, in that order. Both modes follow, of
    every order. The other tensors have no derivative.
    Errors: ValueError for a name that is no tensor's.

    Example::

        >>> @tn.library.custom_op("docs::rolled", mutates_args=())
        ... def rolled(x: tn.Tensor, by: int) -> tn.Tensor:
        ...     return x.roll(by)
        >>> tn.library.register_transpose(
        ...     "docs::rolled", lambda g, x, by: rolled(g, -by), linear=("x",)
        ... )
        >>> tn.func.grad(lambda x: rolled(x, 1)[0])(tn.zeros(3))
        tensor([0., 0., 1.])
    """
    from ._transpose import linear_rules

    found = _found(op)

    def register(function: Rule) -> Rule:
        backward, setup_context, jvp = linear_rules(found, function, tuple(linear))
        found.register_autograd(backward, setup_context=setup_context)
        found.register_jvp(jvp)
        return function

    return register if func is None else _none(register(func))


def register_vmap(op: str | CustomOpDef, func: Rule | None = None, /) -> Any:
    """Gives an operation a batching rule: `f(info, in_dims, *args)`; a decorator.

    args are the call's, those with an in_dim that isn't None with the batch at that dimension;
    info.batch_size is its extent. It returns (output, out_dims). An operation whose body is made of
    Tenon's operations needs none.

    Example::

        >>> @tn.library.custom_op("docs::total", mutates_args=())
        ... def total(x: tn.Tensor) -> tn.Tensor:
        ...     return tn.tensor(x.numpy().sum())  # reads: no example can
        >>> total.register_fake(lambda x: x.new_empty(()))
        <function <lambda> at ...>
        >>> @total.register_vmap
        ... def _(info, in_dims, x):
        ...     return x.movedim(in_dims[0], 0).flatten(1).sum(1), 0
        >>> tn.func.vmap(total)(tn.ones(2, 3))
        tensor([3., 3.])
    """
    found = _found(op)
    return found.register_vmap if func is None else _none(found.register_vmap(func))


def _none(_: Any) -> None:
    return None


def infer_schema(
    prototype_function: Rule, /, *, mutates_args: str | Sequence[str], op_name: str | None = None
) -> str:
    """The schema that :func:`custom_op` reads off a function's annotations.

    Errors: ValueError for a parameter without an annotation, or with one that isn't understood.

    Example::

        >>> def f(x: tn.Tensor, n: int = 2) -> tn.Tensor: ...
        >>> tn.library.infer_schema(f, mutates_args=())
        '(Tensor x, int n=2) -> Tensor'
    """
    text = str(infer(prototype_function, mutates_args, op_name or "space::name"))
    return text if op_name is not None else text.removeprefix("space::name")


def list(prefix: str = "") -> builtins.list[str]:
    """The names of all operations: the framework's as "tenon::name", and those declared.

    Example::

        >>> tn.library.list("tenon::softpl")
        ['tenon::softplus']
    """
    names = {f"tenon::{name}" for name in _C._all} | set(_operations)
    return sorted(name for name in names if name.startswith(prefix))


def get(name: str) -> Any:
    """The operation of that name, to be called. Errors: ValueError for a name that isn't there.

    Example::

        >>> tn.library.get("tenon::relu")(tn.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """
    space, _, own = name.partition("::")
    if space == "tenon" and own in _C._all:
        return _C._all[own]
    return _found(name)


def schema(name: str) -> str:
    """What an operation takes and gives; of the framework's, a line for each overload.

    Example::

        >>> tn.library.schema("tenon::tanh")
        'tanh(input: Tensor) -> Tensor'
    """
    op = get(name)
    if isinstance(op, CustomOpDef):
        return str(op._schema)
    return (op.__doc__ or "").split("\n\n", 1)[0]


def docs(name: str) -> str:
    """What is said of an operation: its docstring.

    Example::

        >>> print(tn.library.docs("tenon::tanh").splitlines()[0])
        tanh(input: Tensor) -> Tensor
    """
    op = get(name)
    if isinstance(op, CustomOpDef):
        return f"{op._schema}\n\n{op.__doc__}".strip()
    return op.__doc__ or ""

"""opcheck: whether what is registered for an operation fits together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _C, func
from .._C import Tensor
from ..compiler import compile as _compile
from ._operation import CustomOpDef
from ._rules import is_differentiable

TESTS = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_derivatives",
    "test_vmap",
    "test_compile",
)
# Of derivatives by differences, relative to the larger of them and 1.
_TOLERANCE = {"tenon.float64": 1e-6, "tenon.float32": 2e-2}


class _Case:
    """An operation with sample arguments, as a function of the flat list of its tensors."""

    def __init__(self, op: CustomOpDef, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.op = op
        self.values = op._schema.bind(args, kwargs)
        self.tensors, given = op._schema.flatten(self.values)
        self.attributes = [value for _, value in given]
        self.real = [k for k, x in enumerate(self.tensors) if is_differentiable(x)]

    def __call__(self, *real: Tensor) -> list[Tensor]:
        """The results, with these for the differentiable tensors."""
        tensors = list(self.tensors)
        for k, x in zip(self.real, real):
            tensors[k] = x
        positional, named = self.op._called(self.op._schema.unflatten(tensors, self.attributes))
        return self.op._flat(self.op(*positional, **named), "the operation")

    def given(self) -> list[Tensor]:
        """The differentiable tensors as they were given."""
        return [x for x in self.tensors if x is not None and is_differentiable(x)]

    def real_tensors(self) -> list[Tensor]:
        return [x.detach() for x in self.given()]


def opcheck(
    op: CustomOpDef,
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    *,
    test_utils: str | Sequence[str] = TESTS,
    raise_exception: bool = True,
    atol: float | None = None,
    rtol: float | None = None,
) -> dict[str, str]:
    """Tests an operation on sample arguments, and gives what each test said.

    test_schema: results as the schema says, inputs neither written nor returned;
    test_autograd_registration: a derivative where an argument requires grad; test_faketensor: the
    types that register_fake or the kernel's infer gives are the results'; test_derivatives: both
    modes against each other and (in float64) differences; test_vmap: a batch against a loop;
    test_compile: the same under `tn.compile`. Derivatives and batches are tested where there is a
    rule, or a body of operations.
    Errors: AssertionError or what a rule raised, unless raise_exception is False.

    Example::

        >>> @tn.library.custom_op("docs::doubled", mutates_args=())
        ... def doubled(x: tn.Tensor) -> tn.Tensor:
        ...     return x * 2
        >>> x = tn.randn(3, dtype=tn.float64, requires_grad=True)
        >>> tn.library.opcheck(doubled, (x,), test_utils=("test_schema", "test_derivatives"))
        {'test_schema': 'SUCCESS', 'test_derivatives': 'SUCCESS'}
    """
    if not isinstance(op, CustomOpDef):
        raise TypeError(f"opcheck: expected an operation of tenon.library, got {type(op).__name__}")
    names = [test_utils] if isinstance(test_utils, str) else list(test_utils)
    for name in names:
        if name not in TESTS:
            raise ValueError(f"opcheck: there is no {name!r}; there are {', '.join(TESTS)}")
    case = _Case(op, args, kwargs or {})
    tolerance = {"atol": atol, "rtol": rtol}
    said: dict[str, str] = {}
    for name in names:
        try:
            globals()[f"_{name}"](case, tolerance)
            said[name] = "SUCCESS"
        except Exception as error:
            if raise_exception:
                raise
            said[name] = f"{type(error).__name__}: {error}"
    return said


def _same(found: Tensor, expected: Tensor, what: str, tolerance: dict[str, float | None]) -> None:
    found, expected = found.detach(), expected.detach()
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise AssertionError(
            f"{what}: {found.dtype} of {tuple(found.shape)}, expected {expected.dtype} of "
            f"{tuple(expected.shape)}"
        )
    precise = found.dtype in (_C.float64, _C.complex128)
    rtol = tolerance["rtol"] if tolerance["rtol"] is not None else (1e-7 if precise else 1e-4)
    atol = tolerance["atol"] if tolerance["atol"] is not None else (1e-7 if precise else 1e-5)
    close = _C._all["isclose"](found, expected, rtol=rtol, atol=atol, equal_nan=True)
    if not close.all().item():
        raise AssertionError(f"{what}: {found} instead of {expected}")


def _test_schema(case: _Case, tolerance: dict[str, float | None]) -> None:
    before = [None if x is None else x.detach().clone() for x in case.tensors]
    case(*case.given())
    for x, old in zip(case.tensors, before):
        if x is not None and old is not None and not (x.detach() == old).logical_or(x != x).all():
            raise AssertionError(f"{case.op.name}: an input was written to")


def _test_autograd_registration(case: _Case, tolerance: dict[str, float | None]) -> None:
    if not any(x is not None and x.requires_grad for x in case.tensors):
        return
    if not _has_derivative(case.op):
        raise AssertionError(
            f"{case.op.name}: an argument requires grad, but no derivative is registered"
        )
    results = case(*case.given())
    if not any(y.requires_grad for y in results if is_differentiable(y)):
        raise AssertionError(
            f"{case.op.name}: an argument requires grad, but no result does: the body leaves the "
            "trace (NumPy), and no derivative is registered"
        )


def _has_derivative(op: CustomOpDef) -> bool:
    return op._backward is not None or op._jvp is not None or op._body is not None


def _test_faketensor(case: _Case, tolerance: dict[str, float | None]) -> None:
    op = case.op
    results = case(*case.real_tensors())
    if op._fake is None:
        return  # a kernel's infer gave the types that the results have
    positional, named = op._called(case.values)
    fakes = op._flat(op._fake(*positional, **named), "register_fake's function")
    positional, named = op._called(case.values)
    for k, (fake, result) in enumerate(zip(fakes, results, strict=True)):
        if fake.shape != result.shape or fake.dtype != result.dtype:
            raise AssertionError(
                f"{op.name}: register_fake says result {k} is {fake.dtype} of {tuple(fake.shape)}, "
                f"it is {result.dtype} of {tuple(result.shape)}"
            )


def _test_derivatives(case: _Case, tolerance: dict[str, float | None]) -> None:
    op, real = case.op, case.real_tensors()
    if not real or not (op._backward is not None or op._jvp is not None or op._body is not None):
        return
    # Along one direction, weighted: exact modes agree to rounding, differences less so.
    directions = [_C._all["randn_like"](x) for x in real]
    results = case(*real)
    at = [k for k, y in enumerate(results) if is_differentiable(y)]
    weights = [_C._all["randn_like"](results[k]) for k in at]

    def weighted(*xs: Tensor) -> Tensor:
        ys = case(*xs)
        total = None
        for k, w in zip(at, weights):
            part = (ys[k] * w).sum()
            total = part if total is None else total + part
        assert total is not None
        return total.real if total.is_complex() else total

    gradients = func.grad(weighted, argnums=tuple(range(len(real))))(*real)
    reverse = sum(
        ((g.conj() * d).sum().real if g.is_complex() else (g * d).sum()).item()
        for g, d in zip(gradients, directions)
    )
    _, pushed = func.jvp(weighted, tuple(real), tuple(directions))
    forward = pushed.item()
    scale = max(abs(reverse), abs(forward), 1.0)
    limit = _TOLERANCE.get(str(real[0].dtype), 5e-2)
    if abs(reverse - forward) > limit * scale:
        raise AssertionError(
            f"{op.name}: along one direction, reverse mode says {reverse}, forward mode {forward}"
        )
    if not all(x.dtype in (_C.float64, _C.complex128) for x in real):
        return  # differences of less precise numbers tell little
    h = 1e-5
    up = weighted(*(x + h * d for x, d in zip(real, directions))).item()
    down = weighted(*(x - h * d for x, d in zip(real, directions))).item()
    difference = (up - down) / (2 * h)
    if abs(reverse - difference) > 1e-5 * max(scale, abs(difference)):
        raise AssertionError(
            f"{op.name}: along one direction the derivative is {reverse}, differences give "
            f"{difference}"
        )


def _test_vmap(case: _Case, tolerance: dict[str, float | None]) -> None:
    op, real = case.op, case.real_tensors()
    if not real or (op._kernel and op._vmap is None and not op._batches_leading):
        return
    stack = _C._all["stack"]
    batches = [stack([x, x * 0.5, x + 0.25]) for x in real]
    found = func.vmap(lambda *xs: tuple(case(*xs)))(*batches)
    for k, result in enumerate(found):
        expected = stack([case(*(b[i] for b in batches))[k] for i in range(3)])
        _same(result, expected, f"{op.name}: result {k} of a batch", tolerance)


def _test_compile(case: _Case, tolerance: dict[str, float | None]) -> None:
    real = case.real_tensors()
    expected = case(*real)
    compiled = _compile(lambda *xs: tuple(case(*xs)))
    for _ in range(2):
        for k, (found, wanted) in enumerate(zip(compiled(*real), expected, strict=True)):
            _same(found, wanted, f"{case.op.name}: result {k} under compile", tolerance)

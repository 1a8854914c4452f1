"""The operations of PyTorch's database, and what Tenon has under the same name."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import scipy.special
import torch

import tenon as tn
from tests.opdb.convert import is_partial, leaves, memory_of, rebound, with_leaves

DTYPES = (
    *("float32", "float64", "float16", "bfloat16"),
    *("bool", "uint8", "int8", "int16", "int32", "int64", "complex64", "complex128"),
)
# Results are what memory held.
UNINITIALIZED = ("empty", "resize", "new_empty")


@dataclass
class Sample:
    """One call: the function is applied to (*args, **kwargs)."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    process: Callable[[Any], Any]  # what is differentiated of a result

    @property
    def tree(self) -> Any:
        return (self.args, self.kwargs)


@functools.cache
def load() -> dict[str, Any]:
    """Entries by full name (`max.binary`), those for the CPU."""
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

    return {op.full_name: op for op in op_db if op.dtypes and not op.name.startswith("jiterator")}


# What PyTorch computes to some five digits in float64 too, or not at poles; SciPy judges it.
INEXACT = {
    "special.airy_ai": lambda x: scipy.special.airy(x)[0],
    "special.bessel_j0": scipy.special.j0,
    "special.bessel_j1": scipy.special.j1,
    "special.bessel_y0": scipy.special.y0,
    "special.bessel_y1": scipy.special.y1,
    "polygamma": lambda x, n: scipy.special.polygamma(n, x),
    "special.polygamma": lambda x, n: scipy.special.polygamma(n, x),
}


def judge(op: Any) -> Callable[..., Any]:
    """The function with whose results Tenon's are compared."""
    if op.name not in INEXACT:
        return op.op

    def exact(x: torch.Tensor, *rest: Any) -> torch.Tensor:
        wide = torch.as_tensor(INEXACT[op.name](x.double().numpy(), *rest))
        return wide.reshape(x.shape).to(op.op(x, *rest).dtype)

    return exact


def _walk(root: Any, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name, None)
    return root


def counterpart(op: Any) -> Callable[..., Any] | None:
    """Tenon's function for an entry, or None."""
    function = op.op
    if isinstance(function, functools.partial):
        inner = _named(op, function.func)
        return inner and functools.partial(inner, *function.args, **function.keywords)
    return _named(op, function)


def _named(op: Any, function: Any) -> Callable[..., Any] | None:
    module = getattr(function, "__module__", None) or ""
    if "torch.testing" in module:
        return rebound(inspect.unwrap(function))
    path = op.name
    if type(function).__name__ in ("method_descriptor", "wrapper_descriptor") or (
        getattr(torch.Tensor, path, None) is function
    ):
        return getattr(tn.Tensor, path, None)
    found = _walk(tn, path.removeprefix("torch."))
    return found or _walk(tn, getattr(function, "__name__", path))


def samples(op: Any, dtype: str, requires_grad: bool = False, limit: int = 0) -> Iterator[Sample]:
    """The samples of an entry, evenly chosen where there are more than limit. Seeded."""
    torch.manual_seed(0)
    made = list(op.sample_inputs("cpu", getattr(torch, dtype), requires_grad=requires_grad))
    step = max(1, -(-len(made) // limit)) if limit else 1
    for made_sample in made[::step]:
        yield Sample(
            (made_sample.input, *made_sample.args),
            dict(made_sample.kwargs),
            made_sample.output_process_fn_grad or (lambda x: x),
        )


def dtypes_of(op: Any) -> list[str]:
    return [d for d in DTYPES if getattr(torch, d) in op.dtypes]


def applies(op: Any, column: str) -> bool:
    """Whether the entry says that PyTorch has something to compare with."""
    found = dtypes_of(op)
    differentiable = op.supports_autograd and torch.float64 in op.dtypes
    return bool(
        {
            "dtypes": [d for d in found[1:] if not d.startswith("complex")],
            "complex_dtypes": [d for d in found if d.startswith("complex")],
            "methods": op.method_variant is not None,
            "in_place": op.inplace_variant is not None,
            "out": op.supports_out,
            "errors": op.error_inputs_func is not None,
            "gradient": differentiable,
            "complex_gradient": op.supports_autograd
            and torch.complex128 in op.supported_backward_dtypes("cpu"),
            "second": differentiable and op.supports_gradgrad,
            "forward": differentiable and op.supports_forward_ad,
            "vmap": not op.is_factory_function,
        }.get(column, True)
    )


def is_random(op: Any, sample: Sample) -> bool:
    """Whether two calls differ, whatever seed the entry sets before each."""
    if op.name.startswith(UNINITIALIZED):
        return True
    seed = torch.manual_seed
    try:
        results = []
        for number in range(4):
            torch.manual_seed = lambda _, number=number: seed(number)
            args, kwargs = copies(sample.tree)
            results.append(_tensors(op.op(*args, **kwargs)))
    finally:
        torch.manual_seed = seed
    first, *others = results
    return any(
        a.shape != b.shape or not torch.equal(a.nan_to_num(), b.nan_to_num())
        for other in others
        for a, b in zip(first, other, strict=True)
    )


def copies(tree: Any) -> Any:
    """The tree with copies of its tensors, since some entries write in place."""

    def copy(x: torch.Tensor) -> torch.Tensor:
        x = x.detach()
        if x.layout == torch.strided and is_partial(x):
            return memory_of(x).as_strided(x.shape, x.stride(), x.storage_offset())
        return x.clone()

    return with_leaves(tree, [copy(x) for x in leaves(tree)])


def _tensors(result: Any) -> list[torch.Tensor]:
    found = result if isinstance(result, (tuple, list)) else [result]
    return [x for x in found if isinstance(x, torch.Tensor) and x.layout == torch.strided]

"""Both modes of an operation that is linear in some of its tensors, from its transpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._operation import CustomOpDef
from ._rules import zeros_like

Rule = Callable[..., Any]


def linear_rules(
    op: CustomOpDef, transpose: Rule, linear: tuple[str, ...]
) -> tuple[Rule, Rule, Rule]:
    """backward, setup_context and jvp. Errors: ValueError for a name that is no tensor's."""
    names = [a.name for a in op._schema.arguments]
    tensors = [a.name for a in op._schema.arguments if a.base == "Tensor"]
    for name in linear:
        if name not in tensors:
            raise ValueError(
                f"{op.name}: '{name}' is none of its tensors, which are {', '.join(tensors)}"
            )
    if not linear:
        raise ValueError(f"{op.name}: linear names no tensor")
    places = [names.index(name) for name in linear]

    def setup_context(
        ctx: Any, inputs: tuple[Any, ...], output: Any, keyword_only_inputs: Any = None
    ) -> None:
        values = [*inputs, *(keyword_only_inputs or {}).values()]
        kept, attributes = op._schema.flatten(values)
        ctx.save_for_backward(*kept)
        ctx.attributes = [value for _, value in attributes]

    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        values = op._schema.unflatten(ctx.saved_tensors, ctx.attributes)
        positional, named = op._called(values)
        given = transpose(*gradients, *positional, **named)
        found = list(given) if isinstance(given, (tuple, list)) else [given]
        if len(found) != len(places):
            raise RuntimeError(
                f"{op.name}: its transpose gave {len(found)} gradients for {len(places)} arguments "
                f"({', '.join(linear)})"
            )
        kept = [a for a in op._schema.arguments if not a.keyword_only or a.holds_tensors]
        by_name = dict(zip(linear, found))
        return tuple(by_name.get(a.name) for a in kept)

    def jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...], output: Any) -> Any:
        values = list(primals)
        for k, tangent in enumerate(tangents):
            if k in places:
                if values[k] is not None:
                    values[k] = zeros_like(values[k]) if tangent is None else tangent
            elif tangent is not None and op._schema.arguments[k].holds_tensors:
                raise RuntimeError(
                    f"{op.name} has no derivative by '{names[k]}': it is declared linear in "
                    f"{', '.join(linear)} alone"
                )
        positional, named = op._called(values)
        return op(*positional, **named)

    return backward, setup_context, jvp

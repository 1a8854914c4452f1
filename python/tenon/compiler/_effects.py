"""What a training step does besides recording, in a walk.

A backward pass, an optimizer's step and gradients set to None are noted and not done: nothing that
the walk may read afterwards depends on them. A call that skips Python does them again by the code
that Python calls, with the options, states and gradients that there are then.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from tenon import _C
from tenon._C import Tensor
from tenon.nn.parameter import Parameter
from tenon.optim import Optimizer

from ._prove import Reader, Unprovable

if TYPE_CHECKING:
    from ._walk import Walk

# By the identity of code, as what a class has under these names.
_STEP, _ZERO_GRAD = (id(f.__code__) for f in (Optimizer.step, Optimizer.zero_grad))
_RULES = {id(rule) for rule in vars(_C._optim).values() if isinstance(rule, types.ModuleType)}
_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


def is_effect(function: types.FunctionType) -> bool:
    return id(function.__code__) in (_STEP, _ZERO_GRAD)


def note_effect(
    walk: Walk, function: types.FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Of an optimizer: step() or zero_grad()."""
    reader = walk.reader
    reader.note("function", function)
    optimizer, *rest = args or (None,)
    if not isinstance(optimizer, Optimizer) or reader.is_fresh(optimizer):
        raise Unprovable("calls an optimizer's method of something else")
    if id(function.__code__) == _ZERO_GRAD:
        options = [*rest, *kwargs.values()]
        if len(options) > 1 or any(option is not True for option in options):
            raise Unprovable("calls zero_grad that sets gradients to zero, not to None")
        reader.effects.append(("zero_grad", _groups(reader, walk, optimizer)))
        return
    if any(value is not None for value in (*rest, *kwargs.values())):
        raise Unprovable("calls an optimizer's step with a closure")
    for name in _HOOKS:
        hooks = reader.attribute(optimizer, name, walk.call)
        if hooks or not isinstance(hooks, dict):
            raise Unprovable("calls an optimizer's step with hooks")
        reader.note("dict", hooks, [])
    update = reader.attribute(optimizer, "_update", walk.call)
    if getattr(update, "function", None) is not vars(Optimizer)["_update"]:
        raise Unprovable(f"calls the step of a {type(optimizer).__name__}, written in Python")
    reader.note("function", update.function)
    rule = reader.attribute(optimizer, "_rule", walk.call)
    if id(rule) not in _RULES:
        raise Unprovable(f"calls the step of a {type(optimizer).__name__} without a rule")
    function = reader.attribute(rule, "step", walk.call)
    state = reader.attribute(optimizer, "state", walk.call)
    if not isinstance(state, dict):
        raise Unprovable("calls the step of an optimizer whose state is no dictionary")
    reader.effects.append(("step", function, _groups(reader, walk, optimizer), state))


def _groups(reader: Reader, walk: Walk, optimizer: Optimizer) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = reader.attribute(optimizer, "param_groups", walk.call)
    if type(groups) is not list or any(type(group) is not dict for group in groups):
        raise Unprovable("uses an optimizer whose groups are no list of dictionaries")
    reader.contents(groups)
    for group in groups:
        params = group.get("params")
        if type(params) is not list or any(type(p) not in (Tensor, Parameter) for p in params):
            raise Unprovable("uses an optimizer whose parameters are no list of tensors")
        reader.note("item", group, "params", params)
        reader.contents(params)
    return groups


def aligned(effects: list[Any], captured: list[str]) -> list[Any] | None:
    """What to do after each part of a capture; None: the call did something else than the walk.

    Gradients set to None one after another are one effect of a capture, or several.
    """
    result: list[Any] = []
    at = 0
    for kind in captured:
        if kind == "zero_grad" and result and result[-1][0] == "zero_grad":
            result.append(("zero_grad", []))
        elif at == len(effects) or effects[at][0] != kind:
            return None
        elif kind == "zero_grad":
            first = at
            while at < len(effects) and effects[at][0] == kind:
                at += 1
            result.append((kind, [groups for _, groups in effects[first:at]]))
        else:
            result.append(effects[at])
            at += 1
    return result if at == len(effects) else None

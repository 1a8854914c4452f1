"""Hooks on the gradients that pass a module: what they see are its inputs' and outputs' gradients.

Inputs and outputs pass an identity of their own, whose backward has all of their gradients at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from tenon._C import Tensor

from ..autograd.function import Function
from ..utils._pytree import tree_flatten, tree_unflatten
from ..utils.hooks import RemovableHandle, add_hook

Gradients = tuple[Tensor | None, ...]


class _Call:
    """One forward: the gradients of its outputs, on their way to the hooks."""

    def __init__(self, hooks: BackwardHooks, module: Any) -> None:
        self.hooks, self.module = hooks, module
        self.grad_output: Gradients | None = None
        self.has_inputs = False

    def outputs_done(self, gradients: Gradients) -> Gradients:
        for hook in list(self.hooks.pre.values()):
            changed = hook(self.module, gradients)
            if changed is not None:
                gradients = changed if isinstance(changed, tuple) else (changed,)
        self.grad_output = gradients
        if not self.has_inputs:
            for hook in list(self.hooks.full.values()):
                if hook(self.module, (), gradients) is not None:
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always "
                        "return None or None for all gradients."
                    )
        return gradients

    def inputs_done(self, gradients: Gradients) -> Gradients:
        for hook in list(self.hooks.full.values()):
            changed = hook(self.module, gradients, self.grad_output)
            if changed is not None:
                gradients = changed if isinstance(changed, tuple) else (changed,)
        return gradients


class _Inputs(Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: Tensor) -> Any:
        ctx.call = call
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return (None, *ctx.call.inputs_done(gradients))


class _Outputs(Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: Tensor) -> Any:
        ctx.call = call
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return (None, *ctx.call.outputs_done(gradients))


def _through(function: type[Function], call: _Call, tree: Any) -> tuple[Any, bool]:
    """The tree with its differentiable tensors passed through; whether there are any."""
    leaves, spec = tree_flatten(tree)
    places = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.requires_grad]
    if not places:
        return tree, False
    passed = function.apply(call, *(leaves[i] for i in places))
    for i, x in zip(places, passed if isinstance(passed, tuple) else (passed,), strict=True):
        leaves[i] = x
    return tree_unflatten(leaves, spec), True


class BackwardHooks:
    """A module's backward hooks, and the forward hooks that make them be called."""

    def __init__(self, module: Any) -> None:
        self.pre: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        self.full: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        self.calls: list[_Call] = []
        module.register_forward_pre_hook(self.before)
        module.register_forward_hook(self.after)

    def before(self, module: Any, args: tuple[Any, ...]) -> Any:
        call = _Call(self, module)
        self.calls.append(call)
        if not self.full:
            return None
        args, call.has_inputs = _through(_Inputs, call, args)
        return args

    def after(self, module: Any, args: Any, result: Any) -> Any:
        call = self.calls.pop()
        if not self.full and not self.pre:
            return None
        result, _ = _through(_Outputs, call, result)
        return result


def hooks_of(module: Any) -> BackwardHooks:
    hooks = module.__dict__.get("_backward_hooks_")
    if hooks is None:
        hooks = module.__dict__["_backward_hooks_"] = BackwardHooks(module)
    return hooks


def add_backward_hook(module: Any, hook: Any, prepend: bool, before: bool) -> RemovableHandle:
    hooks = hooks_of(module)
    return add_hook(hooks.pre if before else hooks.full, hook, prepend)

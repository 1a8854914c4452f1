"""Module: the base class of everything with parameters.

What a module computes is in the functionals; this is the bookkeeping that only Python can do, with
PyTorch's dictionaries (_parameters, _buffers, _modules) under PyTorch's names, because libraries
reach into them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import tenon as _tn
from tenon._C import Tensor, _ModuleBase

from ..utils.hooks import RemovableHandle, add_hook
from ._backward_hooks import add_backward_hook
from ._members import Members
from ._state import State
from .parameter import Buffer, Parameter

M = TypeVar("M", bound="Module")


def _indented(text: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *("  " + line for line in rest)])


class Module(_ModuleBase, Members, State):
    """Base class of layers and models: assign parameters and modules, write `forward`.

    See `torch.nn.Module`.

    Example::

        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = nn.Linear(2, 3)
        ...     def forward(self, x):
        ...         return self.layer(x).relu()
        >>> Net()(tn.ones(4, 2)).shape
        tenon.Size([4, 3])
    """

    dump_patches = False
    training: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args or kwargs:
            raise TypeError(
                f"{type(self).__name__}.__init__() got unexpected arguments: {args} {kwargs}"
            )
        fields = self.__dict__
        fields["training"] = True
        fields["_parameters"] = {}
        fields["_buffers"] = {}
        fields["_modules"] = {}
        fields["_non_persistent_buffers_set"] = set()
        for name in (
            "_forward_hooks",
            "_forward_hooks_with_kwargs",
            "_forward_hooks_always_called",
            "_forward_pre_hooks",
            "_forward_pre_hooks_with_kwargs",
            "_state_dict_hooks",
            "_state_dict_pre_hooks",
            "_load_state_dict_pre_hooks",
            "_load_state_dict_post_hooks",
        ):
            fields[name] = OrderedDict()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    # ---- calls and their hooks ------------------------------------------------------------------

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        return Module.__call__(self, *args, **kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for key, hook in list(self._forward_pre_hooks.items()):
            if key in self._forward_pre_hooks_with_kwargs:
                changed = hook(self, args, kwargs)
                if changed is not None:
                    if not (isinstance(changed, tuple) and len(changed) == 2):
                        raise RuntimeError(
                            "forward pre-hook must return None or a tuple of (new_args, "
                            "new_kwargs), "
                            f"but got {changed}."
                        )
                    args, kwargs = changed
            else:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        called: set[int] = set()
        result = None
        try:
            result = self.forward(*args, **kwargs)
            for key, hook in list(self._forward_hooks.items()):
                called.add(key)
                if key in self._forward_hooks_with_kwargs:
                    changed = hook(self, args, kwargs, result)
                else:
                    changed = hook(self, args, result)
                if changed is not None:
                    result = changed
        except Exception:
            for key, hook in list(self._forward_hooks.items()):
                if key in self._forward_hooks_always_called and key not in called:
                    extra = (kwargs,) if key in self._forward_hooks_with_kwargs else ()
                    hook(self, args, *extra, result)
            raise
        return result

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """hook(module, args) before every forward; what it returns, if anything, replaces args."""
        flags = self._forward_pre_hooks_with_kwargs
        handle = add_hook(self._forward_pre_hooks, hook, prepend, flags)
        if with_kwargs:
            flags[handle.id] = True
        return handle

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """hook(module, args, output) after every forward; a result of it replaces the output."""
        with_flags, always_flags = (
            self._forward_hooks_with_kwargs,
            self._forward_hooks_always_called,
        )
        handle = add_hook(self._forward_hooks, hook, prepend, with_flags, always_flags)
        if with_kwargs:
            with_flags[handle.id] = True
        if always_call:
            always_flags[handle.id] = True
        return handle

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """hook(module, grad_input, grad_output) when the gradients of the inputs are complete; what
        it returns, if anything, replaces grad_input.

        grad_input has the gradients of the positional inputs that require them, grad_output those
        of such outputs. Inputs and outputs are new tensors, not to be changed in place.
        """
        return add_backward_hook(self, hook, prepend, before=False)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """hook(module, grad_output) when the gradients of the outputs are complete; what it
        returns, if anything, replaces them.
        """
        return add_backward_hook(self, hook, prepend, before=True)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """The old name of register_full_backward_hook."""
        return self.register_full_backward_hook(hook)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """`tn.compile` of this module's forward, in place; the arguments are tn.compile's."""
        self.__dict__["forward"] = _tn.compile(self.forward, *args, **kwargs)

    # ---- attributes -----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        fields = self.__dict__
        parameters = fields.get("_parameters")
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name)
            self.register_parameter(name, value)
            return
        if parameters is not None and name in parameters:
            if value is not None:
                kind = f"{type(value).__module__}.{type(value).__qualname__}"
                raise TypeError(
                    f"cannot assign '{kind}' as parameter '{name}' (tenon.nn.Parameter or None "
                    "expected)"
                )
            parameters[name] = None
            return
        modules = fields.get("_modules")
        if isinstance(value, Module):
            if modules is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name)
            modules[name] = value
            return
        if modules is not None and name in modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__qualname__}' as child module '{name}' "
                    "(tenon.nn.Module or None expected)"
                )
            modules[name] = None
            return
        buffers = fields.get("_buffers")
        if isinstance(value, Buffer):
            if buffers is None:
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            self._forget(name)
            self.register_buffer(name, value.data, value.persistent)
            return
        if buffers is not None and name in buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{type(value).__qualname__}' as buffer '{name}' "
                    "(tenon.Tensor or None expected)"
                )
            buffers[name] = value
            return
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for members in (self._parameters, self._buffers, self._modules):
            if name in members:
                del members[name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def _forget(self, name: str) -> None:
        """Before a name is registered anew: wherever it stood."""
        fields = self.__dict__
        fields.pop(name, None)
        for kind in ("_parameters", "_buffers", "_modules"):
            fields[kind].pop(name, None)
        fields["_non_persistent_buffers_set"].discard(name)

    def __dir__(self) -> list[str]:
        names = set(object.__dir__(self))
        names.update(self._parameters, self._modules, self._buffers)
        return sorted(name for name in names if not name[:1].isdigit())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    # ---- registration ---------------------------------------------------------------------------

    def _check_name(self, name: Any, members: Mapping[str, Any], what: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if hasattr(self, name) and name not in members:
            raise KeyError(f"attribute '{name}' already exists")

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """A tensor that is no parameter but part of the state; in the state_dict if persistent."""
        self._check_name(name, self.__dict__.get("_buffers", ()), "buffer")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__qualname__}' object to buffer '{name}' "
                "(tenon.Tensor or None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        self._check_name(name, self.__dict__.get("_parameters", ()), "parameter")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__qualname__}' object to parameter '{name}' "
                "(tenon.nn.Parameter or None required)"
            )
        if param is not None and not param.is_leaf:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                "created "
                "explicitly. To express '{name}' as a function of another Tensor, compute the "
                "value in "
                "the forward() method."
            )
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__qualname__} is not a Module subclass")
        self._check_name(name, self.__dict__.get("_modules", ()), "module")
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        self.add_module(name, module)

    # ---- modes and conversion -------------------------------------------------------------------

    def apply(self: M, fn: Callable[[Module], None]) -> M:
        """fn(module) for every module below, then for this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self: M, mode: bool = True) -> M:
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: M) -> M:
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.parameters():
            if parameter.grad is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                with _tn.no_grad():
                    parameter.grad.zero_()

    def _apply(self: M, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> M:
        if recurse:
            for module in self.children():
                module._apply(fn)
        with _tn.no_grad():
            for parameter in self._parameters.values():
                if parameter is None:
                    continue
                grad = parameter.grad
                parameter.grad = None
                parameter.data = fn(parameter.data)
                if grad is not None:
                    parameter.grad = fn(grad)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """`to(device)`, `to(dtype)`, `to(tensor)`: floating parameters and buffers, in place."""
        device = kwargs.get("device")
        dtype = kwargs.get("dtype")
        for argument in args:
            if isinstance(argument, Tensor):
                device, dtype = argument.device, argument.dtype
            elif isinstance(argument, _tn.dtype):
                dtype = argument
            elif isinstance(argument, (str, _tn.device)):
                device = argument
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )

        def convert(tensor: Tensor) -> Tensor:
            if device is not None:
                tensor = tensor.to(device)
            if dtype is not None and (tensor.is_floating_point() or tensor.is_complex()):
                tensor = tensor.to(dtype)
            return tensor

        return self._apply(convert)

    def type(self: M, dst_type: Any) -> M:
        return self._apply(lambda t: t.to(dst_type))

    def _to_floating(self: M, dtype: Any) -> M:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self: M) -> M:
        return self._to_floating(_tn.float32)

    def double(self: M) -> M:
        return self._to_floating(_tn.float64)

    def half(self: M) -> M:
        return self._to_floating(_tn.float16)

    def bfloat16(self: M) -> M:
        return self._to_floating(_tn.bfloat16)

    def share_memory(self: M) -> M:
        """Moves parameters and buffers into memory that processes forked later share.

        See `Tensor.share_memory_`.

        Example::

            >>> nn.Linear(2, 2).share_memory().weight.is_shared()
            True
        """
        for tensor in (*self.parameters(), *self.buffers()):
            tensor.share_memory_()
        return self

    def to_empty(self: M, *, device: Any, recurse: bool = True) -> M:
        """Parameters and buffers on a device, with no particular values."""
        return self._apply(lambda t: _tn.empty_like(t, device=device), recurse)

    def cpu(self: M) -> M:
        return self._apply(lambda t: t.to("cpu"))

    def cuda(self: M, device: Any = None) -> M:
        return self._apply(lambda t: t.to("cuda" if device is None else device))

    # ---- text -----------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr().split("\n")
        extra = [] if extra == [""] else extra
        children = [
            f"({name}): {_indented(repr(module))}" for name, module in self._modules.items()
        ]
        lines = extra + children
        if not children and len(extra) <= 1:
            return f"{self._get_name()}({''.join(extra)})"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"

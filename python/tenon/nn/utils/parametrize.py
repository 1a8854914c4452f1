"""Parameters as functions of others. See `torch.nn.utils.parametrize`.

A module with a parametrized tensor has a class of its own, derived from its old one, on which the
tensor's name is a property that computes it.
"""

from __future__ import annotations

import contextlib
import copyreg
from collections.abc import Iterator, Sequence
from typing import Any

import tenon as _tn
from tenon._C import Tensor

from ..containers import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "type_before_parametrizations",
]

_cache_depth = 0
_cache: dict[tuple[int, str], Tensor] = {}


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Parametrized tensors are computed once inside.

    Example::

        >>> from tenon.nn.utils import parametrize
        >>> with parametrize.cached():
        ...     pass
    """
    global _cache_depth
    _cache_depth += 1
    try:
        yield
    finally:
        _cache_depth -= 1
        if _cache_depth == 0:
            _cache.clear()


class ParametrizationList(ModuleList):
    """Parametrizations in the order in which they apply, and the tensors they begin with.

    Those are called original, or original0, original1, ... where the first parametrization's
    right_inverse gives several.
    Errors: ValueError for a right_inverse that gives no tensors, and, unless unsafe, for
    parametrizations that change the size or dtype.

    Example::

        >>> from tenon.nn.utils import parametrize
        >>> layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
        >>> type(layer.parametrizations.weight).__name__
        'ParametrizationList'
    """

    original: Tensor

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with _tn.no_grad():
            new: Any = original
            for module in reversed(list(modules)):
                if hasattr(module, "right_inverse"):
                    with contextlib.suppress(NotImplementedError):
                        new = module.right_inverse(new)
        if not isinstance(new, (Tensor, Sequence)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if isinstance(new, Tensor) else len(new)
        if isinstance(new, Tensor):
            if original.dtype != new.dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype."
                )
            with _tn.no_grad():
                original.data = new.detach() if new is not original else original.detach()
            self._register("original", original, original.requires_grad)
        else:
            for i, part in enumerate(new):
                if not isinstance(part, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, "
                        f"tuple...). Got element {i} of the sequence with type "
                        f"{type(part).__name__}."
                    )
                held = Parameter(part) if isinstance(original, Parameter) else part
                self._register(f"original{i}", held, original.requires_grad)
        if not unsafe:
            result = self()
            if not isinstance(result, Tensor):
                raise ValueError(
                    f"A parametrization must return a tensor. Got {type(result).__name__}."
                )
            if result.dtype != dtype or result.shape != shape:
                raise ValueError(
                    "Registering a parametrization may not change the dtype or the shape of the "
                    f"tensor, unless `unsafe` flag is enabled: from {dtype} {shape} to "
                    f"{result.dtype} {result.shape}"
                )

    def _register(self, name: str, tensor: Tensor, requires_grad: bool) -> None:
        if isinstance(tensor, Parameter):
            tensor.requires_grad_(requires_grad)
            self.register_parameter(name, tensor)
        else:
            self.register_buffer(name, tensor)

    def _originals(self) -> list[Tensor]:
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Sets the originals such that the parametrized tensor is `value`."""
        with _tn.no_grad():
            new: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                new = module.right_inverse(new)
            given = [new] if self.is_tensor else list(new)
            if len(given) != self.ntensors:
                raise ValueError(
                    f"'right_inverse' must return {self.ntensors} tensors, not {len(given)}"
                )
            for old, part in zip(self._originals(), given, strict=True):
                if old.dtype != part.dtype or old.shape != part.shape:
                    raise ValueError(
                        "The tensor returned by `right_inverse` has another dtype or size than the "
                        f"original: {part.dtype} {part.shape} for {old.dtype} {old.shape}"
                    )
                old.copy_(part)

    def forward(self) -> Tensor:
        first, *rest = list(self)
        x = first(*self._originals())
        for module in rest:
            x = module(x)
        return x


def _property(name: str) -> property:
    def get(self: Any) -> Tensor:
        if _cache_depth == 0:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]

    def set(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(get, set)


def _parametrized_class(module: Module) -> None:
    base = type(module)

    def refuse(self: Any, protocol: Any = None) -> Any:
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict(). See:\n"
            "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
        )

    def copied(self: Any, memo: dict[int, Any]) -> Any:
        from copy import deepcopy

        if id(self) in memo:
            return memo[id(self)]
        # A class of its own, from which a parametrization may be removed.
        own = {k: v for k, v in vars(type(self)).items() if k not in ("__dict__", "__weakref__")}
        cls = type(type(self).__name__, type(self).__bases__, own)
        replica = self.__new__(cls)
        memo[id(self)] = replica
        replica.__dict__.update(deepcopy(self.__dict__, memo))
        for slot in copyreg._slotnames(type(self)):  # type: ignore[attr-defined]
            if hasattr(self, slot):
                setattr(replica, slot, deepcopy(getattr(self, slot), memo))
        return replica

    fields: dict[str, Any] = {"__reduce_ex__": refuse}
    if not hasattr(base, "__deepcopy__"):
        fields["__deepcopy__"] = copied
    module.__class__ = type(f"Parametrized{base.__name__}", (base,), fields)


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Makes a parameter or buffer of a module what a parametrization gives for it.

    The parametrization is a module of one tensor; with a right_inverse, the tensor begins with what
    that gives, and may be assigned to. Further ones apply on top.
    Errors: ValueError for a name that is none of the module's parameters and buffers, and for
    parametrizations that change the size or dtype, unless unsafe.

    Example::

        >>> from tenon.nn.utils import parametrize
        >>> class Symmetric(nn.Module):
        ...     def forward(self, x):
        ...         return x.triu() + x.triu(1).T
        >>> layer = parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
        >>> tn.equal(layer.weight, layer.weight.T)
        True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        parametrizations: Any = module.parametrizations
        if not unsafe:
            value = getattr(module, tensor_name)
            result = parametrization(value)
            if not isinstance(result, Tensor) or (result.shape, result.dtype) != (
                value.shape,
                value.dtype,
            ):
                raise ValueError(
                    "Registering a parametrization may not change the dtype or the shape of the "
                    "tensor, unless `unsafe` flag is enabled."
                )
        parametrizations[tensor_name].append(parametrization)
        parametrizations[tensor_name].unsafe |= unsafe
        return module
    if tensor_name not in module._buffers and tensor_name not in module._parameters:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    original = getattr(module, tensor_name)
    parametrizations = ParametrizationList([parametrization], original, unsafe=unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _parametrized_class(module)
        module.parametrizations = ModuleDict()
    setattr(type(module), tensor_name, _property(tensor_name))
    module.parametrizations[tensor_name] = parametrizations  # type: ignore[index]
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has parametrized tensors, or this one.

    Example::

        >>> from tenon.nn.utils import parametrize
        >>> parametrize.is_parametrized(nn.Linear(2, 2))
        False
    """
    parametrizations = module._modules.get("parametrizations")
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Makes a tensor a plain parameter again, of its present value or, with leave_parametrized
    False, of the original one.

    Errors: ValueError for what is not parametrized, and for the original of several.

    Example::

        >>> from tenon.nn.utils import parametrize
        >>> layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
        >>> parametrize.remove_parametrizations(layer, "weight")
        Linear(in_features=2, out_features=2, bias=True)
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    parametrizations: Any = module.parametrizations
    held = parametrizations[tensor_name]
    if held.is_tensor:
        original = held.original
        if leave_parametrized:
            with _tn.no_grad():
                original.data = getattr(module, tensor_name).detach()
    elif leave_parametrized:
        value = getattr(module, tensor_name).detach()
        original = Parameter(value) if isinstance(held.original0, Parameter) else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del parametrizations[tensor_name]
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    if isinstance(original, Parameter):
        module.register_parameter(tensor_name, original)
    else:
        module.register_buffer(tensor_name, original)
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that a module has without its parametrizations.

    Example::

        >>> from tenon.nn.utils import parametrize
        >>> parametrize.type_before_parametrizations(nn.Linear(2, 2)).__name__
        'Linear'
    """
    return type(module).__bases__[0] if is_parametrized(module) else type(module)

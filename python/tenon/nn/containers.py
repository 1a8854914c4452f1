"""Modules and parameters in sequences and dictionaries. See `torch.nn`'s containers."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Generic, TypeVar

from tenon._C import Tensor

from .module import Module, _indented
from .parameter import Parameter

T = TypeVar("T")


class _List(Module, Generic[T]):
    """Members named "0", "1", ...; subclasses say in which dictionary they lie."""

    def _members(self) -> dict[str, Any]:
        return self._modules

    def _key(self, index: Any) -> str:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range")
        return list(self._members())[index]

    def _renumber(self, members: Iterable[Any]) -> None:
        kept = list(members)
        self._members().clear()
        for i, member in enumerate(kept):
            self._set(str(i), member)

    def _set(self, key: str, member: Any) -> None:
        self.add_module(key, member)

    def _make(self, members: Iterable[Any]) -> Any:
        return type(self)(members)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._make(list(self._members().values())[index])
        return self._members()[self._key(index)]

    def __setitem__(self, index: int, member: Any) -> None:
        self._set(self._key(index), member)

    def __delitem__(self, index: Any) -> None:
        members = list(self._members().values())
        if not isinstance(index, slice):
            self._key(index)
        del members[index]
        self._renumber(members)

    def __len__(self) -> int:
        return len(self._members())

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._members().values()))

    def __iadd__(self, members: Iterable[Any]) -> Any:
        return self.extend(members)

    def __add__(self, other: Iterable[Any]) -> Any:
        return self._make(chain(self, other))

    def append(self, member: Any) -> Any:
        self._set(str(len(self)), member)
        return self

    def extend(self, members: Iterable[Any]) -> Any:
        if isinstance(members, (str, bytes)) or not isinstance(members, Iterable):
            raise TypeError(
                f"{type(self).__name__}.extend should be called with an iterable, but got "
                f"{type(members).__name__}"
            )
        for member in members:
            self.append(member)
        return self

    def insert(self, index: int, member: Any) -> None:
        members = list(self._members().values())
        members.insert(index, member)
        self._renumber(members)

    def pop(self, index: int = -1) -> Any:
        member = self[index]
        del self[index]
        return member


class Sequential(_List[Module]):
    """Each module's output is the next one's input.

    Example::

        >>> nn.Sequential(nn.Linear(2, 3), nn.ReLU())(tn.ones(4, 2)).shape
        tenon.Size([4, 3])
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], (OrderedDict, dict)):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for i, module in enumerate(args):
                self.add_module(str(i), module)

    def _make(self, members: Iterable[Any]) -> Sequential:
        return type(self)(*members)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        return super().__getitem__(index)

    def forward(self, input: Any) -> Any:
        module: Any
        for module in self._modules.values():
            input = module(input)
        return input


class ModuleList(_List[Module]):
    """A list whose modules are registered; it has no forward of its own.

    Errors: IndexError for an index out of range, TypeError for a member that is no module.

    Example::

        >>> nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()])
        ModuleList(
          (0-1): 2 x ReLU()
          (2): Tanh()
        )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __repr__(self) -> str:
        """Equal neighbours are shown once, as "(0-3): 4 x Linear(...)"."""
        if len(self) == 0:
            return f"{self._get_name()}()"
        runs: list[tuple[int, int, str]] = []
        for i, text in enumerate(repr(module) for module in self):
            if runs and runs[-1][2] == text:
                runs[-1] = (runs[-1][0], i, text)
            else:
                runs.append((i, i, text))
        lines = []
        for first, last, text in runs:
            shown = (
                f"({first}): {text}"
                if first == last
                else f"({first}-{last}): {last - first + 1} x {text}"
            )
            lines.append(_indented(shown))
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


class _Dict(Module):
    def _members(self) -> dict[str, Any]:
        return self._modules

    def _set(self, key: str, member: Any) -> None:
        self.add_module(key, member)

    def __getitem__(self, key: str) -> Any:
        return self._members()[key]

    def __setitem__(self, key: str, member: Any) -> None:
        self._set(key, member)

    def __delitem__(self, key: str) -> None:
        del self._members()[key]

    def __len__(self) -> int:
        return len(self._members())

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._members()))

    def __contains__(self, key: str) -> bool:
        return key in self._members()

    def keys(self) -> Any:
        return self._members().keys()

    def items(self) -> Any:
        return self._members().items()

    def values(self) -> Any:
        return self._members().values()

    def clear(self) -> None:
        self._members().clear()

    def pop(self, key: str) -> Any:
        return self._members().pop(key)

    def update(self, members: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        pairs = members.items() if hasattr(members, "items") else members
        for key, member in pairs:
            self._set(key, member)


class ModuleDict(_Dict):
    """A dictionary whose modules are registered, in the order of insertion.

    Errors: KeyError for a missing key, TypeError for a member that is no module.

    Example::

        >>> nn.ModuleDict({"act": nn.ReLU()})["act"](tn.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)


def _as_parameter(value: Any) -> Any:
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        return Parameter(value, requires_grad=value.requires_grad)
    return value


def _describe(parameter: Any) -> str:
    if not isinstance(parameter, Tensor):
        return f"Object of type: {type(parameter).__name__}"
    size = "x".join(str(n) for n in parameter.shape)
    kind = "Parameter" if isinstance(parameter, Parameter) else "Tensor"
    return f"{kind} containing: [{parameter.dtype} of size {size}]"


class ParameterList(_List[Parameter]):
    """A list whose tensors are registered as parameters.

    Example::

        >>> model = nn.ParameterList([tn.zeros(2), tn.ones(3)])
        >>> [name for name, _ in model.named_parameters()]
        ['0', '1']
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        if values is not None:
            self.extend(values)

    def _members(self) -> dict[str, Any]:
        return self._parameters

    def _set(self, key: str, member: Any) -> None:
        self.register_parameter(key, _as_parameter(member))

    def extra_repr(self) -> str:
        return "\n".join(f"  ({i}): {_describe(p)}" for i, p in enumerate(self))


class ParameterDict(_Dict):
    """A dictionary whose tensors are registered as parameters.

    Example::

        >>> nn.ParameterDict({"scale": nn.Parameter(tn.ones(2))})
        ParameterDict(  (scale): Parameter containing: [tenon.float32 of size 2])
    """

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        if parameters is not None:
            self.update(parameters)

    def _members(self) -> dict[str, Any]:
        return self._parameters

    def _set(self, key: str, member: Any) -> None:
        self.register_parameter(key, _as_parameter(member))

    def extra_repr(self) -> str:
        return "\n".join(f"  ({key}): {_describe(p)}" for key, p in self.items())

"""Modules as functions of their parameters."""

from __future__ import annotations

from typing import Any

from .. import _C
from .._C import Tensor


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: Any = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Calls a module with other parameters and buffers, by name; the module is left as it was.

    tie_weights: what is given under one name of a shared parameter counts for its others.
    Errors: RuntimeError for unknown names, and for missing ones when strict; ValueError for a name
    in several dictionaries.

    Example::

        >>> layer = nn.Linear(2, 1, bias=False)
        >>> weight = tn.tensor([[1.0, 2.0]])
        >>> tn.func.functional_call(layer, {"weight": weight}, tn.tensor([3.0, 4.0]))
        tensor([11.])
    """
    dictionaries = parameter_and_buffer_dicts
    if isinstance(dictionaries, dict):
        dictionaries = (dictionaries,)
    merged: dict[str, Tensor] = {}
    for dictionary in dictionaries:
        for name in dictionary:
            if name in merged:
                raise ValueError(
                    f"{name} appears in multiple dictionaries; behavior of functional call "
                    "is ambiguous"
                )
        merged.update(dictionary)
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with _Replaced(module, merged, tie_weights, strict):
        return module(*arguments, **(kwargs or {}))


class _Replaced:
    """Puts tensors into a module's dictionaries, and what was there back."""

    def __init__(self, module: Any, tensors: dict[str, Tensor], tie: bool, strict: bool) -> None:
        places: dict[str, tuple[dict[str, Any], str]] = {}
        tied: dict[int, list[str]] = {}
        for path, owner in module.named_modules(remove_duplicate=False):
            for table in (owner._parameters, owner._buffers):
                for name, tensor in table.items():
                    full = f"{path}.{name}" if path else name
                    places[full] = (table, name)
                    if tensor is not None:
                        tied.setdefault(id(tensor), []).append(full)
        unexpected = [name for name in tensors if name not in places]
        missing = [name for name in places if name not in tensors]
        if unexpected or (strict and missing):
            raise RuntimeError(
                f"functional_call: unexpected keys {unexpected}"
                + (f", missing keys {missing}" if strict else "")
            )
        self._swaps = [(*places[name], tensor) for name, tensor in tensors.items()]
        if tie:
            for names in tied.values():
                given = [name for name in names if name in tensors]
                if len(given) == 1:
                    self._swaps += [
                        (*places[name], tensors[given[0]]) for name in names if name not in tensors
                    ]
        self._before: list[Any] = []

    def __enter__(self) -> None:
        for table, name, tensor in self._swaps:
            self._before.append(table[name])
            table[name] = tensor

    def __exit__(self, *_: object) -> None:
        for (table, name, _tensor), before in zip(self._swaps, self._before, strict=True):
            table[name] = before


def stack_module_state(models: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(parameters, buffers) of equal modules, each name's tensors along a new first dimension.

    Errors: RuntimeError for no modules.

    Example::

        >>> parameters, buffers = tn.func.stack_module_state([nn.Linear(2, 3) for _ in range(4)])
        >>> parameters["weight"].shape
        tenon.Size([4, 3, 2])
    """
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")

    def stacked(states: list[dict[str, Tensor]], leaf: bool) -> dict[str, Tensor]:
        result = {}
        for name in states[0]:
            x = _C._all["stack"]([state[name].detach() for state in states])
            result[name] = x.requires_grad_(leaf and states[0][name].requires_grad)
        return result

    parameters = stacked([dict(model.named_parameters()) for model in models], True)
    buffers = stacked([dict(model.named_buffers()) for model in models], False)
    return parameters, buffers

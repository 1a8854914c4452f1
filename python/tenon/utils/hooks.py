"""Hooks: callables in an ordered dictionary, and handles that take them away again.

A dictionary is what has `hooks[number] = hook` and `hooks.pop(number, None)`.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any


class RemovableHandle:
    """Of a hook: `remove()` takes it away; also a context manager that does so at its end."""

    _next = itertools.count()

    def __init__(self, hooks: dict[int, Any], *others: dict[int, Any]) -> None:
        self.id = next(RemovableHandle._next)
        self._hooks = (hooks, *others)

    def remove(self) -> None:
        for hooks in self._hooks:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.remove()


def add_hook(
    hooks: OrderedDict[int, Any], hook: Any, prepend: bool, *flags: dict[int, Any]
) -> RemovableHandle:
    handle = RemovableHandle(hooks, *flags)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle

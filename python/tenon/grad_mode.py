"""Whether derivatives are recorded."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from . import _C

_F = TypeVar("_F", bound=Callable[..., Any])


class _Mode:
    """A context manager that is also a decorator, of functions and of generators."""

    _enabled: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_C._set_grad_enabled(self._enabled))

    def __exit__(self, *_: object) -> None:
        _C._set_grad_enabled(self._before.pop())

    def _fresh(self) -> _Mode:
        return type(self)()

    def __call__(self, function: _F) -> _F:
        import inspect  # here, since it takes long to load

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generate(*args: Any, **kwargs: Any) -> Any:
                generator = function(*args, **kwargs)
                sent: Any = None
                while True:
                    try:
                        with self._fresh():  # not while the caller's code runs
                            item = generator.send(sent)
                    except StopIteration as stop:
                        return stop.value
                    sent = yield item

            return generate  # type: ignore[return-value]

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._fresh():
                return function(*args, **kwargs)

        return call  # type: ignore[return-value]


class no_grad(_Mode):
    """Operations inside record no derivatives. As a context manager or a decorator.

    Example::

        >>> x = tn.ones(2, requires_grad=True)
        >>> with tn.no_grad():
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    _enabled = False

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        mode = super().__new__(cls)
        if function is None:
            return mode
        mode.__init__()  # type: ignore[misc]
        return mode(function)


class enable_grad(no_grad):
    """Operations inside record derivatives, also under no_grad. As a context manager or a
    decorator.

    Example::

        >>> x = tn.ones(2, requires_grad=True)
        >>> with tn.no_grad(), tn.enable_grad():
        ...     y = x * 2
        >>> y.requires_grad
        True
    """

    _enabled = True


class sync_errors(_Mode):
    """Operations inside run at once, so that what fails only on data (an index out of bounds, an
    integer division by zero) raises at the call and not when a value is read. As a context manager
    or a decorator.

    Example::

        >>> with tn.sync_errors():
        ...     tn.arange(3) // 0
        Traceback (most recent call last):
        tenon.ZeroDivisionError: ...
    """

    def __enter__(self) -> None:
        self._before.append(_C._set_sync_errors(True))

    def __exit__(self, *_: object) -> None:
        _C._set_sync_errors(self._before.pop())


class inference_mode(_Mode):
    """no_grad under the name PyTorch gives its stricter form. As a context manager or a decorator.

    Example::

        >>> x = tn.ones(2, requires_grad=True)
        >>> with tn.inference_mode():
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self._enabled = not mode
        self._outer: list[bool] = []

    def __enter__(self) -> None:
        super().__enter__()
        self._outer.append(is_inference_mode_enabled())
        _inference.enabled = not self._enabled

    def __exit__(self, *exception: object) -> None:
        _inference.enabled = self._outer.pop()
        super().__exit__(*exception)

    def _fresh(self) -> _Mode:
        return inference_mode(not self._enabled)


_inference = threading.local()


def is_inference_mode_enabled() -> bool:
    """Whether the code runs inside of `inference_mode`.

    Example::

        >>> with tn.inference_mode():
        ...     tn.is_inference_mode_enabled()
        True
    """
    return getattr(_inference, "enabled", False)


class set_grad_enabled(_Mode):
    """Sets the mode at once; as a context manager, until it is left.

    Example::

        >>> x = tn.ones(2, requires_grad=True)
        >>> with tn.set_grad_enabled(False):
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self._enabled = mode
        self._first = _C._set_grad_enabled(mode)

    def __enter__(self) -> None:
        self._before.append(self._first)
        _C._set_grad_enabled(self._enabled)

    def _fresh(self) -> _Mode:
        _C._set_grad_enabled(self._first)  # decorating sets nothing
        return set_grad_enabled(self._enabled)

    def __call__(self, function: _F) -> _F:
        _C._set_grad_enabled(self._first)
        return super().__call__(function)

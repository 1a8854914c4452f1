"""tenon.compile: functions and modules as one unit.

Python runs on every call, unless a walk over its bytecode has proven that a call like this one does
nothing but record the same operations (see :mod:`tenon.compiler._walk`): then they are recorded, or
run, without it. ``explain()`` says which, and why.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from tenon import _C
from tenon._C import Tensor
from tenon.nn.module import Module
from tenon.tuning import autotune

from ._effects import aligned
from ._prove import Proof, Unprovable, prove
from ._report import Report

__all__ = ["CompiledFunction", "CompiledModule", "compile"]

_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
_BACKENDS = (None, "tenon", "inductor")
_MOST_SIGNATURES = 64
_MOST_PROOFS = 24
_MOST_MISSES = 16  # calls that read a boolean whose answer no proof knew
_MOST_UNPROVEN = 64  # calls after which nothing is tried any more
_MOST_CAPTURES = 64  # of calls of another kind than before; they cost more than the call


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors_in(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors_in(part)


def _signature(value: Any) -> Any:
    """What of an argument decides which operations are recorded, roughly. (Of numbers that are
    arguments themselves, see `CompiledFunction._key`.)"""
    if isinstance(value, Tensor):
        return (value.dtype, tuple(value.shape), value.requires_grad)
    if isinstance(value, (list, tuple)):
        return (type(value), tuple(_signature(part) for part in value))
    if isinstance(value, dict):
        return (dict, tuple((str(key), _signature(part)) for key, part in value.items()))
    if isinstance(value, (bool, int, float, str, type(None))):
        return (type(value), value)
    return (type(value), id(value))


class CompiledFunction(_C._CompiledBase):
    """A function that :func:`compile` marked. Called like the function.

    Example::

        >>> f = tn.compile(lambda x: x * 2)
        >>> isinstance(f, tn.CompiledFunction), f(tn.ones(2)).tolist()
        (True, [2.0, 2.0])
    """

    def __init__(self, function: Callable[..., Any], mode: str, fullgraph: bool) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._mode = mode
        self._fullgraph = fullgraph
        self._runs_at_once = mode.startswith("max-autotune")
        self._slow = self._run_tuned if self._runs_at_once else self._run
        self._report = Report(getattr(function, "__qualname__", repr(function)))
        self._signatures: dict[Any, int] = {}
        self._by_value: set[Any] = set()  # arguments, numbers whose values decided something
        self._proofs = 0
        self._captures = 0
        self._is_plain = False  # nothing is looked at any more

    def __repr__(self) -> str:
        return f"<compiled {self._function!r}>"

    # What travels is the function; calls are learned anew.
    def __reduce__(self) -> Any:
        return (CompiledFunction, (self._function, self._mode, self._fullgraph))

    def _run_tuned(self, *args: Any, **kwargs: Any) -> Any:
        """As a program of its own, tuned before its first run."""
        if not _C._is_plain():
            return self._function(*args, **kwargs)
        with autotune():
            return self._run(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """A call on which Python runs."""
        if not _C._is_plain():  # inside a transform
            return self._function(*args, **kwargs)
        if self._is_plain:
            self._report.calls += 1
            return self._call_in_unit(args, kwargs)
        try:
            key = self._key(args, kwargs)
        except RecursionError:  # data that holds itself
            return self._function(*args, **kwargs)
        seen = self._signatures.get(key, 0)
        if seen == 0 and len(self._signatures) >= _MOST_SIGNATURES:
            self._signatures.clear()
        self._signatures[key] = seen + 1
        self._report.calls += 1
        if seen > 0 and (change := self._why(args, kwargs)):
            self._report.changed = change
        if seen == 0 and self._captures < _MOST_CAPTURES:
            self._captures += 1
            return self._capture(key, args, kwargs, None)
        if seen > 0 and self._proofs < _MOST_PROOFS and self._report.may_be_proven(key, seen):
            self._proofs += 1
            if self._proofs == _MOST_PROOFS:
                self._report.give_up()
            try:
                # Where ever other booleans are read, what ran before the last was in vain.
                may_read = not self._fullgraph and self._misses < _MOST_MISSES
                proof = prove(self._function, args, kwargs, may_read)
            except Unprovable as why:
                self._report.note_unproven(why)
            else:
                return self._capture(key, args, kwargs, proof)
        if self._fullgraph:  # a value may be read on this call alone
            return self._capture(key, args, kwargs, None)
        if self._report.calls >= _MOST_UNPROVEN and not self._report.proven:
            self._is_plain = True
            self._report.give_up()
        return self._call_in_unit(args, kwargs)

    def _key(self, args: Any, kwargs: Any) -> Any:
        """The kind of a call. A number counts by its type, until its value decided something."""
        parts = []
        for place, value in (*enumerate(args), *kwargs.items()):
            is_any = type(value) in (int, float) and place not in self._by_value
            parts.append((place, type(value) if is_any else _signature(value)))
        return (*parts, _C.is_grad_enabled())

    def _call_in_unit(self, args: Any, kwargs: Any) -> Any:
        unit = _C._Unit([])
        try:
            return self._function(*args, **kwargs)
        finally:
            unit.close()

    def _capture(self, key: Any, args: Any, kwargs: Any, proof: Proof | None) -> Any:
        given = proof.given if proof else [*_tensors_in(args), *_tensors_in(kwargs)]
        parting, following = bool(proof and proof.effects), bool(proof and proof.numbers.sources)
        unit = _C._Unit(given, parting=parting, following=following)
        try:
            result = self._function(*args, **kwargs)
            results: list[Tensor] = []
            template = _template(result, given, results) if proof else None
            if not proof:
                results = list(_tensors_in(result))
            capture = unit.finish(results)
        finally:
            unit.close()
        if self._fullgraph and capture.obstacle.startswith("reads a value"):
            raise RuntimeError(
                f"{self._function.__qualname__} was compiled with fullgraph=True, but "
                f"{capture.obstacle_line} reads a value; use tenon.where in place of Python's if"
            )
        self._report.note_capture(key, capture, proof is not None)
        if proof is None:
            return result
        if capture.obstacle:
            self._report.note_unproven(Unprovable(capture.obstacle, capture.obstacle_line))
        elif (effects := aligned(proof.effects, [kind for _, kind in capture.parts])) is None:
            self._report.note_unproven(Unprovable("does what the walk didn't foresee"))
        elif template is None:
            self._report.note_unproven(
                Unprovable(f"returns a {type(result).__name__}, or holds of one", "")
            )
        else:
            if following and not capture.bind_symbols(proof.walked):
                proof.numbers.fix_all()
            numbers = proof.numbers.guards(proof.walked.symbols)
            self._by_value.update(proof.numbers.arguments_fixed())
            try:
                self._add(
                    capture,
                    proof.arguments,
                    proof.keywords,
                    proof.guards,
                    numbers,
                    proof.captured,
                    given,
                    template,
                    effects,
                )
            except RuntimeError as why:
                self._report.note_unproven(Unprovable(str(why)))
                return result
            self._report.note_proven(key, self._signatures[key] - 1)
        return result

    def explain(self) -> str:
        """What was captured, whether Python is skipped or why not, why plans were made anew, and
        the kernels that run, with what they read, write and cost."""
        return self._report.text(self._skipped)


def _template(value: Any, given: list[Tensor], results: list[Tensor]) -> tuple[Any, ...] | None:
    """How a result is made of given tensors, computed ones and constants; None: not of these."""
    if isinstance(value, Tensor):
        for i, tensor in enumerate(given):
            if tensor is value:
                return ("given", i)
        for i, tensor in enumerate(results):
            if tensor is value:
                return ("result", i)
        if type(value) is not Tensor or _C._has_attributes(value):
            return None
        results.append(value)
        return ("result", len(results) - 1)
    if value is None or type(value) in (bool, int, float, complex, str, _C.dtype, _C.Size):
        return ("constant", value)
    if type(value) in (list, tuple):
        parts = [_template(part, given, results) for part in value]
        return None if None in parts else (type(value).__name__, parts)
    if type(value) is dict:
        parts = [_template(part, given, results) for part in value.values()]
        if None in parts or any(type(key) not in (str, int) for key in value):
            return None
        return ("dict", parts, list(value))
    return None


class CompiledModule(Module):
    """A module that :func:`compile` marked: the module's parameters and attributes, and a compiled
    call.

    Example::

        >>> f = tn.compile(nn.Linear(2, 3))
        >>> isinstance(f, tn.CompiledModule), f(tn.ones(1, 2)).shape
        (True, tenon.Size([1, 3]))
    """

    def __init__(self, module: Module, mode: str, fullgraph: bool) -> None:
        super().__init__()
        self._orig_mod = module
        call = CompiledFunction(module.__call__, mode, fullgraph)
        call._report.name = type(module).__name__
        object.__setattr__(self, "forward", call)
        self.training = module.training

    def __getattr__(self, name: str) -> Any:
        if name == "_orig_mod":
            return self.__dict__["_modules"]["_orig_mod"]
        return getattr(self._orig_mod, name)

    def train(self, mode: bool = True) -> CompiledModule:
        super().train(mode)
        return self

    def explain(self) -> str:
        """As :meth:`CompiledFunction.explain`."""
        return str(self.__dict__["forward"].explain())


def _check_options(
    mode: str | None,
    fullgraph: bool,
    dynamic: bool | None,
    backend: Any,
    options: dict[str, Any] | None,
) -> str:
    if mode is not None and mode not in _MODES:
        raise RuntimeError(f"Unrecognized mode={mode}, should be one of: {', '.join(_MODES)}")
    if mode is not None and options is not None:
        raise RuntimeError("Either mode or options can be specified, but both can't be specified")
    if not isinstance(fullgraph, bool) or not (dynamic is None or isinstance(dynamic, bool)):
        raise TypeError("compile: fullgraph must be a bool, dynamic a bool or None")
    if backend not in _BACKENDS:
        raise RuntimeError(
            f"Invalid backend: {backend!r}. Tenon has one compiler: leave out backend, or pass "
            "'tenon'"
        )
    if options:
        raise RuntimeError(f"Unexpected optimization option {next(iter(options))}")
    return mode or "default"


def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = None,
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """Marks a function or a module as one unit: what a call records is neither cut by caps nor at
    the period of a loop, and ``explain()`` reports on it. Also a decorator, with or without
    arguments.

    Python runs on every call, so nothing that it means changes. It is skipped only where a walk
    over the bytecode proves that the call does nothing but record the same operations: all that it
    reads (arguments, globals, closures, attributes, modes) is checked on each call, by identity or
    value, tensors by dtype, sizes, strides and requires_grad. Numbers that only meet tensors in
    arithmetic may be others on each call. A boolean that is read (``if (x > 0).any()``) leads on
    to what followed that answer before. With CPython 3.11; others run Python always.

    Sizes are always arguments of what is compiled, so `dynamic` changes nothing. `fullgraph` raises
    where the function reads a tensor's value. `disable` returns the function as it is.
    ``mode="max-autotune"`` runs each call as a program of its own, whose kernels are tuned before
    its first run (see :mod:`tenon.tuning`); its derivatives are tuned inside ``tuning.autotune()``.

    Errors: RuntimeError for another mode, backend or option; with fullgraph, for a value that is
    read; TypeError for something that can't be called.

    See `torch.compile`.

    Example::

        >>> @tn.compile
        ... def scaled(x, y):
        ...     return (x * y).sum()
        >>> [scaled(tn.ones(3), tn.ones(3)).item() for _ in range(4)]
        [3.0, 3.0, 3.0, 3.0]
        >>> "Python is skipped" in scaled.explain()
        True
    """
    chosen = _check_options(mode, fullgraph, dynamic, backend, options)

    def mark(target: Any) -> Any:
        if disable or isinstance(target, (CompiledFunction, CompiledModule)):
            return target
        if isinstance(target, Module):
            return CompiledModule(target, chosen, fullgraph)
        if not callable(target) or isinstance(target, type):
            raise TypeError(f"compile: a {type(target).__name__} is no function or module")
        return CompiledFunction(target, chosen, fullgraph)

    return mark if model is None else mark(model)

"""Looking at the JIT, and telling it how to run.

Example::

    >>> import tenon as tn
    >>> x = tn.ones(4)
    >>> tn.jit.reset()
    >>> (x * 2 + 1).sum().item()
    12.0
    >>> tn.jit.counters()["programs"] >= 1
    True
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tenon import _C

__all__ = [
    "counters",
    "disable",
    "disabled",
    "explain",
    "get_mode",
    "last_run",
    "memory_stats",
    "optimizations",
    "profile",
    "reset",
    "reset_peak_memory_stats",
    "set_mode",
    "table",
]

_start: dict[str, int] = {}


def set_mode(mode: str) -> None:
    """How programs run: "fused" (the default), "unfused" (each operation a kernel of its own) or
    "interpret" (kernels walked by the loop IR's interpreter). The results are equal bit for bit.

    Errors: ValueError for another mode.

    Example::

        >>> before = tn.jit.get_mode()
        >>> tn.jit.set_mode("interpret")
        >>> (tn.ones(3) + 1).tolist()
        [2.0, 2.0, 2.0]
        >>> tn.jit.set_mode(before)
    """
    if mode not in ("fused", "unfused", "interpret"):
        raise ValueError(f"mode must be 'fused', 'unfused' or 'interpret', not {mode!r}")
    _C._jit.set_mode(getattr(_C._jit.Mode, mode))


def get_mode() -> str:
    """The mode set by :func:`set_mode`, or by the environment's ``TENON_JIT``.

    Example::

        >>> tn.jit.get_mode() in ("fused", "unfused", "interpret")
        True
    """
    return str(_C._jit.mode().name)


def optimizations() -> dict[str, str]:
    """The optimizations that :func:`disable` and the environment's ``TENON_DISABLE`` can switch
    off, by name, with what they do. None changes a bit of a result.

    Example::

        >>> tn.jit.optimizations()["share_kernels"]
        'equal kernels are compiled once'
    """
    return dict(_C._jit.optimizations())


def disabled() -> list[str]:
    """The optimizations that are switched off.

    Example::

        >>> with tn.jit.disable("cse", "unroll"):
        ...     tn.jit.disabled()
        ['cse', 'unroll']
    """
    return list(_C._jit.disabled())


@contextlib.contextmanager
def disable(*names: str) -> Iterator[None]:
    """Switches optimizations off for the whole process, besides those that are off already, and on
    again on exit. Results are equal bit for bit.

    Errors: ValueError for a name that is not among :func:`optimizations`.

    Example::

        >>> with tn.jit.disable("fuse_maps", "recompute"):
        ...     (tn.ones(3) * 2 + 1).tolist()
        [3.0, 3.0, 3.0]
    """
    before = disabled()
    _C._jit.set_disabled([*before, *names])
    try:
        yield
    finally:
        _C._jit.set_disabled(before)


def counters() -> dict[str, int]:
    """What was made and run since :func:`reset`: programs run, plans made, different kernels, how
    many of those the compiler made and how many came from the disk, launches, library calls and
    primitives, segments that repeated an earlier one (``segments_matched``) or did not, and steps
    that had run when their program was complete (``early_steps``).

    Example::

        >>> tn.flush()
        >>> tn.jit.reset()
        >>> (tn.ones(4) * 2 + 1).sum().item()
        12.0
        >>> tn.jit.counters()["programs"]
        1
    """
    return {name: n - _start.get(name, 0) for name, n in _C._jit.counters().items()}


def reset() -> None:
    """Counts from here.

    Example::

        >>> tn.jit.reset()
        >>> tn.jit.counters()["programs"]
        0
    """
    _start.update(_C._jit.counters())


def last_run() -> list[dict[str, Any]]:
    """The steps of the last program this thread ran inside :func:`profile`: ``name``, ``seconds``,
    ``bytes`` read and written, arithmetic ``operations``, and the ``lines`` they came from.

    Example::

        >>> with tn.jit.profile():
        ...     total = tn.ones(4).exp().sum().item()
        >>> sorted(tn.jit.last_run()[0])
        ['bytes', 'lines', 'name', 'operations', 'seconds']
    """
    return list(_C._jit.last_run())


@contextlib.contextmanager
def profile() -> Iterator[None]:
    """Times the steps of the programs run inside, in seconds; see :func:`last_run` and
    :func:`table`.

    Example::

        >>> with tn.jit.profile():
        ...     total = tn.ones(1000).exp().sum().item()
        >>> sum(step["seconds"] for step in tn.jit.last_run()) > 0
        True
    """
    before = _C._jit.is_profiling()
    _C._jit.set_profiling(True)
    try:
        yield
    finally:
        _C._jit.set_profiling(before)


def table(limit: int = 30) -> str:
    """The steps of :func:`last_run` as text, the most expensive first, with microseconds, shares of
    the time and GB/s; at most `limit` of them.

    Example::

        >>> with tn.jit.profile():
        ...     total = tn.ones(1000).exp().sum().item()
        >>> tn.jit.table().split("\\n")[0].split()
        ['us', 'share', 'GB/s', 'step']
    """
    steps = sorted(last_run(), key=lambda step: -step["seconds"])
    total = sum(step["seconds"] for step in steps) or 1.0
    lines = [f"{'us':>9} {'share':>6} {'GB/s':>7}  step"]
    for step in steps[:limit]:
        seconds = step["seconds"]
        rate = step["bytes"] / seconds / 1e9 if seconds > 0 else 0.0
        where = ", ".join(step["lines"][:3])
        lines.append(
            f"{seconds * 1e6:9.1f} {seconds / total:6.1%} {rate:7.1f}  {step['name']}  {where}"
        )
    lines.append(f"{total * 1e6:9.1f} us in {len(steps)} steps")
    return "\n".join(lines)


def explain(function: Callable[..., Any] | None = None) -> Any:
    """Without a function: what would run if the pending operations were flushed now: the simplified
    graph, its groups and why they end where they do, kernels and buffers. Empty when nothing is
    pending.

    With a function: another, ``explain(f)(*args)``, which calls it and gives a text of what it
    recorded, the steps that compute its result, with what each reads, writes and costs, and for
    each step why it is no part of an earlier one.

    Errors: ValueError where the function returns no tensors; RuntimeError where it reads a value
    while it runs, which ends what can be explained at once.

    Example::

        >>> x = tn.ones(4).exp().sum()
        >>> "exp" in tn.jit.explain()
        True
        >>> text = tn.explain(lambda x: (x @ x).relu().sum())(tn.ones(8, 8))
        >>> "apart: not in matmul: a kernel of its own kind" in text
        True
    """
    if function is None:
        return str(_C._jit.explain_pending())
    called: Callable[..., Any] = function

    def explained(*args: Any, **kwargs: Any) -> str:
        from .bisect import capture_of
        from .compiler._report import kernel_lines

        capture, _ = capture_of("explain", called, args, kwargs)
        nodes = [f"  {line}" for line in str(capture).strip().split("\n")]
        return "\n".join([*nodes, "runs", *kernel_lines(capture)])

    return explained


def memory_stats() -> dict[str, int]:
    """The allocator's bytes: allocated, peak, reserved, peak_reserved and budget, and its counts of
    calls.

    Example::

        >>> stats = tn.jit.memory_stats()
        >>> 0 <= stats["allocated"] <= stats["peak"]
        True
    """
    return dict(_C._jit.memory())


def reset_peak_memory_stats() -> None:
    """Peaks count from here.

    Example::

        >>> tn.jit.reset_peak_memory_stats()
        >>> stats = tn.jit.memory_stats()
        >>> stats["peak"] == stats["allocated"]
        True
    """
    _C._jit.reset_peak()

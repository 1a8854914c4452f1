"""Where time goes: kernels, flushes, plans and compilations, with the lines they come from.

Example::

    >>> from tenon.profiler import profile
    >>> x = tn.ones(1000)
    >>> with profile() as prof:
    ...     y = x.exp().sum().item()
    >>> "full_reduce" in prof.table()
    True
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenon import _C

__all__ = ["Event", "Limits", "Row", "limits_of_machine", "measure_limits", "profile"]

_RAN = ("kernel", "library")


@dataclass(frozen=True)
class Limits:
    """What the machine can do at most: bytes a second to and from memory, and arithmetic operations
    a second in float32.

    Example::

        >>> tn.profiler.Limits(1e9, 1e11).share(nbytes=5e8, operations=0, seconds=1.0)
        0.5
    """

    bytes_per_second: float
    operations_per_second: float

    def share(self, nbytes: float, operations: float, seconds: float) -> float:
        """How much of the nearer limit something of that size reached."""
        if seconds <= 0:
            return 0.0
        return max(
            nbytes / seconds / self.bytes_per_second,
            operations / seconds / self.operations_per_second,
        )


@dataclass(frozen=True)
class Event:
    """Something that took time: its kind ("kernel", "library", "flush", "record", "plan",
    "compile"), nanoseconds from the profile's begin, thread, and what it moved and computed.

    Example::

        >>> with tn.profiler.profile() as prof:
        ...     y = tn.ones(8).exp().sum().item()
        >>> all(event.seconds >= 0 for event in prof.events)
        True
    """

    kind: str
    name: str
    begin: int
    end: int
    thread: int
    bytes: int
    operations: int
    lines: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return (self.end - self.begin) * 1e-9


@dataclass
class Row:
    """All events of a kind and name together.

    Example::

        >>> with tn.profiler.profile() as prof:
        ...     y = tn.ones(8).exp().sum().item()
        >>> all(row.count > 0 for row in prof.key_averages())
        True
    """

    kind: str
    name: str
    count: int = 0
    seconds: float = 0.0
    bytes: int = 0
    operations: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, event: Event) -> None:
        self.count += 1
        self.seconds += event.seconds
        self.bytes += event.bytes
        self.operations += event.operations
        self.lines += [line for line in event.lines if line not in self.lines]


_SORTS = {
    "time": lambda row: -row.seconds,
    "count": lambda row: -row.count,
    "bytes": lambda row: -row.bytes,
    "operations": lambda row: -row.operations,
    "name": lambda row: row.name,
}


class Averages(Sequence[Row]):
    """Rows by kind and name, the slowest first."""

    def __init__(self, rows: list[Row], limits: Limits | None) -> None:
        self._rows = rows
        self._limits = limits

    def __getitem__(self, at: Any) -> Any:
        return self._rows[at]

    def __len__(self) -> int:
        return len(self._rows)

    def table(self, sort_by: str = "time", row_limit: int = 30) -> str:
        """The rows as text: time, calls, bytes and operations a second, and the share of the
        machine's limit that was reached, where it is known (see :func:`measure_limits`).

        Errors: ValueError for another `sort_by` than time, count, bytes, operations, name.
        """
        if sort_by not in _SORTS:
            raise ValueError(f"sort_by must be one of {', '.join(_SORTS)}, not {sort_by!r}")
        total = sum(row.seconds for row in self._rows if row.kind in _RAN) or 1.0
        head = f"{'us':>11} {'share':>6} {'calls':>6} {'GB/s':>7} {'Gop/s':>7} {'limit':>6}"
        lines = [f"{head}  what"]
        for row in sorted(self._rows, key=_SORTS[sort_by])[:row_limit]:  # type: ignore[arg-type]
            ran = row.kind in _RAN
            seconds = row.seconds or 1e-12
            limit = "-"
            if ran and self._limits:
                limit = f"{self._limits.share(row.bytes, row.operations, seconds):.0%}"
            lines.append(
                f"{row.seconds * 1e6:11.1f} {f'{row.seconds / total:.1%}' if ran else '-':>6} "
                f"{row.count:6d} {row.bytes / seconds / 1e9:7.1f} "
                f"{row.operations / seconds / 1e9:7.1f} {limit:>6}  "
                f"{row.name if ran else f'[{row.kind}] {row.name}'}  {', '.join(row.lines[:3])}"
            )
        ran_in = sum(row.seconds for row in self._rows if row.kind in _RAN)
        lines.append(f"{ran_in * 1e6:11.1f} us in kernels and library calls")
        return "\n".join(lines)


class profile:
    """A context manager that records what runs inside, on all threads; what is still pending at its
    end runs there, so that it is seen. One at a time.

    `limits` are the machine's (see :class:`Limits`); left out, those that
    :func:`measure_limits` has once found for this machine.

    Errors: RuntimeError where another profile is open.

    Example::

        >>> with tn.profiler.profile() as prof:
        ...     y = (tn.ones(64, 64) @ tn.ones(64, 64)).sum().item()
        >>> any(event.name == "matmul" for event in prof.events)
        True
    """

    _open: profile | None = None

    def __init__(self, *, limits: Limits | None = None) -> None:
        self.limits = limits or limits_of_machine()
        self.events: list[Event] = []
        self.seconds = 0.0

    def __enter__(self) -> profile:
        if profile._open is not None:
            raise RuntimeError("profile: another profile is open")
        _C.flush()
        profile._open = self
        _C._start_profile()
        self._begin = _C._events_begin()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                _C.flush()
        finally:
            profile._open = None
            self.seconds = (_C._event_clock() - self._begin) * 1e-9
            self.events = [
                Event(
                    event["kind"],
                    event["name"],
                    event["begin"] - self._begin,
                    event["end"] - self._begin,
                    event["thread"],
                    event["bytes"],
                    event["operations"],
                    tuple(event["lines"]),
                )
                for event in _C._stop_profile()
            ]

    def key_averages(self) -> Averages:
        """Events of one kind and name together."""
        rows: dict[tuple[str, str], Row] = {}
        for event in self.events:
            name = "record" if event.kind == "record" else event.name
            rows.setdefault((event.kind, name), Row(event.kind, name)).add(event)
        return Averages(sorted(rows.values(), key=lambda row: -row.seconds), self.limits)

    def table(self, sort_by: str = "time", row_limit: int = 30) -> str:
        """:meth:`Averages.table` of :meth:`key_averages`."""
        return self.key_averages().table(sort_by, row_limit)

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Writes the events as JSON that chrome://tracing and https://ui.perfetto.dev read: a row a
        thread, and in each event the lines, bytes, operations and share of the machine's limit."""
        process = os.getpid()
        main = _main_thread()
        out: list[dict[str, Any]] = [
            {
                "ph": "M",
                "pid": process,
                "tid": 0,
                "name": "process_name",
                "args": {"name": Path(sys.argv[0] or "python").name},
            }
        ]
        for thread in sorted({event.thread for event in self.events}):
            name = "main thread" if thread == main else f"thread {thread}"
            out.append(
                {
                    "ph": "M",
                    "pid": process,
                    "tid": thread,
                    "name": "thread_name",
                    "args": {"name": name},
                }
            )
        for event in sorted(self.events, key=lambda event: (event.begin, -event.end)):
            args: dict[str, Any] = {"lines": list(event.lines)}
            if event.kind in _RAN:
                args |= {"bytes": event.bytes, "operations": event.operations}
                if self.limits:
                    share = self.limits.share(event.bytes, event.operations, event.seconds)
                    args["share of the machine's limit"] = round(share, 4)
            out.append(
                {
                    "ph": "X",
                    "pid": process,
                    "tid": event.thread,
                    "cat": event.kind,
                    "name": event.name,
                    "ts": event.begin / 1000,
                    "dur": max(event.end - event.begin, 1) / 1000,
                    "args": args,
                }
            )
        Path(path).write_text(json.dumps({"traceEvents": out, "displayTimeUnit": "ms"}))


def _main_thread() -> int:
    import threading

    return threading.main_thread().native_id or 0


# ---- the machine's limits ------------------------------------------------------------------------


def _limits_file() -> Path:
    if base := os.environ.get("TENON_CACHE_DIR"):
        return Path(base) / "machine_limits.json"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tenon" / "machine_limits.json"


def _machine() -> str:
    model = platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{model}, {_C.get_num_threads()} threads"


def limits_of_machine() -> Limits | None:
    """What :func:`measure_limits` found for this machine and number of threads; None before it ran.

    Example::

        >>> limits = tn.profiler.limits_of_machine()
        >>> limits is None or limits.bytes_per_second > 0
        True
    """
    try:
        known = json.loads(_limits_file().read_text())[_machine()]
        return Limits(float(known["bytes_per_second"]), float(known["operations_per_second"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def measure_limits(megabytes: int = 256, size: int = 1536, keep: bool = True) -> Limits:
    """Measures the machine's limits in about a second and, with `keep`, notes them beside the cache
    of kernels: bytes a second of scaling `megabytes` of float32, operations a second of a matrix
    product of that size. The same as the command ``python -m tenon.profiler``.

    Example::

        >>> limits = tn.profiler.measure_limits(megabytes=1, size=64, keep=False)
        >>> limits.operations_per_second > 0
        True
    """
    import tenon as tn

    x = tn.ones(megabytes * 262144)
    a = tn.ones(size, size)
    tn.eval(x, a)
    best_bytes = best_operations = 0.0
    for _ in range(5):
        with profile(limits=Limits(1.0, 1.0)) as prof:
            tn.eval(x * 2.0)
            tn.eval(a @ a)
        for event in prof.events:
            if event.kind == "kernel" and event.seconds > 0:
                best_bytes = max(best_bytes, event.bytes / event.seconds)
            if event.kind == "library" and event.seconds > 0:
                best_operations = max(best_operations, event.operations / event.seconds)
    limits = Limits(best_bytes, best_operations or 1.0)
    if not keep:
        return limits
    file = _limits_file()
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        known = {}
    known[_machine()] = {
        "bytes_per_second": limits.bytes_per_second,
        "operations_per_second": limits.operations_per_second,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(known, indent=1))
    temporary.replace(file)
    return limits


if __name__ == "__main__":
    found = measure_limits()
    print(
        f"{_machine()}: {found.bytes_per_second / 1e9:.1f} GB/s, "
        f"{found.operations_per_second / 1e9:.0f} Gop/s"
    )

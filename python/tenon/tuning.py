"""The autotuner: choices that keep every bit, measured on the real arguments, kept on disk.

``python -m tenon.tuning`` prints what was tuned on this machine; ``--clear`` forgets it.

Example::

    >>> import tenon as tn
    >>> x = tn.ones(64, 64)
    >>> with tn.tuning.autotune(seconds=0.2):
    ...     total = (x.softmax(-1) * 64).sum().item()
    >>> total
    4096.0
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import Any

from tenon import _C

__all__ = ["autotune", "clear", "results", "table"]


@contextlib.contextmanager
def autotune(seconds: float | None = None) -> Iterator[None]:
    """Tunes the programs that this thread runs inside before their first run, each for at most
    about `seconds` (the environment's ``TENON_AUTOTUNE_SECONDS``, or 5); what is known already,
    from an earlier process too, is used as it is. 0: none. ``TENON_AUTOTUNE=1`` tunes all threads
    of a process.

    Errors: ValueError for a negative number.

    Example::

        >>> with tn.tuning.autotune(seconds=0.1):
        ...     tn.ones(1000).exp().sum().item() > 2718
        True
    """
    if seconds is None:
        seconds = float(_C._jit.usual_tuning_seconds())
    if not seconds >= 0:
        raise ValueError(f"autotune: seconds must not be negative, but is {seconds}")
    _C.flush()  # what was recorded before is no part of it
    before = _C._jit.set_tuning_seconds(seconds)
    try:
        yield
        _C.flush()
    finally:
        _C._jit.set_tuning_seconds(before)


def results() -> list[dict[str, Any]]:
    """What was tuned on this machine by this version, slowest first: the dearest ``steps``, the
    ``sizes`` of the largest value, ``threads``, seconds of a run ``before`` (by default) and
    ``after``, the ``choices`` made, and how many ``trials`` were measured in how many ``seconds``.

    Example::

        >>> with tn.tuning.autotune(seconds=0.1):
        ...     total = tn.ones(1000).exp().sum().item()
        >>> sorted(tn.tuning.results()[0])
        ['after', 'before', 'choices', 'seconds', 'sizes', 'steps', 'threads', 'trials']
    """
    return list(_C._jit.tuned())


def table() -> str:
    """:func:`results` as text.

    Example::

        >>> tn.tuning.table().split("\\n")[0].split()
        ['before', 'us', 'after', 'us', 'trials', 'threads', 'program']
    """
    lines = [f"{'before us':>11} {'after us':>11} {'trials':>7} {'threads':>8}  program"]
    for entry in results():
        lines.append(
            f"{entry['before'] * 1e6:11.1f} {entry['after'] * 1e6:11.1f} {entry['trials']:7} "
            f"{entry['threads']:8}  {entry['steps']}, {entry['sizes']}: {entry['choices']}"
        )
    return "\n".join(lines)


def clear() -> None:
    """Forgets what was tuned, on disk too. Plans that were made keep their choices.

    Example::

        >>> tn.tuning.clear()
        >>> tn.tuning.results()
        []
    """
    _C._jit.clear_tuned(True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tenon.tuning", description=__doc__)
    parser.add_argument("--clear", action="store_true", help="forget what was tuned")
    if parser.parse_args().clear:
        clear()
    print(table())


if __name__ == "__main__":
    main()

"""A progress bar: share done, loss, tokens a second and the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Redraws one line of a terminal; writes a line now and then where there is none."""

    def __init__(self, steps: int, tokens_a_step: int) -> None:
        self.steps = steps
        self.tokens_a_step = tokens_a_step
        self.begin = time.perf_counter()
        self.live = sys.stderr.isatty()
        self.shown = 0.0
        self.last = (self.begin, 0)

    def show(self, step: int, loss: float) -> None:
        now = time.perf_counter()
        if not self.live and step < self.steps and now - self.shown < 10:
            return
        since, earlier = self.last
        rate = (step - earlier) * self.tokens_a_step / max(now - since, 1e-9)
        self.last, self.shown = (now, step), now
        left = (now - self.begin) / step * (self.steps - step)
        filled = 24 * step // self.steps
        line = (
            f"{'█' * filled}{'░' * (24 - filled)} {step}/{self.steps}  loss {loss:.3f}  "
            f"{rate:,.0f} tokens/s  {left:.0f} s left"
        )
        print(
            f"\r{line:<100}" if self.live else line, end="" if self.live else "\n", file=sys.stderr
        )
        sys.stderr.flush()

    def note(self, line: str) -> None:
        """A line of its own that stays."""
        print(f"\r{line:<100}" if self.live else line, file=sys.stderr)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent inside counts neither for the rate nor for what is left."""
        since = time.perf_counter()
        yield
        away = time.perf_counter() - since
        self.begin += away
        self.last = (self.last[0] + away, self.last[1])

    def close(self) -> None:
        if self.live:
            print(file=sys.stderr)

"""What explain() says."""

from __future__ import annotations

from typing import Any

_MOST_CAPTURES = 8


def kernel_lines(capture: Any) -> list[str]:
    """The steps of a capture's plan, each with what it reads, writes and costs."""
    lines = []
    steps = capture.steps()
    for step in steps:
        lines.append(
            f"  {step['name']}: {step['bytes']:,} bytes, {step['operations']:,} operations"
        )
        if step["lines"]:
            lines.append("    from " + ", ".join(step["lines"][:6]))
        lines.append("    reads " + ("; ".join(step["reads"]) or "nothing"))
        lines.append("    writes " + ("; ".join(step["writes"]) or "nothing"))
        if step["apart"]:
            lines.append(f"    apart: {step['apart']}")
    total = sum(step["bytes"] for step in steps)
    lines.append(
        f"  {len(steps)} steps, {total:,} bytes moved, {capture.peak_bytes():,} bytes of memory "
        "for temporaries and results"
    )
    return lines


def _indented(text: str) -> list[str]:
    text = text.strip()
    return ["  " + line for line in text.split("\n")] if text else []


def _is_same_call(capture: Any, known: Any) -> bool:
    """Whether a capture is that of an unproven call, proven now."""
    if capture.parts:
        kinds = [[kind for _, kind in c.parts] for c in (capture, known)]
        return not known.parts or kinds[0] == kinds[1]
    return not capture.difference_from(known)


class Report:
    """What happened to the calls of one compiled function."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0  # on which Python ran
        self.captures: list[Any] = []
        self.differences: list[str] = []
        self.unproven: str = ""
        self.proven = 0
        self.changed = ""  # what a proof of before no longer holds for
        self.given_up = False
        self._next_tries: dict[Any, int] = {}
        self._places: dict[Any, int] = {}

    def note_capture(self, key: Any, capture: Any, proven: bool) -> None:
        if proven and key in self._places:  # the same operations, now with all that they read
            number = self._places[key]
            if number < len(self.captures) and _is_same_call(capture, self.captures[number]):
                self.captures[number] = capture
                return
        elif key in self._places:
            return
        difference = ""
        if self.captures:
            # The nearest: the one whose difference is none, or else the last.
            for known in reversed(self.captures):
                difference = capture.difference_from(known)
                if not difference:
                    break
        if len(self.captures) == _MOST_CAPTURES:
            del self.captures[0], self.differences[0]
            self._places = {key: at - 1 for key, at in self._places.items() if at > 0}
        self._places[key] = len(self.captures)
        self.captures.append(capture)
        self.differences.append(difference)

    def may_be_proven(self, key: Any, seen: int) -> bool:
        """Whether to try on the call after `seen` of its kind: ever more seldom where it failed,
        since what the function reads may have changed (a module's mode, a hook)."""
        if self.given_up or seen < self._next_tries.get(key, 1):
            return False
        self._next_tries[key] = 4 * seen + 1
        return True

    def note_unproven(self, why: Any) -> None:
        self.unproven = str(why)

    def note_proven(self, key: Any, seen: int) -> None:
        self._next_tries[key] = seen + 2  # soon, should the proof no longer hold
        self.proven += 1
        self.unproven = ""

    def give_up(self) -> None:
        self.given_up = True

    def text(self, skipped: int) -> str:
        lines = [f"{self.name}: {self.calls + skipped} calls, Python ran on {self.calls} of them"]
        if self.proven:
            lines.append(f"Python is skipped: {self.proven} proofs stand for {skipped} calls")
        if self.changed:
            lines.append(f"a proof no longer held: {self.changed}")
        if self.given_up:
            lines.append("no more proofs are tried, since none held for long")
        if self.unproven:
            lines.append(f"Python is not skipped: {self.unproven}")
        if not self.proven and not self.unproven and self.calls:
            lines.append("Python is not skipped: no call like an earlier one has come yet")
        for number, capture in enumerate(self.captures):
            lines.append("")
            lines.append(f"captured {capture.recorded} nodes")
            if number > 0:
                difference = self.differences[number]
                lines.append(
                    f"another plan than before: {difference}"
                    if difference
                    else "the same plan as before, for other sizes"
                )
            if capture.obstacle:
                where = f" ({capture.obstacle_line})" if capture.obstacle_line else ""
                lines.append(f"what was captured is a part: it {capture.obstacle}{where}")
            for part, effect in capture.parts:
                text = str(part).strip()
                lines += _indented(text) if text != "return" else []
                lines.append(f"  then {effect}")
            text = str(capture)
            lines += _indented(text)
            if not capture.parts and "return %" in text and capture.steps():
                if number == 0 or self.differences[number]:
                    lines.append("runs")
                    lines += kernel_lines(capture)
        return "\n".join(lines)

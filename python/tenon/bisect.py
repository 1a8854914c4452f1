"""Finding the operation that is wrong: `tn.bisect(f, *args)`, or `python -m tenon.bisect STEP`.

A step is what a function recorded. Every node of it is computed again, from the values that its
operands have in the reference, in each way that there is to compute it: unfused (the reference),
fused, interpreted, and by PyTorch where that is installed. The first node that differs is named:
in bits between Tenon's own ways, beyond tolerance against PyTorch.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tenon import _C
from tenon._C import Tensor

from . import jit as _jit

__all__ = ["Finding", "Result", "load_step", "save_step"]

WAYS = ("fused", "interpret", "torch")


@dataclass(frozen=True)
class Finding:
    """The first node that one way of computing gives another value.

    Example::

        >>> print(tn.bisect.Finding("fused", 3, "float32[2] = exp %2", "model.py:7", "is 2 for 1"))
        fused: %3 at model.py:7 differs: float32[2] = exp %2; is 2 for 1
    """

    way: str
    node: int
    text: str  # of the node
    line: str  # of the user's program
    detail: str

    def __str__(self) -> str:
        where = f" at {self.line}" if self.line else ""
        return f"{self.way}: %{self.node}{where} differs: {self.text}; {self.detail}"


@dataclass(frozen=True)
class Result:
    """What :func:`bisect` found: a finding for each way that differs, and what wasn't compared.

    Example::

        >>> tn.bisect(lambda x: x * 2, tn.ones(3), ways=["fused"]).ok
        True
    """

    findings: tuple[Finding, ...]
    compared: dict[str, int]  # nodes, by way
    left_out: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.findings]
        if self.ok:
            lines = ["no node differs"]
        lines += [f"{way}: {count} nodes compared" for way, count in self.compared.items()]
        if self.left_out:
            lines.append("not compared with PyTorch: " + ", ".join(self.left_out))
        return "\n".join(lines)


def capture_of(
    who: str, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]
) -> tuple[Any, list[Tensor]]:
    """What one call records, with the tensors of its arguments."""
    from .compiler import _tensors_in

    _C.flush()
    given = [*_tensors_in(args), *_tensors_in(kwargs)]
    unit = _C._Unit(given, keeps=True)
    try:
        result = function(*args, **kwargs)
        results = list(_tensors_in(result))
        if not results:
            raise ValueError(f"{who}: the function must return the tensors that the step computes")
        capture = unit.finish(results)
    finally:
        unit.close()
    if capture.obstacle.startswith("reads a value"):
        raise RuntimeError(
            f"{who}: {capture.obstacle_line} reads a value, which ends the step; {who} the part "
            "before it"
        )
    return capture, given


def _capture(function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    capture, given = capture_of("bisect", function, args, kwargs)
    return capture.program(given)


# Every run of a program passes through here.
def _run(program: Any, nodes: Sequence[int], way: str) -> list[Tensor]:
    before = _jit.get_mode()
    _jit.set_mode(way)
    try:
        return list(program.run(list(nodes)))
    finally:
        _jit.set_mode(before)


def _differs(a: Tensor, b: Tensor) -> str:
    """How, in bits; empty: not at all."""
    left, right = _C._to_bytes(a), _C._to_bytes(b)
    if left == right:
        return ""
    width = max(len(left) // max(a.numel(), 1), 1)
    wrong = [i for i in range(a.numel()) if left[i * width :][:width] != right[i * width :][:width]]
    first = wrong[0]
    values = [x.reshape(-1)[first].item() for x in (a, b)]
    return (
        f"{len(wrong)} of {a.numel()} elements, the first, {first}, is {values[1]} for {values[0]}"
    )


def _text(node: dict[str, Any]) -> str:
    operands = ", ".join(f"%{operand}" for operand in node["operands"])
    return f"{node['type']} = {node['op']} {operands}".rstrip()


def _own_way(program: Any, nodes: list[Any], reference: dict[int, Tensor], way: str) -> Any:
    computed = [i for i, node in enumerate(nodes) if node["op"] != "input"]

    def first(values: Iterator[tuple[int, Tensor]]) -> Finding | None:
        for i, value in values:
            if detail := _differs(reference[i], value):
                return Finding(way, i, _text(nodes[i]), nodes[i]["line"], detail)
        return None

    # With every node a result first; then, since that is fused otherwise, each result alone, and
    # where one differs, each node before it alone.
    finding = first(zip(computed, _run(program, computed, way), strict=True))
    if finding or way == "interpret":
        return finding
    results = list(dict.fromkeys(i for i in program.outputs if nodes[i]["op"] != "input"))
    if results and first(zip(results, _run(program, results, way), strict=True)):
        return first((i, _run(program, [i], way)[0]) for i in computed)
    return None


def _torch_way(nodes: list[Any], reference: dict[int, Tensor]) -> tuple[Finding | None, int, set]:
    from ._torch_nodes import compute, tolerances

    count, left_out = 0, set()
    for i, node in enumerate(nodes):
        if node["op"] == "input":
            continue
        expected = compute(node, [reference[operand] for operand in node["operands"]])
        if expected is None:
            left_out.add(node["op"])
            continue
        count += 1
        detail = tolerances(expected, reference[i])
        if detail:
            return Finding("torch", i, _text(node), node["line"], detail), count, left_out
    return None, count, left_out


def bisect(function: Any, *args: Any, ways: Sequence[str] | None = None, **kwargs: Any) -> Result:
    """Computes a step in several ways and names the first node that differs in each.

    `function` is called once with the arguments and returns the tensors the step computes; or it is
    a step that :func:`load_step` read. `ways`: of "fused", "interpret", "torch"; left out: all that
    there are.

    Errors: ValueError for another way, or where nothing is returned; RuntimeError where the
    function reads a value while it runs; ImportError for "torch" without PyTorch.

    Example::

        >>> print(tn.bisect(lambda x: (x * 2).exp(), tn.ones(3), ways=["fused", "interpret"]))
        no node differs
        fused: 3 nodes compared
        interpret: 3 nodes compared
    """
    for way in ways or ():
        if way not in WAYS:
            raise ValueError(f"bisect: a way is one of {', '.join(WAYS)}, not {way!r}")
    if ways is None:
        import importlib.util

        ways = WAYS if importlib.util.find_spec("torch") else WAYS[:2]
    program = function if isinstance(function, _C._Program) else _capture(function, args, kwargs)
    nodes = program.nodes()
    computed = [i for i, node in enumerate(nodes) if node["op"] != "input"]
    reference = dict(zip(computed, _run(program, computed, "unfused"), strict=True))
    inputs = [i for i, node in enumerate(nodes) if node["op"] == "input"]
    reference.update(zip(inputs, program.inputs, strict=True))
    findings, compared = [], {}
    left_out: set[str] = set()
    for way in ways:
        if way == "torch":
            finding, compared[way], left_out = _torch_way(nodes, reference)
        else:
            finding, compared[way] = _own_way(program, nodes, reference, way), len(computed)
        if finding:
            findings.append(finding)
    return Result(tuple(findings), compared, tuple(sorted(left_out)))


def save_step(
    path: str | os.PathLike[str], function: Callable[..., Any], *args: Any, **kwargs: Any
) -> None:
    """Writes what a call records, and the tensors it reads, to one file (safetensors).

    Errors: as :func:`bisect`; OSError where the file can't be written.

    Example::

        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "step")
        >>> tn.bisect.save_step(path, lambda x: x * 2, tn.ones(3))
        >>> tn.bisect(tn.bisect.load_step(path), ways=["fused"]).ok
        True
    """
    from .serialization import save_safetensors

    program = _capture(function, args, kwargs)
    tensors = {f"input{i}": x.detach().contiguous() for i, x in enumerate(program.inputs)}
    save_safetensors(tensors, path, metadata={"step": str(program)})


def load_step(path: str | os.PathLike[str]) -> Any:
    """A step that :func:`save_step` wrote.

    Errors: ValueError for a file that holds no step; OSError for one that can't be read.

    Example::

        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "step")
        >>> tn.bisect.save_step(path, lambda x: x.exp(), tn.zeros(2))
        >>> tn.bisect.load_step(path).run()
        [tensor([1., 1.])]
    """
    import json
    import struct

    from .serialization import load_safetensors

    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        metadata = json.loads(file.read(length)).get("__metadata__", {})
    if "step" not in metadata:
        raise ValueError(f"{os.fspath(path)} holds no step: write one with tenon.bisect.save_step")
    tensors = load_safetensors(path)
    inputs = [tensors[f"input{i}"] for i in range(len(tensors))]
    return _C._parse_program(metadata["step"], inputs)


class _Callable(types.ModuleType):
    """The module is the function, too."""

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        return bisect(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable


def _main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m tenon.bisect STEP")
        return 2
    result = bisect(load_step(arguments[0]))
    print(result)
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))

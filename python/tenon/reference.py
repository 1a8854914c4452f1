"""The reference of operations: a page each, from what the spec declares, and an index by group.

    python -m tenon.reference OUT

writes OUT/index.md and OUT/<group>/<operation>.md. Each page has signature, description, shapes,
dtypes, errors, formula, source and an example, which is run as the page is written: an example that
no longer gives what it shows is an error.
"""

from __future__ import annotations

import doctest
import json
import sys
from pathlib import Path
from typing import Any

import tenon as tn

__all__ = ["PARTS", "entries", "page", "write"]

Entry = dict[str, Any]

# The headings of a page, after its title, signature and description.
PARTS = ("Shapes", "Dtypes", "Errors", "Formula", "Source", "Example")

_PYTORCH = "https://docs.pytorch.org/docs/stable"
# What other operations and layers are made of, and PyTorch has no page for.
_STEPS = {"batch_norm_layer", "gamma_shape_derivative", "im2col", "instance_norm_layer"}
_STEPS |= {"standard_gamma"}
_FLAGS = doctest.ELLIPSIS | doctest.REPORT_NDIFF


def entries() -> list[Entry]:
    """What the spec declares of each operation, in its order.

    Example::

        >>> from tenon import reference
        >>> [entry["signature"] for entry in reference.entries() if entry["key"] == "tanh"]
        ['tanh(input: Tensor) -> Tensor']
    """
    text = Path(__file__).with_name("_reference.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


def names(entry: Entry) -> list[str]:
    """How Python calls it: `tenon.tanh`, `tenon.Tensor.tanh`, ..."""
    own = entry["name"]
    candidates = [*entry["names"], own]
    in_place = f"Tensor.{own}_"  # first, where there is no function
    candidates.insert(0 if candidates[0].startswith("Tensor.") else len(candidates), in_place)
    found = [f"tenon.{name}" for name in dict.fromkeys(candidates) if _exists(name)]
    return found


def _exists(name: str) -> bool:
    found: Any = tn
    for part in name.split("."):
        found = getattr(found, part, None)
    return callable(found)


def _source(entry: Entry, called: list[str]) -> str:
    if entry["source"]:
        return str(entry["source"])
    for name in called:
        own = name.removeprefix("tenon.")
        if own.startswith("special."):
            return f"PyTorch, {_PYTORCH}/special.html#torch.{own}"
        if entry["name"] not in _STEPS:
            return f"PyTorch, {_PYTORCH}/generated/torch.{own}.html"
    return "Tenon's own: a step of other operations"


def _run(entry: Entry) -> Any:
    """The example's value. Errors: RuntimeError where it doesn't give what the spec shows."""
    scope: dict[str, Any] = {"tn": tn, "nn": tn.nn, "F": tn.nn.functional}
    scope |= {"inf": tn.inf, "nan": tn.nan}
    text = f">>> {entry['example']}\n{entry['gives']}\n"
    test = doctest.DocTestParser().get_doctest(text, scope, entry["key"], None, None)
    tn.manual_seed(0)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=_FLAGS).run(test, out=said.append, clear_globs=False)
    if result.failed or not result.attempted:
        raise RuntimeError(f"{entry['key']}: its example gives something else\n{''.join(said)}")
    try:
        return eval(entry["example"], scope)
    except SyntaxError:  # several statements
        return None


def _shapes(entry: Entry, value: Any) -> str:
    if entry["shape"]:
        return f"{entry['shape']}."
    if entry["elementwise"]:
        return (
            "Any; operands of different sizes are broadcast, and the result has their common size."
        )
    if isinstance(value, tn.Tensor):
        return f"As described above; in the example the result has size {tuple(value.shape)}."
    if isinstance(value, (tuple, list)):
        sizes = [tuple(x.shape) if isinstance(x, tn.Tensor) else type(x).__name__ for x in value]
        return f"As described above; in the example the results are {', '.join(map(str, sizes))}."
    return f"As described above; in the example the result is a {type(value).__name__}."


def page(entry: Entry) -> str:
    """The page of an operation. Errors: RuntimeError for an example that isn't true.

    Example::

        >>> from tenon import reference
        >>> (entry,) = [e for e in reference.entries() if e["key"] == "tanh"]
        >>> print(reference.page(entry).splitlines()[0])
        # tanh
    """
    called = names(entry)
    value = _run(entry)
    errors = [f"- {error}" for error in entry["errors"]]
    errors.append("- TypeError for arguments that don't fit the signature")
    parts = {
        "Shapes": _shapes(entry, value),
        "Dtypes": f"{entry['dtypes'] or 'any'}.",
        "Errors": "\n".join(errors),
        "Formula": entry["formula"],
        "Source": f"{_source(entry, called)}.",
        "Example": f"    >>> {entry['example']}\n"
        + "\n".join(f"    {line}" for line in entry["gives"].splitlines()),
    }
    lines = [f"# {entry['key']}", "", f"    {entry['signature']}", "", entry["doc"], ""]
    if called:
        lines += ["Called as " + ", ".join(f"`{name}`" for name in called) + ".", ""]
    for part in PARTS:
        lines += [f"## {part}", "", parts[part], ""]
    return "\n".join(lines)


def write(folder: Any) -> list[Path]:
    """Writes all pages and the index; gives their paths.

    Errors: RuntimeError, naming the operation, for an example that isn't true.

    Example::

        >>> import tempfile
        >>> from tenon import reference
        >>> paths = reference.write(tempfile.mkdtemp())
        >>> paths[0].name
        'index.md'
    """
    out = Path(folder)
    paths = [out / "index.md"]
    groups: dict[str, list[Entry]] = {}
    for entry in entries():
        groups.setdefault(entry["group"], []).append(entry)
    index = ["# Operations", ""]
    for group, members in groups.items():
        (out / group).mkdir(parents=True, exist_ok=True)
        index += [f"## {group.replace('_', ' ').capitalize()}", ""]
        for entry in members:
            path = out / group / f"{entry['key']}.md"
            path.write_text(page(entry), encoding="utf-8")
            paths.append(path)
            first = entry["doc"].split("\n\n")[0].replace("\n", " ")
            index.append(f"- [{entry['key']}]({group}/{entry['key']}.md): {first}")
        index.append("")
    paths[0].write_text("\n".join(index), encoding="utf-8")
    return paths


def main(arguments: list[str]) -> int:
    """Writes the pages, and says how many."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    paths = write(arguments[0])
    print(f"{len(paths) - 1} operations -> {paths[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

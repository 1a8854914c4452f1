"""spec/ops/*.toml -> the list of public operations, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .primitives import Primitive
from .signature import Parameter, Signature, SignatureError, parse_signature
from .source import Entry, read_entries

# elementwise  one primitive of the trace, by `primitive` (default: the operation's name)
# composed     `body`, in the language of body.py
# value        written by hand over Values: values::name in trace/ops/
# view         written by hand as movements: view_name in trace/ops/, shares its operand's storage
# tensor       written by hand over Tensors: tenon::name in trace/ops/
KINDS = ("elementwise", "composed", "value", "view", "tensor")
PROMOTIONS = ("none", "common", "float")
# The dtypes an operation takes: any, all but bool, floating ones. Where none of the operands (or of
# those that `taken` names) has one of them, it raises `refusal`; with `each`, where one hasn't.
TAKES = ("any", "numbers", "floating")
REFUSALS = ("NotImplementedError", "RuntimeError")
KEYS = {
    "signature",
    "kind",
    "primitive",
    "body",
    "promote",
    "promoted",
    "takes",
    "taken",
    "each",
    "refusal",
    "function",
    "method",
    "functional",
    "module",
    "inplace",
    "uniform",
    "self_returning",
    "alias",
    "doc",
    "shape",
    "dtypes",
    "source",
    "example",
    "gives",
    "samples",
    "domain",
    "copies",
    "reference",
    "errors",
    "fails",
    "differentiable",
    "random",
    "apart",
}
# Where the generated samples lie, and the letter of the tests' maker of such tensors.
DOMAINS = {
    "real": "F",
    "positive": "P",
    "unit": "U",  # (-1, 1)
    "above_one": "A",
    "integer": "I",
    "bool": "B",
}
MODULES = ("", "fft", "linalg", "masked", "signal_windows", "special")


@dataclass
class Operation:
    key: str  # the entry's name: "max", or "max.dim" for a further overload of max
    name: str
    topic: str
    entry: Entry
    signature: Signature
    kind: str
    primitive: str
    body: str
    promote: str
    promoted: tuple[str, ...]
    takes: str
    taken: tuple[str, ...]
    each: bool
    refusal: str
    function: bool
    method: bool
    functional: bool
    module: str
    inplace: bool
    uniform: bool  # in place, it writes one number everywhere
    self_returning: bool
    aliases: tuple[str, ...]
    doc: str
    shape: str
    dtypes: str  # "": as the promotion has it
    source: str  # paper or standard
    example: str  # one expression, run as a test
    gives: str  # how Python shows its value
    samples: tuple[str, ...]
    domain: str
    copies: bool
    reference: str
    errors: tuple[dict[str, Any], ...]
    fails: str
    differentiable: bool
    random: bool
    apart: bool  # what `out=` receives may not share memory with an operand

    @property
    def refused_errors(self) -> list[dict[str, Any]]:
        """What `takes` declares, as an entry of `errors`: the first sample in a refused dtype."""
        if self.takes == "any":
            return []
        letter, when = {
            "numbers": ("B", "for bools"),
            "floating": ("I", "for integers and bools"),
        }[self.takes]
        arguments = re.sub(r"\b[FPQUA]\(", f"{letter}(", self.sample_calls[0])
        return [{"call": f"{self.name}({arguments})", "raises": self.refusal, "when": when}]

    @property
    def sample_calls(self) -> list[str]:
        """The arguments of calls that work: those declared, or made of the signature."""
        if "samples" in self.entry.values:
            return list(self.samples)
        required = [p for p in self.signature.parameters if p.required]
        tensors = [p for p in required if p.type.is_value]
        if len(tensors) != len(required) or not tensors:
            return []
        letter = DOMAINS[self.domain]
        shapes = ["(3, 4)", "(4)", "(3, 1)"]
        first = ", ".join(f"{letter}{shape}" for shape in shapes[: len(tensors)])
        scalars = ", ".join(f"{letter}()" for _ in tensors)
        empty = ", ".join(f"{letter}(0, 4)" for _ in tensors)
        return [first, scalars, empty]

    @property
    def has_value_level(self) -> bool:
        return self.kind != "tensor"

    @property
    def cpp_name(self) -> str:
        return cpp_name(self.name)

    @property
    def parameters(self) -> list[Parameter]:
        """What C++ sees, in its order: those without a default first."""
        known = [p for p in self.signature.parameters if p.type.base != "ignored"]
        first = [p for p in known if p.required or p.variadic]
        return first + [p for p in known if not (p.required or p.variadic)]

    @property
    def value_parameters(self) -> list[Parameter]:
        """What the function over Values takes."""
        return [p for p in self.parameters if p.name != "requires_grad"]


_CPP_WORDS = {"and", "or", "xor", "not", "float", "double", "int", "bool", "long", "short", "char"}


def cpp_name(name: str) -> str:
    return name + "_" if name in _CPP_WORDS else name


def _strings(entry: Entry, key: str) -> tuple[str, ...]:
    values = entry.get(key, list, [])
    if not all(isinstance(value, str) for value in values):
        raise entry.error("expected a list of strings", key)
    return tuple(values)


def _read(entry: Entry, topic: str, primitives: dict[str, Primitive]) -> Operation:
    entry.allow(KEYS)
    text = entry.require("signature", str)
    try:
        signature = parse_signature(text)
    except SignatureError as error:
        raise entry.error(str(error), "signature") from None
    name = entry.name.split(".")[0]
    if signature.name != name:
        raise entry.error(
            f"the entry is called '{name}', its signature '{signature.name}'", "signature"
        )
    kind = entry.choose("kind", KINDS, "composed")
    body = entry.get("body", str, "")
    if (kind == "composed") != bool(body):
        raise entry.error("composed operations have a body, and no others", "body" if body else "")
    primitive = entry.get("primitive", str, name if kind == "elementwise" else "")
    if kind == "elementwise":
        found = primitives.get(primitive)
        if found is None or found.kind != "elementwise":
            raise entry.error(f"'{primitive}' is no elementwise primitive", "primitive")
        tensors = [p for p in signature.parameters if p.type.is_value]
        if len(tensors) != found.operands:
            raise entry.error(
                f"{len(tensors)} tensors for the {found.operands} operands of '{primitive}'",
                "signature",
            )
    values = [p.name for p in signature.parameters if p.type.is_value]
    promoted = _strings(entry, "promoted") or tuple(values)
    for parameter in promoted:
        if parameter not in values:
            raise entry.error(f"'{parameter}' is no tensor parameter", "promoted")
    method = entry.get("method", bool, False)
    first = signature.parameters[0] if signature.parameters else None
    if method and (first is None or not first.type.is_value):
        raise entry.error("the first parameter of a method is a tensor", "method")
    takes, taken = entry.choose("takes", TAKES, "any"), _strings(entry, "taken")
    if takes != "any" and (kind not in ("elementwise", "composed") or not values):
        raise entry.error("for elementwise and composed operations on tensors", "takes")
    for key in ("taken", "each", "refusal"):
        if key in entry.values and takes == "any":
            raise entry.error("nothing is refused without 'takes'", key)
    if not set(taken) <= set(values):
        raise entry.error("expected tensor parameters", "taken")
    errors = entry.get("errors", list, [])
    for table in errors:
        if not isinstance(table, dict) or not {"call", "raises", "when"} <= set(table):
            raise entry.error("expected tables with 'call', 'raises' and 'when'", "errors")
    example, gives = entry.get("example", str, ""), entry.get("gives", str, "").strip()
    if bool(example) != bool(gives):
        raise entry.error("an example shows what it gives", "example" if example else "gives")
    return Operation(
        key=entry.name,
        name=name,
        topic=topic,
        entry=entry,
        signature=signature,
        kind=kind,
        primitive=primitive,
        body=body,
        promote=entry.choose("promote", PROMOTIONS, "none"),
        promoted=promoted,
        takes=takes,
        taken=taken,
        each=entry.get("each", bool, False),
        refusal=entry.choose("refusal", REFUSALS, "NotImplementedError"),
        function=entry.get("function", bool, True),
        method=method,
        functional=entry.get("functional", bool, False),
        module=entry.choose("module", MODULES, ""),
        inplace=entry.get("inplace", bool, False),
        uniform=entry.get("uniform", bool, False),
        self_returning=entry.get("self_returning", bool, False),
        aliases=_strings(entry, "alias"),
        doc=entry.require("doc", str),
        shape=entry.get("shape", str, ""),
        dtypes=entry.get("dtypes", str, ""),
        source=entry.get("source", str, ""),
        example=example,
        gives=gives,
        samples=_strings(entry, "samples"),
        domain=entry.choose("domain", tuple(DOMAINS), "real"),
        copies=entry.get("copies", bool, False),
        reference=entry.get("reference", str, ""),
        errors=tuple(errors),
        fails=entry.choose("fails", ("never", "call", "run"), "call"),
        differentiable=entry.get("differentiable", bool, True),
        random=entry.get("random", bool, False),
        apart=entry.get("apart", bool, False),
    )


def read_operations(paths: list[Path], primitives: list[Primitive]) -> list[Operation]:
    by_name = {p.name: p for p in primitives}
    operations: list[Operation] = []
    seen: dict[str, Entry] = {}
    for path in paths:
        for entry in read_entries(path):
            if entry.name in seen:
                first = seen[entry.name]
                raise entry.error(f"also declared in {first.file}:{first.line}")
            seen[entry.name] = entry
            operations.append(_read(entry, path.stem, by_name))
    return operations


def check_bodies(operations: list[Operation]) -> None:
    """A name that is called must be unambiguous: overloads of one name are of one topic."""
    topics: dict[str, Operation] = {}
    for o in operations:
        first = topics.setdefault(o.name, o)
        if first.topic != o.topic:
            raise o.entry.error(
                f"'{o.name}' also stands in {first.entry.file.name}; keep overloads together"
            )

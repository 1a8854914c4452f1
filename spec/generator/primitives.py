"""spec/primitives.toml -> generated/primitives.h, generated/partials.cpp."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .partials import NAMES, ExpressionError, Partial, bit_of, parse_partial
from .source import Entry, read_entries

VARIADIC = -1
ALL_OPERANDS = 0xFF
MOST_OPERANDS = 3
ELEMENTWISE = ("unary", "binary", "compare", "predicate", "select", "cast")
STRUCTURAL = (
    "source",
    "identity",
    "movement",
    "index",
    "reduction",
    "argument",
    "scan",
    "contraction",
    "convolution",
    "attention",
    "sort",
    "region",
    "complex",
    "routine",
)
KEYS = {
    "kind",
    "class",
    "operands",
    "partials",
    "holomorphic",
    "linear",
    "bilinear",
    "saves",
    "fails",
    "doc",
}
# Operations that partials may call although they are composed, not primitives.
COMPOSED = ("trigamma",)


@dataclass
class Primitive:
    name: str
    kind: str
    group: str
    operands: int
    partials: list[Partial]
    saves: list[int]
    holomorphic: bool
    linear: int
    bilinear: bool
    fallible: bool
    doc: str

    @property
    def enumerator(self) -> str:
        return _camel(self.name)


def _mask(entry: Entry, key: str, text: str, operands: int) -> int:
    if text == "all":
        return ALL_OPERANDS
    mask = 0
    known = (*NAMES[: max(operands, 0)], "out")
    for name in text.split():
        if name not in known:
            raise entry.error(f"'{name}' is none of {', '.join(known)}", key)
        mask |= 1 << bit_of(name)
    return mask


def _read(entry: Entry, functions: dict[str, str]) -> Primitive:
    entry.allow(KEYS)
    kind = entry.choose("kind", ("elementwise", "structural"))
    group = entry.choose("class", ELEMENTWISE if kind == "elementwise" else STRUCTURAL)
    count = entry.require("operands", (int, str))
    if count != "variadic" and not (isinstance(count, int) and 0 <= count <= MOST_OPERANDS):
        raise entry.error(f"expected 0 to {MOST_OPERANDS} or 'variadic'", "operands")
    operands = VARIADIC if count == "variadic" else count
    slots = 1 if operands == VARIADIC else operands

    partials: list[Partial] = []
    if kind == "elementwise" and (group != "cast" or "partials" in entry.values):
        texts = entry.require("partials", list)
        if len(texts) != operands:
            raise entry.error(f"{len(texts)} expressions for {operands} operands", "partials")
        for text in texts:
            try:
                partials.append(parse_partial(text, operands, functions))
            except ExpressionError as error:
                raise entry.error(str(error), "partials") from None
        if "saves" in entry.values:
            raise entry.error("worked out from the partials; leave it out", "saves")
        saves = [partial.reads for partial in partials]
    else:
        if "partials" in entry.values:
            raise entry.error("only elementwise primitives have partials", "partials")
        texts = entry.get("saves", list, [])
        if len(texts) != slots:
            raise entry.error(f"{len(texts)} entries for {slots} operands", "saves")
        saves = [_mask(entry, "saves", text, operands) for text in texts]

    return Primitive(
        name=entry.name,
        kind=kind,
        group=group,
        operands=operands,
        partials=partials,
        saves=saves,
        holomorphic=entry.get("holomorphic", bool, True),
        linear=_mask(entry, "linear", entry.get("linear", str, ""), operands),
        bilinear=entry.get("bilinear", bool, False),
        fallible=entry.choose("fails", ("never", "run"), "never") == "run",
        doc=entry.require("doc", str),
    )


def read_primitives(path: Path) -> list[Primitive]:
    entries = list(read_entries(path))
    functions = {name: f"ops::{name}(" for name in COMPOSED}
    functions["select"] = "ops::select("
    for entry in entries:
        count = entry.values.get("operands")
        if entry.values.get("kind") == "elementwise" and count in (1, 2):
            form = "unary" if count == 1 else "binary"
            functions.setdefault(entry.name, f"ops::{form}(Op::{_camel(entry.name)}, ")
    return [_read(entry, functions) for entry in entries]


def write_structural(primitives: list[Primitive]) -> str:
    """The list from which the tables of rules are made; see trace/rules.h."""
    head = "// Generated from spec/primitives.toml: the primitives with rules of their own.\n"
    names = [p.enumerator for p in primitives if p.kind == "structural"]
    return head + "".join(f"TENON_STRUCTURAL({name})\n" for name in names)


def _three(values: list[str], filler: str) -> str:
    return ", ".join((values + [filler] * MOST_OPERANDS)[:MOST_OPERANDS])


def _camel(word: str) -> str:
    return "".join(part.capitalize() for part in word.split("_"))


def write_header(primitives: list[Primitive]) -> str:
    enumerators = "\n".join(f"  {p.enumerator},  // {p.doc}" for p in primitives)
    kinds = ["zero", "one", "minus_one", "mask", "factor"]
    rows = []
    for p in primitives:
        saves = _three([f"{mask:#04x}" for mask in p.saves], "0")
        partials = _three(
            [f"PartialKind::{_camel(x.kind)}" for x in p.partials], "PartialKind::Zero"
        )
        flags = [p.kind == "elementwise", p.linear != 0, p.bilinear, p.holomorphic, p.fallible]
        rows.append(
            f'    {{"{p.name}", {p.operands}, PrimitiveClass::{_camel(p.group)}, '
            + ", ".join("true" if flag else "false" for flag in flags)
            + f", {p.linear:#04x}, {{{saves}}}, {{{partials}}}}},"
        )
    classes = ", ".join(_camel(c) for c in (*ELEMENTWISE, *STRUCTURAL))
    return f"""// Generated from spec/primitives.toml.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace tenon {{

struct Value;

enum class Op : uint16_t {{
{enumerators}
}};

inline constexpr int kOpCount = {len(primitives)};

enum class PrimitiveClass : uint8_t {{ {classes} }};

// How a partial derivative acts on a tangent or cotangent g: Zero drops it, One and MinusOne keep
// or negate it, Mask is select(partial, g, 0), Factor multiplies by the partial.
enum class PartialKind : uint8_t {{ {", ".join(_camel(k) for k in kinds)} }};

inline constexpr int8_t kVariadic = -1;
inline constexpr uint8_t kSavesResult = 0x80;  // bit i of a mask is operand i, this bit the result

struct PrimitiveInfo {{
  const char* name;
  int8_t operands;  // or kVariadic
  PrimitiveClass group;
  bool elementwise;
  bool linear;       // jointly linear in the operands of linear_in
  bool bilinear;     // linear in each operand alone
  bool holomorphic;  // the partials are complex derivatives
  bool fallible;     // may fail on data, when run
  uint8_t linear_in;
  uint8_t saves[{MOST_OPERANDS}];  // what the derivative for operand k reads
  PartialKind partials[{MOST_OPERANDS}];  // elementwise primitives
}};

inline constexpr std::array<PrimitiveInfo, kOpCount> kPrimitives = {{{{
{chr(10).join(rows)}
}}}};

constexpr const PrimitiveInfo& info(Op op) {{ return kPrimitives[static_cast<uint16_t>(op)]; }}
constexpr const char* name_of(Op op) {{ return info(op).name; }}
constexpr bool is_elementwise(Op op) {{ return info(op).elementwise; }}
constexpr bool is_fallible(Op op) {{ return info(op).fallible; }}

// What the derivative of `op` for operand k reads; the operands of a variadic primitive are alike.
constexpr uint8_t saves_for(Op op, int operand) {{
  return info(op).saves[info(op).operands == kVariadic ? 0 : operand];
}}
constexpr PartialKind partial_kind(Op op, int operand) {{ return info(op).partials[operand]; }}

constexpr std::optional<Op> op_from_name(std::string_view name) {{
  for (int i = 0; i < kOpCount; ++i) {{
    if (name == kPrimitives[i].name) return static_cast<Op>(i);
  }}
  return std::nullopt;
}}

// The partial derivative of an elementwise primitive for operand k, where partial_kind says Mask or
// Factor; reads of `operands` and `out` only what saves_for says.
Value partial(Op op, int operand, std::span<const Value> operands, Value out);

}}  // namespace tenon
"""


def write_partials(primitives: list[Primitive]) -> str:
    functions: list[str] = []
    cases: list[str] = []
    for p in primitives:
        for k, x in enumerate(p.partials):
            if x.kind not in ("mask", "factor"):
                continue
            names = [NAMES[i] for i in range(p.operands)]
            code = "\n".join(x.statements + [x.result])
            used = [name for name in [*names, "out"] if _uses(code, name)]
            body = [f"  const Value {n} = operands[{i}];" for i, n in enumerate(names) if n in used]
            body += [f"  {statement}" for statement in x.statements]
            operands = "operands" if any(name in used for name in names) else ""
            out = "out" if "out" in used else ""
            functions.append(
                f"Value partial_{p.name}_{k}(std::span<const Value> {operands}, Value {out}) {{\n"
                + "\n".join([*body, f"  return {x.result};"])
                + "\n}\n"
            )
            cases.append(
                f"    case key(Op::{p.enumerator}, {k}):\n"
                f"      return partial_{p.name}_{k}(operands, out);"
            )
    composed = "\n".join(f"Value {name}(Value x);" for name in COMPOSED)
    return f"""// Generated from spec/primitives.toml.
#include <span>

#include "core/error.h"
#include "trace/value.h"

namespace tenon {{
namespace ops {{
{composed}
}}
namespace {{

{chr(10).join(functions)}
constexpr uint32_t key(Op op, int operand) {{
  return static_cast<uint32_t>(op) << 2 | static_cast<uint32_t>(operand);
}}

}}  // namespace

Value partial(Op op, int operand, std::span<const Value> operands, Value out) {{
  switch (key(op, operand)) {{
{chr(10).join(cases)}
    default:
      fail(ErrorKind::Internal, "operand {{}} of {{}} has no partial derivative to build", operand,
           name_of(op));
  }}
}}

}}  // namespace tenon
"""


def _uses(code: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", code) is not None

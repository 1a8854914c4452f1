#pragma once

// The scalar functions of the trace, expanded into the loop IR.
//
// f32 functions are polynomials and table-free range reductions over packs of vectors; the bound of
// each in ulp is beside its formula. f16 and bf16 are computed in f32 and rounded once. f64
// functions and a few rare ones are a `Call` of one host function per lane, which the interpreter
// calls too: so compiled and interpreted bits agree. Integer division, remainder and floor_div by
// zero are reported through CheckSite, and then give 0.

#include <optional>
#include <string_view>

#include "core/float8.h"
#include "jit/loop/builder.h"

namespace tenon::loop {

// Named as the trace's primitives (scalar_fn_from_name("log1p")).
enum class ScalarFn : uint8_t {
  Neg,
  Abs,
  Sign,
  Exp,
  Exp2,
  Expm1,
  Log,
  Log2,
  Log10,
  Log1p,
  Sin,
  Cos,
  Tan,
  Asin,
  Acos,
  Atan,
  Sinh,
  Cosh,
  Tanh,
  Asinh,
  Acosh,
  Atanh,
  Sqrt,
  Rsqrt,
  Erf,
  Erfc,
  Erfinv,
  Lgamma,
  Digamma,
  Floor,
  Ceil,
  Round,
  Trunc,
  IsNan,
  IsInf,
  LogicalNot,
  BitwiseNot,
  Add,
  Sub,
  Mul,
  Div,
  FloorDiv,
  Remainder,
  Fmod,
  Pow,
  Atan2,
  Maximum,
  Minimum,
  BitwiseAnd,
  BitwiseOr,
  BitwiseXor,
  ShiftLeft,
  ShiftRight,
  Eq,
  Ne,
  Lt,
  Le,
  Gt,
  Ge,
  NextAfter,
  CopySign,
};

const char* name_of(ScalarFn);  // "log1p"
std::optional<ScalarFn> scalar_fn_from_name(std::string_view name);
bool is_binary(ScalarFn);
bool can_fail(ScalarFn, Scalar operand_type);  // integer division by zero

// Where a failing element is reported: the kernel's site number, the flat index of each lane
// (i64, the lanes of the operands), and which lanes count (i1; none given: all).
struct CheckSite {
  uint32_t site = 0;
  Pack index;
  Pack mask;
};

// Operands have the dtype of the operation; the result has it too, but for comparisons, IsNan,
// IsInf and LogicalNot (i1). Scalars and vectors both work. Booleans: i1 for bitwise functions,
// maximum and minimum, comparisons, add (or) and mul (and).
Pack emit_unary(Builder&, ScalarFn, Pack x);
Pack emit_binary(Builder&, ScalarFn, Pack x, Pack y, const CheckSite* site = nullptr);

// A float8's code (u8) as f32, and f32 rounded to a code: to nearest even, in integer arithmetic,
// as core/float8.h does.
Pack decode_float8(Builder&, const Float8Format& format, Pack code);
Pack encode_float8(Builder&, const Float8Format& format, Pack x);

// Philox4x32-10: 32 random bits (u32) for element numbers `element` (i64, any lanes): counter
// (element / 4, call), key seed, word element % 4. seed and call are scalar i64.
Pack emit_philox(Builder&, Pack element, Pack seed, Pack call);

// Host functions that `Call` names by number: double(double) or double(double, double).
struct HostFunction {
  const char* name;
  double (*unary)(double);
  double (*binary)(double, double);
};
std::span<const HostFunction> host_functions();

}  // namespace tenon::loop

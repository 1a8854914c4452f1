#include "jit/loop/math.h"

#include <limits>

#include "core/error.h"
#include "jit/loop/formulas.h"

namespace tenon::loop {

namespace {

constexpr const char* kNames[] = {
    "neg",         "abs",         "sign",       "exp",         "exp2",    "expm1",   "log",
    "log2",        "log10",       "log1p",      "sin",         "cos",     "tan",     "asin",
    "acos",        "atan",        "sinh",       "cosh",        "tanh",    "asinh",   "acosh",
    "atanh",       "sqrt",        "rsqrt",      "erf",         "erfc",    "erfinv",  "lgamma",
    "digamma",     "floor",       "ceil",       "round",       "trunc",   "is_nan",  "is_inf",
    "logical_not", "bitwise_not", "add",        "sub",         "mul",     "div",     "floor_div",
    "remainder",   "fmod",        "pow",        "atan2",       "maximum", "minimum", "bitwise_and",
    "bitwise_or",  "bitwise_xor", "shift_left", "shift_right", "eq",      "ne",      "lt",
    "le",          "gt",          "ge",         "next_after",  "copysign"};
static_assert(std::size(kNames) == static_cast<size_t>(ScalarFn::CopySign) + 1);

// The f32 formula of a function; none: f64's way (a call of the host) serves.
using UnaryFormula = Pack (*)(Builder&, Pack);
UnaryFormula f32_formula(ScalarFn fn) {
  switch (fn) {
    case ScalarFn::Exp:
      return formulas::exp;
    case ScalarFn::Exp2:
      return formulas::exp2;
    case ScalarFn::Expm1:
      return formulas::expm1;
    case ScalarFn::Log:
      return formulas::log;
    case ScalarFn::Log2:
      return formulas::log2;
    case ScalarFn::Log10:
      return formulas::log10;
    case ScalarFn::Log1p:
      return formulas::log1p;
    case ScalarFn::Sin:
      return formulas::sin;
    case ScalarFn::Cos:
      return formulas::cos;
    case ScalarFn::Tan:
      return formulas::tan;
    case ScalarFn::Asin:
      return formulas::asin;
    case ScalarFn::Acos:
      return formulas::acos;
    case ScalarFn::Atan:
      return formulas::atan;
    case ScalarFn::Sinh:
      return formulas::sinh;
    case ScalarFn::Cosh:
      return formulas::cosh;
    case ScalarFn::Tanh:
      return formulas::tanh;
    case ScalarFn::Asinh:
      return formulas::asinh;
    case ScalarFn::Acosh:
      return formulas::acosh;
    case ScalarFn::Atanh:
      return formulas::atanh;
    case ScalarFn::Erf:
      return formulas::erf;
    case ScalarFn::Erfc:
      return formulas::erfc;
    default:
      return nullptr;
  }
}

std::optional<BinaryOp> plain_binary(ScalarFn fn) {
  switch (fn) {
    case ScalarFn::Add:
      return BinaryOp::Add;
    case ScalarFn::Sub:
      return BinaryOp::Sub;
    case ScalarFn::Mul:
      return BinaryOp::Mul;
    case ScalarFn::Div:
      return BinaryOp::Div;
    case ScalarFn::Maximum:
      return BinaryOp::Max;
    case ScalarFn::Minimum:
      return BinaryOp::Min;
    case ScalarFn::BitwiseAnd:
      return BinaryOp::And;
    case ScalarFn::BitwiseOr:
      return BinaryOp::Or;
    case ScalarFn::BitwiseXor:
      return BinaryOp::Xor;
    case ScalarFn::ShiftLeft:
      return BinaryOp::Shl;
    case ScalarFn::ShiftRight:
      return BinaryOp::Shr;
    case ScalarFn::CopySign:
      return BinaryOp::CopySign;
    default:
      return std::nullopt;
  }
}

bool is_comparison(ScalarFn fn) { return fn >= ScalarFn::Eq && fn <= ScalarFn::Ge; }

CompareOp comparison(ScalarFn fn) {
  return static_cast<CompareOp>(static_cast<int>(fn) - static_cast<int>(ScalarFn::Eq));
}

[[noreturn]] void fail_unsupported(ScalarFn fn, Scalar type) {
  fail(ErrorKind::Internal, "{} is not defined on {}", name_of(fn), name_of(type));
}

Pack sign(Builder& b, Pack x) {
  const Scalar type = b.type_of(x).scalar;
  const Pack zero = b.constant_int(type, 0), one = b.constant_int(type, 1);
  const Pack positive = b.select(b.gt(x, zero), one, zero);
  if (!is_signed(type)) return positive;
  return b.select(b.lt(x, zero), b.constant_int(type, -1), positive);  // NaN: 0, as PyTorch
}

Pack unary_flag(Builder& b, ScalarFn fn, Pack x) {
  switch (fn) {
    case ScalarFn::LogicalNot:
    case ScalarFn::BitwiseNot:
      return b.not_(x);
    case ScalarFn::IsNan:
    case ScalarFn::IsInf:
      return b.and_(x, b.i1(false));
    case ScalarFn::Abs:
    case ScalarFn::Sign:
    case ScalarFn::Floor:
    case ScalarFn::Ceil:
    case ScalarFn::Round:
    case ScalarFn::Trunc:
      return x;
    default:
      fail_unsupported(fn, Scalar::I1);
  }
}

Pack unary_integer(Builder& b, ScalarFn fn, Pack x) {
  const Scalar type = b.type_of(x).scalar;
  switch (fn) {
    case ScalarFn::Neg:
      return b.neg(x);
    case ScalarFn::Abs:
      return is_signed(type) ? b.abs(x) : x;
    case ScalarFn::Sign:
      return sign(b, x);
    case ScalarFn::BitwiseNot:
      return b.not_(x);
    case ScalarFn::LogicalNot:
      return b.eq(x, b.constant_int(type, 0));
    case ScalarFn::IsNan:
    case ScalarFn::IsInf:
      return b.ne(x, x);
    case ScalarFn::Floor:
    case ScalarFn::Ceil:
    case ScalarFn::Round:
    case ScalarFn::Trunc:
      return x;
    default:
      fail_unsupported(fn, type);
  }
}

// f32 and f64.
Pack unary_float(Builder& b, ScalarFn fn, Pack x) {
  const Scalar type = b.type_of(x).scalar;
  const double infinity = std::numeric_limits<double>::infinity();
  switch (fn) {
    case ScalarFn::Neg:
      return b.neg(x);
    case ScalarFn::Abs:
      return b.abs(x);
    case ScalarFn::Sign:
      return sign(b, x);
    case ScalarFn::Sqrt:
      return b.sqrt(x);
    case ScalarFn::Rsqrt:
      return b.div(b.constant(type, 1), b.sqrt(x));
    case ScalarFn::Floor:
      return b.unary(UnaryOp::Floor, x);
    case ScalarFn::Ceil:
      return b.unary(UnaryOp::Ceil, x);
    case ScalarFn::Round:
      return b.unary(UnaryOp::Round, x);
    case ScalarFn::Trunc:
      return b.unary(UnaryOp::Trunc, x);
    case ScalarFn::IsNan:
      return b.ne(x, x);
    case ScalarFn::IsInf:
      return b.eq(b.abs(x), b.constant(type, infinity));
    case ScalarFn::LogicalNot:
      return b.eq(x, b.constant(type, 0));
    case ScalarFn::BitwiseNot:
      fail_unsupported(fn, type);
    default:
      break;
  }
  const UnaryFormula formula = type == Scalar::F32 ? f32_formula(fn) : nullptr;
  return formula ? formula(b, x) : b.call(formulas::host_function(name_of(fn)), x);
}

// Truncated division with the sign corrections of floor_div and remainder. Reports zero divisors.
Pack divide_integer(Builder& b, ScalarFn fn, Pack x, Pack y, const CheckSite* site) {
  const Scalar type = b.type_of(x).scalar;
  const Pack zero = b.constant_int(type, 0);
  const Pack is_zero = b.eq(y, zero);
  if (site) {
    Pack is_fine = b.not_(is_zero);
    if (site->mask) is_fine = b.or_(is_fine, b.not_(site->mask));
    b.check(is_fine, CheckCode::DivisionByZero, site->site, site->index, b.i64(0));
  }
  const Pack quotient = b.div(x, y);
  if (fn == ScalarFn::Div) return quotient;
  const Pack rest = b.select(is_zero, zero, b.rem(x, y));
  if (fn == ScalarFn::Fmod) return rest;
  if (!is_signed(type)) return fn == ScalarFn::FloorDiv ? quotient : rest;
  const Pack differs = b.and_(b.ne(rest, zero), b.lt(b.xor_(rest, y), zero));
  return fn == ScalarFn::FloorDiv
             ? b.select(differs, b.sub(quotient, b.constant_int(type, 1)), quotient)
             : b.select(differs, b.add(rest, y), rest);
}

Pack binary_flag(Builder& b, ScalarFn fn, Pack x, Pack y) {
  switch (fn) {
    case ScalarFn::Add:
    case ScalarFn::Maximum:
    case ScalarFn::BitwiseOr:
      return b.or_(x, y);
    case ScalarFn::Mul:
    case ScalarFn::Minimum:
    case ScalarFn::BitwiseAnd:
      return b.and_(x, y);
    case ScalarFn::BitwiseXor:
    case ScalarFn::Sub:
      return b.xor_(x, y);
    default:
      fail_unsupported(fn, Scalar::I1);
  }
}

// PyTorch's remainder: fmod, moved to the divisor's sign.
Pack remainder_f32(Builder& b, Pack y, Pack rest) {
  const Pack zero = b.f32(0);
  const Pack differs = b.and_(b.ne(rest, zero), b.ne(b.lt(y, zero), b.lt(rest, zero)));

  return b.select(differs, b.add(rest, y), rest);
}

// PyTorch's floor division (c10::div_floor_floating), step by step.
Pack floor_div_f32(Builder& b, Pack x, Pack y) {
  const Pack zero = b.f32(0), one = b.f32(1);
  const Pack rest = formulas::fmod(b, x, y);
  Pack quotient = b.div(b.sub(x, rest), y);
  const Pack differs = b.and_(b.ne(rest, zero), b.ne(b.lt(y, zero), b.lt(rest, zero)));
  quotient = b.select(differs, b.sub(quotient, one), quotient);
  const Pack floor = b.unary(UnaryOp::Floor, quotient);
  const Pack is_above = b.gt(b.sub(quotient, floor), b.f32(0.5));
  const Pack rounded = b.select(is_above, b.add(floor, one), floor);
  const Pack plain = b.div(x, y);
  const Pack result = b.select(b.eq(quotient, zero), b.copysign(zero, plain), rounded);
  return b.select(b.eq(y, zero), plain, result);
}

Pack binary_float(Builder& b, ScalarFn fn, Pack x, Pack y) {
  if (fn >= ScalarFn::BitwiseAnd && fn <= ScalarFn::ShiftRight) {
    fail_unsupported(fn, b.type_of(x).scalar);
  }
  if (auto op = plain_binary(fn)) return b.binary(*op, x, y);
  if (fn == ScalarFn::NextAfter) return formulas::next_after(b, x, y);
  const Scalar type = b.type_of(x).scalar;
  if (type == Scalar::F32) {
    switch (fn) {
      case ScalarFn::Pow:
        return formulas::pow(b, x, y);
      case ScalarFn::Atan2:
        return formulas::atan2(b, x, y);
      case ScalarFn::Fmod:
        return formulas::fmod(b, x, y);
      case ScalarFn::Remainder:
        return remainder_f32(b, y, formulas::fmod(b, x, y));
      case ScalarFn::FloorDiv:
        return floor_div_f32(b, x, y);
      default:
        break;
    }
  }
  return b.call(formulas::host_function(name_of(fn)), x, y);
}

}  // namespace

const char* name_of(ScalarFn fn) { return kNames[static_cast<int>(fn)]; }

std::optional<ScalarFn> scalar_fn_from_name(std::string_view name) {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == name) return static_cast<ScalarFn>(i);
  }
  return std::nullopt;
}

bool is_binary(ScalarFn fn) { return fn >= ScalarFn::Add; }

bool can_fail(ScalarFn fn, Scalar type) {
  return is_integer(type) && (fn == ScalarFn::Div || fn == ScalarFn::FloorDiv ||
                              fn == ScalarFn::Remainder || fn == ScalarFn::Fmod);
}

Pack emit_unary(Builder& b, ScalarFn fn, Pack x) {
  const Scalar type = b.type_of(x).scalar;
  if (type == Scalar::I1) return unary_flag(b, fn, x);
  if (is_integer(type)) return unary_integer(b, fn, x);
  if (!is_half(type)) return unary_float(b, fn, x);
  const Pack result = unary_float(b, fn, b.cast(Scalar::F32, x));
  return b.type_of(result).scalar == Scalar::I1 ? result : b.cast(type, result);
}

Pack emit_binary(Builder& b, ScalarFn fn, Pack x, Pack y, const CheckSite* site) {
  const Scalar type = b.type_of(x).scalar;
  check(type == b.type_of(y).scalar, ErrorKind::Internal, "{}: operands of types {} and {}",
        name_of(fn), name_of(type), name_of(b.type_of(y).scalar));
  if (is_half(type)) {
    if (fn == ScalarFn::NextAfter) fail_unsupported(fn, type);
    const Pack result = emit_binary(b, fn, b.cast(Scalar::F32, x), b.cast(Scalar::F32, y), site);
    return is_comparison(fn) ? result : b.cast(type, result);
  }
  if (is_comparison(fn)) return b.compare(comparison(fn), x, y);
  if (type == Scalar::I1) return binary_flag(b, fn, x, y);
  if (is_float(type)) return binary_float(b, fn, x, y);
  if (can_fail(fn, type)) return divide_integer(b, fn, x, y, site);
  if (fn == ScalarFn::Pow) return formulas::integer_pow(b, x, y);
  if (auto op = plain_binary(fn); op && fn != ScalarFn::CopySign) return b.binary(*op, x, y);
  fail_unsupported(fn, type);
}

// Philox4x32-10 (Salmon et al., SC 2011), as core/philox.h has it: each lane computes its block of
// four words and takes its own.
Pack emit_philox(Builder& b, Pack element, Pack seed, Pack call) {
  auto low = [&](Pack x) { return b.cast(Scalar::U32, x); };
  auto high = [&](Pack x) {
    return b.cast(Scalar::U32, b.shr(b.cast(Scalar::U64, x), b.constant_int(Scalar::U64, 32)));
  };
  auto number = [&](int64_t value) { return b.constant_int(Scalar::U32, value); };
  const Pack group = b.shr(b.cast(Scalar::U64, element), b.constant_int(Scalar::U64, 2));
  Pack counter[4] = {low(group), high(group), low(call), high(call)};
  Pack key[2] = {low(seed), high(seed)};
  for (int round = 0; round < 10; ++round) {
    const Pack p0 = b.mul(b.cast(Scalar::U64, counter[0]), b.constant_int(Scalar::U64, 0xd2511f53));
    const Pack p1 = b.mul(b.cast(Scalar::U64, counter[2]), b.constant_int(Scalar::U64, 0xcd9e8d57));
    const Pack next[4] = {b.xor_(b.xor_(high(p1), counter[1]), key[0]), low(p1),
                          b.xor_(b.xor_(high(p0), counter[3]), key[1]), low(p0)};
    std::copy(next, next + 4, counter);
    key[0] = b.add(key[0], number(0x9e3779b9));
    key[1] = b.add(key[1], number(0xbb67ae85));
  }
  const Pack word = b.and_(low(element), number(3));
  const Pack is_odd = b.ne(b.and_(word, number(1)), number(0));
  const Pack is_upper = b.ge(word, number(2));
  return b.select(is_upper, b.select(is_odd, counter[3], counter[2]),
                  b.select(is_odd, counter[1], counter[0]));
}

}  // namespace tenon::loop

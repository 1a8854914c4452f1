// Every operation of the loop IR on every type it takes: interpreted and compiled bits agree.
#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "tests/llvm/harness.h"

using namespace tenon;
using namespace tenon::test;
using loop::BinaryOp;
using loop::CompareOp;
using loop::UnaryOp;

namespace {

constexpr Scalar kAll[] = {Scalar::I1,   Scalar::U8,  Scalar::I8,  Scalar::U16, Scalar::I16,
                           Scalar::U32,  Scalar::I32, Scalar::U64, Scalar::I64, Scalar::F16,
                           Scalar::BF16, Scalar::F32, Scalar::F64};

using Body = std::function<Pack(Builder&, const std::vector<Pack>&)>;

void check_same(const std::string& name, std::vector<Scalar> inputs, Scalar output,
                const Body& body, size_t count = 1500) {
  const Kernel kernel = elementwise(name, inputs, output, body);
  REQUIRE_MESSAGE(loop::verify(kernel).empty(), loop::verify(kernel), "\n", loop::print(kernel));
  std::vector<Data> buffers;
  for (size_t i = 0; i < inputs.size(); ++i) {
    buffers.push_back(special_values(inputs[i], count, 7 + i));
  }
  if (inputs.size() > 1) {  // pair each special value with each
    for (size_t i = 0; i < 900; ++i) buffers[1].set_bits(i, buffers[1].bits(i / 30));
    for (size_t i = 0; i < 900; ++i) buffers[0].set_bits(i, buffers[0].bits(i % 30));
  }
  buffers.emplace_back(output, count);
  for (auto tier : {llvm_jit::Tier::Quick, llvm_jit::Tier::Hot}) {
    const BothWays both = run_both(kernel, buffers, {}, {}, 0, static_cast<int64_t>(count), tier);
    const int64_t at = first_difference(both.interpreted.back(), both.compiled.back());
    if (at < 0) continue;
    std::string text = name;
    for (size_t i = 0; i < inputs.size(); ++i) {
      text += fmt::format(" {} {:#x}", loop::name_of(inputs[i]), buffers[i].bits(at));
    }
    FAIL_CHECK(text << " at " << at << ": interpreted " << std::hex
                    << both.interpreted.back().bits(at) << ", compiled "
                    << both.compiled.back().bits(at));
  }
}

std::string label(const char* op, Scalar type) { return fmt::format("{}_{}", op, name_of(type)); }

bool is_arithmetic(Scalar type) { return type != Scalar::I1 && !loop::is_half(type); }

}  // namespace

TEST_CASE("unary") {
  constexpr const char* kNames[] = {"neg", "abs", "not", "sqrt", "floor", "ceil", "round", "trunc"};
  for (Scalar type : kAll) {
    for (int op = 0; op < 8; ++op) {
      const auto unary = static_cast<UnaryOp>(op);
      const bool is_not = unary == UnaryOp::Not;
      if (is_not ? loop::is_float(type) : !is_arithmetic(type)) continue;
      if (op > static_cast<int>(UnaryOp::Not) && !loop::is_float(type)) continue;
      check_same(label(kNames[op], type), {type}, type,
                 [&](Builder& b, const std::vector<Pack>& x) { return b.unary(unary, x[0]); });
    }
  }
}

TEST_CASE("binary") {
  constexpr const char* kNames[] = {"add", "sub", "mul", "div", "rem", "max",     "min",
                                    "and", "or",  "xor", "shl", "shr", "copysign"};
  for (Scalar type : kAll) {
    if (loop::is_half(type)) continue;
    for (int op = 0; op < 13; ++op) {
      const auto binary = static_cast<BinaryOp>(op);
      const bool is_bitwise =
          binary == BinaryOp::And || binary == BinaryOp::Or || binary == BinaryOp::Xor;
      const bool is_integer_only = is_bitwise || binary == BinaryOp::Rem ||
                                   binary == BinaryOp::Shl || binary == BinaryOp::Shr;
      if (loop::is_float(type) ? is_integer_only : binary == BinaryOp::CopySign) continue;
      if (type == Scalar::I1 && !is_bitwise) continue;
      check_same(
          label(kNames[op], type), {type, type}, type,
          [&](Builder& b, const std::vector<Pack>& x) { return b.binary(binary, x[0], x[1]); });
    }
  }
}

TEST_CASE("64-bit division of numbers below 2^51, next to multiples of the divisor") {
  for (Scalar type : {Scalar::I64, Scalar::U64}) {
    for (auto op : {BinaryOp::Div, BinaryOp::Rem}) {
      for (int64_t bits : {13, 26, 39, 60}) {  // that quotients and divisors lack
        for (int64_t beside : {-1, 0, 1}) {
          check_same(fmt::format("{} {} {}", label("divide", type), bits, beside), {type, type},
                     type, [&](Builder& b, const std::vector<Pack>& x) {
                       const auto number = [&](int64_t n) { return b.constant_int(type, n); };
                       Pack divisor = b.binary(BinaryOp::Shr, x[1], number(bits));
                       divisor = b.binary(BinaryOp::Or, divisor, number(1));
                       Pack quotient = b.binary(BinaryOp::Shr, x[0], number(78 - bits));
                       if (bits == 13) quotient = number(1);
                       Pack dividend = b.binary(BinaryOp::Mul, quotient, divisor);
                       dividend = b.binary(BinaryOp::Add, dividend, number(beside));
                       return b.binary(op, dividend, divisor);
                     });
        }
      }
    }
  }
}

TEST_CASE("comparisons and select") {
  constexpr const char* kNames[] = {"eq", "ne", "lt", "le", "gt", "ge"};
  for (Scalar type : kAll) {
    if (loop::is_half(type)) continue;
    for (int op = 0; op < 6; ++op) {
      check_same(label(kNames[op], type), {type, type}, Scalar::I1,
                 [&](Builder& b, const std::vector<Pack>& x) {
                   return b.compare(static_cast<CompareOp>(op), x[0], x[1]);
                 });
    }
  }
  for (Scalar type : kAll) {
    check_same(label("select", type), {Scalar::I1, type, type}, type,
               [&](Builder& b, const std::vector<Pack>& x) { return b.select(x[0], x[1], x[2]); });
  }
}

TEST_CASE("casts between all pairs") {
  for (Scalar from : kAll) {
    for (Scalar to : kAll) {
      check_same(label("cast", from) + label("_to", to), {from}, to,
                 [&](Builder& b, const std::vector<Pack>& x) { return b.cast(to, x[0]); });
    }
  }
}

TEST_CASE("fma and scale") {
  for (Scalar type : {Scalar::F32, Scalar::F64}) {
    check_same(label("fma", type), {type, type, type}, type,
               [&](Builder& b, const std::vector<Pack>& x) { return b.fma(x[0], x[1], x[2]); });
    check_same(label("scale", type), {type, Scalar::I16}, type,
               [&](Builder& b, const std::vector<Pack>& x) {
                 const int64_t limit = type == Scalar::F32 ? 250 : 2000;
                 const Pack n = b.max(b.min(x[1], b.constant_int(Scalar::I16, limit)),
                                      b.constant_int(Scalar::I16, -limit));
                 return b.scale(x[0], b.cast(type, n));
               });
  }
}

TEST_CASE("documented results, FAULTS 8 to 10") {
  const auto number = [](auto value) {
    return std::bit_cast<std::array<std::byte, sizeof value>>(value);
  };
  const auto once = [&](Scalar from, Scalar to, auto x, const Body& body) {
    const Kernel kernel = elementwise("one", std::array{from}, to, body);
    std::vector<Data> buffers{Data(from, 1), Data(to, 1)};
    const auto bytes = number(x);
    std::copy(bytes.begin(), bytes.end(), buffers[0].bytes.begin());
    return run_both(kernel, buffers, {}, {}, 0, 1).compiled[1].bits(0);
  };
  const auto to_i32 = [](Builder& b, const std::vector<Pack>& x) {
    return b.cast(Scalar::I32, x[0]);
  };
  CHECK(once(Scalar::F32, Scalar::I32, NAN, to_i32) == 0x80000000u);
  CHECK(once(Scalar::F32, Scalar::I32, INFINITY, to_i32) == 0x80000000u);
  CHECK(once(Scalar::F32, Scalar::I32, 3e10f, to_i32) == 0x80000000u);
  CHECK(once(Scalar::F32, Scalar::I32, -7.9f, to_i32) == 0xfffffff9u);
  const auto to_u8 = [](Builder& b, const std::vector<Pack>& x) {
    return b.cast(Scalar::U8, x[0]);
  };
  CHECK(once(Scalar::F32, Scalar::U8, -1.0f, to_u8) == 255);
  CHECK(once(Scalar::F32, Scalar::U8, 300.0f, to_u8) == 44);
  CHECK(once(Scalar::I32, Scalar::I32, INT32_MIN, [](Builder& b, const std::vector<Pack>& x) {
          return b.div(x[0], b.i32(-1));
        }) == 0x80000000u);
  CHECK(once(Scalar::I32, Scalar::I32, INT32_MIN,
             [](Builder& b, const std::vector<Pack>& x) { return b.abs(x[0]); }) == 0x80000000u);
  CHECK(once(Scalar::I32, Scalar::I32, -8, [](Builder& b, const std::vector<Pack>& x) {
          return b.shr(x[0], b.i32(-1));
        }) == 0xffffffffu);
  CHECK(once(Scalar::I32, Scalar::I32, 8,
             [](Builder& b, const std::vector<Pack>& x) { return b.shl(x[0], b.i32(32)); }) == 0);
}

// Text and back: a kernel printed and parsed prints the same, and has the same canonical form.
#include <doctest/doctest.h>

#include <limits>

#include "core/error.h"
#include "jit/loop/builder.h"
#include "jit/loop/math.h"

using namespace tenon::loop;

namespace {

void check_round_trip(const Kernel& kernel) {
  REQUIRE(verify(kernel) == "");
  const Kernel back = parse(print(kernel));
  CHECK(print(back) == print(kernel));
  CHECK(canonical_form(back) == canonical_form(kernel));
  CHECK(back.name == kernel.name);
}

}  // namespace

TEST_CASE("every scalar function survives the text") {
  for (int i = 0; i <= static_cast<int>(ScalarFn::CopySign); ++i) {
    const auto fn = static_cast<ScalarFn>(i);
    for (Scalar type : {Scalar::I1, Scalar::U8, Scalar::I32, Scalar::I64, Scalar::F16, Scalar::F32,
                        Scalar::F64}) {
      Kernel kernel;
      kernel.name = name_of(fn);
      Builder b(kernel);
      const uint32_t x = b.add_buffer(type, Access::Read);
      const Pack at = b.unroll(b.range_begin(), 2);
      const Pack v = b.load(x, at, kLanes);
      CheckSite site{3, b.lanes_from(at), {}};
      try {
        const Pack result = is_binary(fn) ? emit_binary(b, fn, v, v, &site) : emit_unary(b, fn, v);
        b.store(b.add_buffer(b.type_of(result).scalar, Access::Write), at, result);
      } catch (const tenon::Error&) {
        continue;  // not defined on this type
      }
      check_round_trip(kernel);
    }
  }
}

TEST_CASE("constants of every type keep their bits") {
  Kernel kernel;
  Builder b(kernel);
  kernel.scratch = {64, {{4, 0}}};
  b.int_param(b.add_int());
  b.scalar_param(b.add_scalar(Scalar::BF16));
  b.constant_bits(Scalar::F32, 0x7fc01234);
  b.constant_bits(Scalar::F64, 0xfff8000000000001);
  b.constant_bits(Scalar::F16, 0x7e01);
  for (double x : {0.1, -0.0, 1e-45, 3.4e38, std::numeric_limits<double>::infinity()}) {
    for (Scalar type : {Scalar::F16, Scalar::BF16, Scalar::F32, Scalar::F64}) b.constant(type, x);
  }
  for (Scalar type :
       {Scalar::I1, Scalar::U8, Scalar::I8, Scalar::I16, Scalar::U32, Scalar::I64, Scalar::U64}) {
    b.constant_int(type, -1);
    b.constant_int(type, 1, kLanes);
  }
  b.scratch_store(b.i64(0), b.lane_index(), b.constant(Scalar::F32, 1.5, kLanes));
  b.reduce(ReduceOp::Max, b.scratch_load(Scalar::F32, b.i64(0), b.i64(0), kLanes));
  check_round_trip(kernel);
}

TEST_CASE("errors of the text name the line") {
  for (const char* text :
       {"", "kernel k(", "kernel k(; ints 0; scalars; scratch 0)\n  %0: i64 = fly\n",
        "kernel k(; ints 0; scalars; scratch 0)\n  %0: i65 = range_begin\n",
        "kernel k(; ints 0; scalars; scratch 0)\n  %1: i64 = range_begin\n"}) {
    CHECK_THROWS_AS(parse(text), tenon::Error);
  }
}

// What the builder emits, as text, and what the interpreter makes of it.
#include "jit/loop/builder.h"

#include <doctest/doctest.h>

#include <cmath>

#include "jit/loop/math.h"

using namespace tenon::loop;

TEST_CASE("a body over four vectors is interleaved operation by operation") {
  Kernel kernel;
  kernel.name = "square_plus";
  Builder b(kernel);
  const uint32_t x = b.add_buffer(Scalar::F32, Access::Read);
  const uint32_t y = b.add_buffer(Scalar::F32, Access::Write);
  const Pack shift = b.scalar_param(b.add_scalar(Scalar::F32));
  const Pack begin = b.range_begin(), end = b.range_end();  // in this order on any compiler
  b.for_each(begin, end, b.i64(32), [&](Pack i) {
    const Pack at = b.unroll(i, 2);
    const Pack v = b.load(x, at, kLanes);
    b.store(y, at, b.add(b.mul(v, v), shift));
  });
  CHECK(verify(kernel) == "");
  CHECK(print(kernel) ==
        "kernel square_plus(@0 f32 read, @1 f32 write; ints 0; scalars f32; scratch 0)\n"
        "  %0: f32 = scalar_param 0\n"
        "  %1: i64 = range_begin\n"
        "  %2: i64 = range_end\n"
        "  %3: i64 = constant 32\n"
        "  %4: i64 = for %1 %2 %3\n"
        "    %5: i64 = constant 0\n"
        "    %6: i64 = constant 16\n"
        "    %7: i64 = add %4 %6\n"
        "    %8: f32x16 = load @0 %4\n"
        "    %9: f32x16 = load @0 %7\n"
        "    %10: f32x16 = mul %8 %8\n"
        "    %11: f32x16 = mul %9 %9\n"
        "    %12: f32x16 = broadcast %0\n"
        "    %13: f32x16 = add %10 %12\n"
        "    %14: f32x16 = add %11 %12\n"
        "    store @1 %4 %13\n"
        "    store @1 %7 %14\n"
        "  end_for\n");
}

TEST_CASE("loops carry values, branches give them") {
  Kernel kernel;
  Builder b(kernel);
  const uint32_t y = b.add_buffer(Scalar::I64, Access::Write);
  const Pack n = b.int_param(b.add_int()), zero = b.i64(0), one = b.i64(1);
  const auto sums =
      b.for_loop(zero, n, one, {zero, one}, [&](Pack i, const auto& s) -> Builder::Packs {
        return {b.add(s[0], i), b.mul(s[1], b.i64(2))};
      });
  const auto chosen = b.if_else(
      b.gt(n, b.i64(3)), [&]() -> Builder::Packs { return {sums[1]}; },
      [&]() -> Builder::Packs { return {b.i64(-1)}; });
  b.store(y, b.i64(0), sums[0]);
  b.store(y, b.i64(1), chosen[0]);
  CHECK(verify(kernel) == "");
  CHECK(print(kernel) ==
        "kernel kernel(@0 i64 write; ints 1; scalars; scratch 0)\n"
        "  %0: i64 = int_param 0\n"
        "  %1: i64 = constant 0\n"
        "  %2: i64 = constant 1\n"
        "  %3: i64 = for %1 %0 %2 %1 %2\n"
        "    %4: i64 = carried 0\n"
        "    %5: i64 = carried 1\n"
        "    %6: i64 = add %4 %3\n"
        "    %7: i64 = constant 2\n"
        "    %8: i64 = mul %5 %7\n"
        "  end_for %6 %8\n"
        "  %10: i64 = result 0\n"
        "  %11: i64 = result 1\n"
        "  %12: i64 = constant 3\n"
        "  %13: i1 = gt %0 %12\n"
        "  if %13\n"
        "  else %11\n"
        "    %16: i64 = constant -1\n"
        "  end_if %16\n"
        "  %18: i64 = result 0\n"
        "  store @0 %1 %10\n"
        "  store @0 %2 %18\n");
  int64_t result[2];
  void* buffers[] = {result};
  for (int64_t count : {0, 1, 5}) {
    interpret(kernel, buffers, &count, nullptr, nullptr, 0, 0, nullptr);
    CHECK(result[0] == count * (count - 1) / 2);
    CHECK(result[1] == (count > 3 ? int64_t{1} << count : -1));
  }
}

TEST_CASE("equal pure nodes in scope are emitted once; addresses fold") {
  Kernel kernel;
  Builder b(kernel);
  const Pack n = b.int_param(b.add_int());
  CHECK(b.add(n, b.i64(3)).single() == b.add(n, b.i64(3)).single());
  CHECK(b.add(n, b.i64(0)).single() == n.single());
  CHECK(b.mul(b.i64(6), b.i64(7)).single() == b.i64(42).single());
  Value inside = kNoValue;
  b.if_then(b.gt(n, b.i64(0)), [&] { inside = b.mul(n, n).single(); });
  CHECK(b.mul(n, n).single() != inside);  // that one is out of scope
  CHECK(verify(kernel) == "");
}

TEST_CASE("the canonical form ignores the name and nothing else") {
  const auto make = [](const char* name, double c, int unroll, Scalar type) {
    Kernel kernel;
    kernel.name = name;
    Builder b(kernel);
    const uint32_t x = b.add_buffer(type, Access::ReadWrite);
    const Pack at = b.unroll(b.range_begin(), unroll);
    b.store(x, at, b.mul(b.load(x, at, kLanes), b.constant(type, c)));
    return canonical_form(kernel);
  };
  const auto base = make("a", 2, 2, Scalar::F32);
  CHECK(base == make("b", 2, 2, Scalar::F32));
  CHECK(base != make("a", 3, 2, Scalar::F32));
  CHECK(base != make("a", 2, 4, Scalar::F32));
  CHECK(base != make("a", 2, 2, Scalar::F64));
}

TEST_CASE("scratch grows with the extents") {
  ScratchSize size{64, {{4, 0}, {16, 1}}};
  const int64_t ints[] = {100, 3};
  CHECK(size.bytes(ints) == 64 + 400 + 48);
}

TEST_CASE("names of scalar functions go both ways") {
  for (int i = 0; i <= static_cast<int>(ScalarFn::CopySign); ++i) {
    const auto fn = static_cast<ScalarFn>(i);
    CHECK(scalar_fn_from_name(name_of(fn)) == fn);
  }
  CHECK(!scalar_fn_from_name("softplus"));
}

// The text of kernels: literals, accesses, and where threads meet.
#include "jit/cuda/lower.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "jit/cuda/lower_internal.h"
#include "tests/llvm/harness.h"

using namespace tenon;
using namespace tenon::test;
using loop::ReduceOp;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

int meetings(const Kernel& kernel) {
  const cuda::Order order = cuda::order_of(kernel);
  return static_cast<int>(std::ranges::count(order.meets_before, true) +
                          std::ranges::count(order.meets_at_start, true)) +
         order.kernel_meets_at_start;
}

}  // namespace

TEST_CASE("literals have exactly the bits of the constant") {
  const Data singles = special_values(Scalar::F32, 3000, 1);
  for (size_t i = 0; i < singles.size(); ++i) {
    const auto bits = static_cast<uint32_t>(singles.bits(i));
    const std::string text = cuda::literal(Scalar::F32, bits);
    INFO(text);
    if (has(text, "__uint_as_float")) {
      CHECK(text == fmt::format("__uint_as_float(0x{:x}u)", bits));
      continue;
    }
    const bool has_sign = text[0] == '(';
    CHECK(std::bit_cast<uint32_t>(std::strtof(text.c_str() + has_sign, nullptr)) == bits);
    CHECK(has(text, "f"));
  }
  const Data doubles = special_values(Scalar::F64, 3000, 2);
  for (size_t i = 0; i < doubles.size(); ++i) {
    const std::string text = cuda::literal(Scalar::F64, static_cast<int64_t>(doubles.bits(i)));
    INFO(text);
    if (has(text, "__longlong_as_double")) continue;
    const bool has_sign = text[0] == '(';
    CHECK(std::bit_cast<uint64_t>(std::strtod(text.c_str() + has_sign, nullptr)) ==
          doubles.bits(i));
  }
  CHECK(cuda::literal(Scalar::F32, std::bit_cast<int32_t>(-0.0f)) == "(-0.0f)");
  CHECK(cuda::literal(Scalar::F32, std::bit_cast<int32_t>(3.0f)) == "3.0f");
  CHECK(cuda::literal(Scalar::F64, std::bit_cast<int64_t>(0.1)) == "0x1.999999999999ap-4");
  CHECK(cuda::literal(Scalar::I64, INT64_MIN) == "i64(0x8000000000000000ull)");
  CHECK(cuda::literal(Scalar::I32, -7) == "(-7)");
  CHECK(cuda::literal(Scalar::BF16, 0x3f80) == "bf16(0x3f80)");
  CHECK(cuda::literal(Scalar::I1, 1) == "true");
}

TEST_CASE("an elementwise kernel") {
  const Kernel kernel =
      elementwise("scale", std::array{Scalar::F32}, Scalar::F32,
                  [](Builder& b, const auto& x) { return b.mul(x[0], b.f32(3)); });
  const std::string text = cuda::lower(kernel, "scale");
  INFO(text);
  CHECK(has(text,
            "extern \"C\" __global__ void __launch_bounds__(128)\n"
            "scale(const f32* b0, f32* b1, u8* scratch"));
  CHECK(has(text, " + lanes.lane];"));  // unit stride over the threads
  CHECK(has(text, " * 3.0f;"));         // constants stand where they are used
  CHECK(has(text, "i64 begin = first + group * chunk;"));
  CHECK(!has(text, "meet("));  // each thread stores where it has loaded
  CHECK(!has(text, "shared_scratch"));
  CHECK(!has(text, "chunks_of_rows"));
}

TEST_CASE("threads meet where one may read what another stores") {
  const auto scratch = [](bool reversed) {
    Kernel kernel;
    Builder b(kernel);
    const uint32_t x = b.add_buffer(Scalar::F32, Access::Read);
    const uint32_t y = b.add_buffer(Scalar::F32, Access::Write);
    kernel.scratch.constant = 64;
    b.scratch_store(b.i64(0), b.i64(0), b.load(x, b.i64(0), 16));
    const Pack at = reversed ? b.sub(b.i64(15), b.lane_index()) : b.i64(0);
    b.store(y, b.i64(0), b.scratch_load(Scalar::F32, b.i64(0), at, 16));
    return kernel;
  };
  // The second chunk of a group must not store before the first one's loads: at the start, too.
  CHECK(meetings(scratch(true)) == 2);
  CHECK(meetings(scratch(false)) == 1);

  // A sum of a row that may take the memory of an addend that all threads load.
  Kernel kernel;
  Builder b(kernel);
  const uint32_t x = b.add_buffer(Scalar::F32, Access::Read);
  const uint32_t bias = b.add_buffer(Scalar::F32, Access::Read);
  const uint32_t y = b.add_buffer(Scalar::F32, Access::Write);
  b.for_each(b.range_begin(), b.range_end(), b.i64(1), [&](Pack row) {
    const Pack sum = b.reduce(ReduceOp::Sum, b.load(x, b.mul(row, b.i64(16)), 16));
    b.store(y, row, b.add(sum, b.load(bias, row, 1)));
  });
  CHECK(meetings(kernel) == 1);
  CHECK(has(cuda::lower(kernel, "k"), "meet(lanes);\n      if (lanes.lane == 0) b2["));

  // Accumulation in memory by one lane: each iteration reads what the one before has stored.
  Kernel sums;
  Builder c(sums);
  const uint32_t z = c.add_buffer(Scalar::F32, Access::ReadWrite);
  c.for_each(c.range_begin(), c.range_end(), c.i64(1),
             [&](Pack) { c.store(z, c.i64(0), c.add(c.load(z, c.i64(0), 1), c.f32(1))); });
  CHECK(meetings(sums) == 3);  // between load and store, and at both starts
}

TEST_CASE("more parameters than a launch passes are refused") {
  Kernel kernel;
  Builder b(kernel);
  const uint32_t y = b.add_buffer(Scalar::I64, Access::Write);
  Pack sum = b.i64(0);
  for (int i = 0; i < 600; ++i) sum = b.add(sum, b.int_param(b.add_int()));
  b.store(y, b.i64(0), sum);
  CHECK_THROWS_AS(cuda::lower(kernel, "k"), Error);
}

TEST_CASE("many branches in a row take no more than their number") {
  Kernel kernel;
  Builder b(kernel);
  const uint32_t x = b.add_buffer(Scalar::F32, Access::Read);
  const uint32_t y = b.add_buffer(Scalar::F32, Access::Write);
  Pack sum = b.load(x, b.i64(0), 16);
  for (int i = 0; i < 60; ++i) {  // each doubles what is pending if both ways are kept apart
    sum = b.if_else(
        b.lt(b.range_begin(), b.i64(i)),
        [&]() -> Builder::Packs { return {b.add(sum, b.load(x, b.i64(16 * i), 16))}; },
        [&]() -> Builder::Packs { return {sum}; })[0];
  }
  b.store(y, b.i64(0), sum);
  CHECK(meetings(kernel) == 0);
}

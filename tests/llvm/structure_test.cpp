// Loops, branches, reductions, masks, gathers, scratch, checks; faults; other targets.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "jit/loop/math.h"
#include "tests/llvm/harness.h"

using namespace tenon;
using namespace tenon::test;
using loop::CheckCode;
using loop::ReduceOp;

namespace {

void require_same(const BothWays& both) {
  for (size_t i = 0; i < both.compiled.size(); ++i) {
    CHECK(first_difference(both.interpreted[i], both.compiled[i]) == -1);
  }
  CHECK(both.interpreted_error.code == both.compiled_error.code);
  CHECK(both.interpreted_error.site == both.compiled_error.site);
  CHECK(both.interpreted_error.index == both.compiled_error.index);
  CHECK(both.interpreted_error.value == both.compiled_error.value);
}

}  // namespace

TEST_CASE("a row reduction with 64 accumulators, for every length") {
  Kernel kernel;
  Builder b(kernel);
  const uint32_t x = b.add_buffer(Scalar::F32, Access::Read);
  const uint32_t y = b.add_buffer(Scalar::F32, Access::Write);
  const Pack n = b.int_param(b.add_int());
  b.for_each(b.range_begin(), b.range_end(), b.i64(1), [&](Pack row) {
    const Pack start = b.mul(row, n);
    const Pack full = b.mul(b.div(n, b.i64(64)), b.i64(64));
    const Pack identity = b.constant(Scalar::F32, -0.0, 16);
    const Pack four =
        b.pack({identity.single(), identity.single(), identity.single(), identity.single()});
    Pack sums = b.for_loop(b.i64(0), full, b.i64(64), {four}, [&](Pack i, const auto& carried) {
      const Pack at = b.unroll(b.add(start, i), 4);
      return std::vector<Pack>{b.add(carried[0], b.load(x, at, 16))};
    })[0];
    const Pack tail =
        b.for_loop(full, n, b.i64(16), {Pack(sums[0])}, [&](Pack i, const auto& carried) {
          const Pack mask = b.tail_mask(i, n);
          const Pack v = b.load(x, b.add(start, i), 16, mask, b.f32(-0.0));
          return std::vector<Pack>{b.add(carried[0], v)};
        })[0];
    sums.value[0] = tail.single();
    b.store(y, row, b.reduce(ReduceOp::Sum, b.reduce_members(ReduceOp::Sum, sums)));
  });
  REQUIRE_MESSAGE(loop::verify(kernel).empty(), loop::verify(kernel));
  for (int64_t length : {0, 1, 15, 16, 17, 63, 64, 65, 80, 200}) {
    Data data(Scalar::F32, 3 * length);
    std::mt19937 random(5);
    for (int64_t i = 0; i < 3 * length; ++i) {
      data.as<float>()[i] = std::uniform_real_distribution<float>(-1, 1)(random);
    }
    const BothWays both = run_both(kernel, {data, Data(Scalar::F32, 3)}, {length}, {}, 0, 3);
    require_same(both);
    double exact = 0;
    for (int64_t i = 0; i < length; ++i) exact += data.as<float>()[i];
    Data sums = both.compiled[1];
    CHECK(sums.as<float>()[0] == doctest::Approx(exact).epsilon(1e-4));
  }
}

TEST_CASE("horizontal reductions of every type") {
  for (Scalar type :
       {Scalar::I1, Scalar::U8, Scalar::I8, Scalar::I32, Scalar::I64, Scalar::F32, Scalar::F64}) {
    for (int op = 0; op < 6; ++op) {
      const bool is_bitwise = op >= static_cast<int>(ReduceOp::And);
      if (loop::is_float(type) && is_bitwise) continue;
      if (type == Scalar::I1 && !is_bitwise) continue;
      Kernel kernel;
      Builder b(kernel);
      const uint32_t x = b.add_buffer(type, Access::Read);
      const uint32_t y = b.add_buffer(type, Access::Write);
      b.for_each(b.range_begin(), b.range_end(), b.i64(1), [&](Pack i) {
        const Pack v = b.load(x, b.mul(i, b.i64(16)), 16);
        b.store(y, i, b.reduce(static_cast<ReduceOp>(op), v));
      });
      require_same(run_both(kernel, {special_values(type, 320, 9), Data(type, 20)}, {}, {}, 0, 20));
    }
  }
}

TEST_CASE("gather, scatter, masks and scratch") {
  Kernel kernel;
  Builder b(kernel);
  const uint32_t x = b.add_buffer(Scalar::F64, Access::Read);
  const uint32_t index = b.add_buffer(Scalar::I64, Access::Read);
  const uint32_t y = b.add_buffer(Scalar::F64, Access::ReadWrite);
  const uint32_t bytes = b.add_buffer(Scalar::I1, Access::ReadWrite);
  kernel.scratch.constant = 16 * 8;
  b.for_each(b.range_begin(), b.range_end(), b.i64(16), [&](Pack i) {
    const Pack at = b.load(index, i, 16);
    const Pack mask = b.lt(b.and_(at, b.i64(3)), b.i64(2));
    const Pack v = b.load(x, at, 16, mask, b.f64(-1));
    b.scratch_store(b.i64(0), b.i64(0), v);
    const Pack reversed = b.sub(b.i64(15), b.lane_index());
    const Pack back = b.scratch_load(Scalar::F64, b.i64(0), reversed, 16);
    b.store(y, b.add(b.lane_index(), i), back, mask);
    const Pack flags = b.load(bytes, i, 16);
    b.store(bytes, i, b.xor_(flags, mask));
    b.store(y, b.mul(i, b.i64(2)), b.extract(v, 3), b.extract(mask, 3));
    const Pack one = b.load(x, i, 1, b.extract(mask, 1), b.f64(5));
    b.store(y, i, one);
  });
  REQUIRE_MESSAGE(loop::verify(kernel).empty(), loop::verify(kernel));
  Data positions(Scalar::I64, 64);
  std::mt19937 random(2);
  for (size_t i = 0; i < 64; ++i) positions.set_bits(i, random() % 64);
  require_same(run_both(kernel,
                        {special_values(Scalar::F64, 64, 1), positions, Data(Scalar::F64, 128),
                         special_values(Scalar::I1, 64, 3)},
                        {}, {}, 0, 64));
}

TEST_CASE("branches, nested loops and scalar parameters") {
  Kernel kernel;
  Builder b(kernel);
  const uint32_t y = b.add_buffer(Scalar::F32, Access::Write);
  const Pack a = b.scalar_param(b.add_scalar(Scalar::F32));
  const Pack k = b.scalar_param(b.add_scalar(Scalar::I16));
  const Pack h = b.scalar_param(b.add_scalar(Scalar::BF16));
  b.for_each(b.range_begin(), b.range_end(), b.i64(1), [&](Pack i) {
    const auto both = b.if_else(
        b.eq(b.and_(i, b.i64(1)), b.i64(0)),
        [&]() -> Builder::Packs {
          const auto sum =
              b.for_loop(b.i64(0), i, b.i64(3), {b.f32(0), b.f32(1)},
                         [&](Pack j, const Builder::Packs& s) -> Builder::Packs {
                           return {s[1], b.add(s[0], b.cast(Scalar::F32, j))};  // swaps the two
                         });
          return {b.add(sum[0], b.mul(sum[1], a)), b.f32(2)};
        },
        [&]() -> Builder::Packs { return {b.cast(Scalar::F32, k), b.cast(Scalar::F32, h)}; });
    b.if_then(b.ne(i, b.i64(5)), [&] { b.store(y, i, b.add(both[0], both[1])); });
  });
  REQUIRE_MESSAGE(loop::verify(kernel).empty(), loop::verify(kernel));
  const std::vector<uint64_t> scalars{std::bit_cast<uint64_t>(0.1), static_cast<uint64_t>(-7),
                                      std::bit_cast<uint64_t>(3.14159)};
  require_same(run_both(kernel, {Data(Scalar::F32, 12)}, {}, scalars, 0, 12));
}

TEST_CASE("checks report the first failure by site, then by index") {
  Kernel kernel;
  Builder b(kernel);
  const uint32_t x = b.add_buffer(Scalar::I64, Access::Read);
  b.for_each(b.range_begin(), b.range_end(), b.i64(16), [&](Pack i) {
    const Pack v = b.load(x, i, 16);
    b.check(b.lt(v, b.i64(1000)), CheckCode::IndexOutOfRange, 7, b.lanes_from(i), v);
    b.check(b.ne(v, b.i64(0)), CheckCode::DivisionByZero, 3, b.lanes_from(i), v);
  });
  Data data(Scalar::I64, 64);
  for (size_t i = 0; i < 64; ++i) data.set_bits(i, i + 1);
  BothWays both = run_both(kernel, {data}, {}, {}, 0, 64);
  CHECK(!both.compiled_error.failed());
  data.set_bits(5, 5000);
  both = run_both(kernel, {data}, {}, {}, 0, 64);
  CHECK(both.compiled_error.site == 7);
  CHECK(both.compiled_error.index == 5);
  CHECK(both.compiled_error.value == 5000);
  data.set_bits(50, 0);
  data.set_bits(41, 0);
  both = run_both(kernel, {data}, {}, {}, 0, 64);
  require_same(both);
  CHECK(both.compiled_error.site == 3);
  CHECK(both.compiled_error.index == 41);
}

TEST_CASE("a failed compilation names the file that keeps the kernel") {
  const Kernel kernel = elementwise("unlucky", std::array{Scalar::F32}, Scalar::F32,
                                    [](Builder& b, const auto& x) { return b.neg(x[0]); });
  const Kernel* kernels[] = {&kernel};
  llvm_jit::fail_next_compilations(1);
  std::string message;
  try {
    llvm_jit::compile(kernels);
  } catch (const Error& error) {
    message = error.what();
  }
  const size_t at = message.find(" kept in ") + 9;
  REQUIRE(at != std::string::npos + 9);
  const std::string path = message.substr(at, message.find(';', at) - at);
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  CHECK(text.find("injected failure") != std::string::npos);
  CHECK(text.find("kernel unlucky(") != std::string::npos);
  std::remove(path.c_str());
  CHECK(llvm_jit::compile(kernels)[0]->object_bytes > 0);
}

TEST_CASE("objects for aarch64") {
  const Kernel kernel = elementwise(
      "cross", std::array{Scalar::F32}, Scalar::F32,
      [](Builder& b, const auto& x) { return emit_unary(b, loop::ScalarFn::Tanh, x[0]); });
  const auto object = llvm_jit::emit_object(kernel, "aarch64-unknown-linux-gnu", "neoverse-n1", "");
  REQUIRE(object.size() > 64);
  CHECK(std::memcmp(object.data(), "\177ELF", 4) == 0);
  CHECK(static_cast<uint8_t>(object[18]) == 183);  // EM_AARCH64
}

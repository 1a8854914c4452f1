// Runs one kernel both ways, interpreted and compiled, on the same inputs.
#pragma once

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <sstream>

#include "core/error.h"
#include "core/half.h"
#include "jit/llvm/compiler.h"
#include "jit/loop/builder.h"

namespace tenon::test {

using loop::Access;
using loop::Builder;
using loop::Kernel;
using loop::Pack;
using loop::Scalar;

// The elements of one buffer, as bytes.
struct Data {
  Scalar type;
  std::vector<std::byte> bytes;

  Data(Scalar type, size_t count) : type(type), bytes(count * loop::size_of(type)) {}
  size_t size() const { return bytes.size() / loop::size_of(type); }
  uint64_t bits(size_t i) const {
    uint64_t value = 0;
    std::memcpy(&value, bytes.data() + i * loop::size_of(type), loop::size_of(type));
    return value;
  }
  void set_bits(size_t i, uint64_t value) {
    std::memcpy(bytes.data() + i * loop::size_of(type), &value, loop::size_of(type));
  }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(bytes.data());
  }
};

inline bool is_nan_bits(Scalar type, uint64_t bits) {
  switch (type) {
    case Scalar::F16:
      return (bits & 0x7fff) > 0x7c00;
    case Scalar::BF16:
      return (bits & 0x7fff) > 0x7f80;
    case Scalar::F32:
      return (bits & 0x7fffffff) > 0x7f800000;
    case Scalar::F64:
      return (bits & 0x7fffffffffffffff) > 0x7ff0000000000000;
    default:
      return false;
  }
}

// The bits of an element; any NaN counts as one.
inline bool same_element(const Data& a, const Data& b, size_t i) {
  return a.bits(i) == b.bits(i) ||
         (is_nan_bits(a.type, a.bits(i)) && is_nan_bits(a.type, b.bits(i)));
}

// Values where functions and conversions turn, then random bits of every size.
inline Data special_values(Scalar type, size_t count, uint64_t seed) {
  Data data(type, count);
  std::mt19937_64 random(seed);
  std::vector<uint64_t> first;
  if (loop::is_float(type)) {
    for (double value : {0.0,      1.0,           0.5,       2.0,          3.0,          1.5,
                         2.5,      0.1,           10.0,      100.0,        88.7,         104.0,
                         300.0,    70000.0,       1e5,       2147483520.0, 2147483648.0, 3e10,
                         9.2e18,   1.9e19,        1e30,      1e38,         5e-324,       1e-45,
                         1e-40,    1.1754944e-38, 6e-8,      6.1e-5,       3.4028235e38, 1.7e308,
                         HUGE_VAL, 0.99999994,    1.0000001, 0.7853982,    1.5707964}) {
      for (double signed_value : {value, -value}) {
        if (type == Scalar::F16) first.push_back(float16(static_cast<float>(signed_value)).bits);
        if (type == Scalar::BF16) first.push_back(bfloat16(static_cast<float>(signed_value)).bits);
        if (type == Scalar::F32) {
          first.push_back(std::bit_cast<uint32_t>(static_cast<float>(signed_value)));
        }
        if (type == Scalar::F64) first.push_back(std::bit_cast<uint64_t>(signed_value));
      }
    }
    first.push_back(~uint64_t{0});  // NaN
  } else {
    for (int64_t value : {0, 1, -1, 2, -2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 100, -100}) {
      first.push_back(static_cast<uint64_t>(value));
    }
    const uint64_t sign = uint64_t{1} << (8 * loop::size_of(type) - 1);
    for (uint64_t value : {sign, sign - 1, sign + 1}) first.push_back(value);
  }
  for (size_t i = 0; i < count; ++i) {
    uint64_t bits = i < first.size() ? first[i] : random();
    if (i >= first.size() && !loop::is_float(type)) {
      bits = static_cast<uint64_t>(static_cast<int64_t>(bits) >> (random() % 64));
    }
    if (type == Scalar::I1) bits &= 1;
    data.set_bits(i, bits);
  }
  return data;
}

// Runs `kernel` on copies of the buffers; both ways give the buffers after it.
struct BothWays {
  std::vector<Data> interpreted;
  std::vector<Data> compiled;
  loop::ErrorSlot interpreted_error;
  loop::ErrorSlot compiled_error;
};

// Another back end's code for a kernel, if these tests judge one; none: interpreted.
inline std::function<loop::KernelFunction(const Kernel&, const std::vector<Data>&)> other_code;

inline BothWays run_both(const Kernel& kernel, const std::vector<Data>& buffers,
                         const std::vector<int64_t>& ints, const std::vector<uint64_t>& scalars,
                         int64_t begin, int64_t end, llvm_jit::Tier tier = llvm_jit::Tier::Quick) {
  BothWays result{buffers, buffers, {}, {}};
  const Kernel* kernels[] = {&kernel};
  Ref<llvm_jit::CompiledCode> code;
  if (!other_code) code = llvm_jit::compile(kernels, tier)[0];
  const auto function = code ? code->function : other_code(kernel, buffers);
  const auto scratch_bytes = static_cast<size_t>(kernel.scratch.bytes(ints.data()));
  const auto run = [&](std::vector<Data>& data, loop::ErrorSlot& error, auto&& function) {
    std::vector<void*> pointers;
    for (Data& d : data) pointers.push_back(d.bytes.data());
    std::vector<std::byte> scratch(scratch_bytes + 64);
    void* aligned = scratch.data();
    size_t space = scratch.size();
    aligned = std::align(64, scratch_bytes, aligned, space);
    function(pointers.data(), ints.data(), scalars.data(), aligned, begin, end, &error);
  };
  const auto interpret = [&](auto... arguments) { loop::interpret(kernel, arguments...); };
  run(result.interpreted, result.interpreted_error, interpret);
  if (function) {
    run(result.compiled, result.compiled_error, function);
  } else {
    run(result.compiled, result.compiled_error, interpret);
  }
  return result;
}

// Index of the first element that differs, or -1.
inline int64_t first_difference(const Data& a, const Data& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_element(a, b, i)) return static_cast<int64_t>(i);
  }
  return -1;
}

// y[i] = body(x0[i], x1[i], ...), in blocks of four vectors and a masked tail.
inline Kernel elementwise(const std::string& name, std::span<const Scalar> inputs, Scalar output,
                          const std::function<Pack(Builder&, const std::vector<Pack>&)>& body) {
  Kernel kernel;
  kernel.name = name;
  Builder b(kernel);
  std::vector<uint32_t> in;
  for (Scalar type : inputs) in.push_back(b.add_buffer(type, Access::Read));
  const uint32_t out = b.add_buffer(output, Access::Write);
  const auto emit = [&](Pack at, Pack mask) {
    std::vector<Pack> x;
    for (uint32_t buffer : in) x.push_back(b.load(buffer, at, loop::kLanes, mask));
    b.store(out, at, body(b, x), mask);
  };
  const Pack n = b.sub(b.range_end(), b.range_begin());
  const Pack full = b.mul(b.div(n, b.i64(64)), b.i64(64));
  const Pack tail = b.add(b.range_begin(), full);
  b.for_each(b.range_begin(), tail, b.i64(64), [&](Pack i) { emit(b.unroll(i, 4), {}); });
  b.for_each(tail, b.range_end(), b.i64(loop::kLanes),
             [&](Pack i) { emit(i, b.tail_mask(i, b.range_end())); });
  return kernel;
}

}  // namespace tenon::test

// A program that records for days: memory stays flat and counters pass 2^32.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>

#include "autograd/autograd.h"
#include "core/allocator.h"
#include "core/env.h"
#include "tests/trace/values.h"
#include "trace/recorder.h"

using namespace tenon;
using namespace tenon::testing;

namespace {

long resident_bytes() {
  long total = 0, resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (!file) return 0;
  if (std::fscanf(file, "%ld %ld", &total, &resident) != 2) resident = 0;
  std::fclose(file);
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace

TEST_CASE("a graph stays alive while many nodes are recorded, and memory stays flat") {
  // TENON_TEST_NODES=100000000 is the whole test; it takes minutes.
  const int64_t nodes = env_int("TENON_TEST_NODES", 2'000'000, 100'000, int64_t{1} << 40);
  start_sequences_at((uint64_t{1} << 32) - 20);
  flush();
  const Tensor w = tensor({2}, {1, 2});
  w.set_requires_grad(true);
  const Tensor early = mul(mul(w, w), w);
  const Tensor y = ramp({2}, 1, 1);
  Tensor x = ramp({2});
  long settled = 0;
  uint64_t allocated = 0;
  for (int64_t i = 0; i < nodes; i += 3) {  // a literal, a product and a sum a step
    x = apply([](Value a, Value b) { return a * 0.5 + b; }, x, y);
    if (i % 30'000 == 0) autograd::backward(sum(mul(x, w)));
    if (i >= nodes / 2 && settled == 0) {
      flush();
      settled = resident_bytes();
      allocated = allocator_stats().allocated;
    }
  }
  CHECK(read(x) == std::vector<float>{2, 4});
  CHECK(recorder().segment->sequence > uint64_t{1} << 32);
  const long growth = resident_bytes() - settled;
  MESSAGE("resident bytes gained in the second half: ", growth);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(growth < 4 << 20);
#endif
  CHECK(allocator_stats().allocated <= allocated + 1024);
  w.set_grad(Tensor());
  autograd::backward(sum(early));
  CHECK(read(w.grad()) == std::vector<float>{3, 12});
}

TEST_CASE("counters of calls and versions go past 2^32") {
  default_generator() = {7, (uint64_t{1} << 32) - 1};
  const Tensor x = apply([](Value) { return random_bits({{4}}); }, ramp({1}));
  const Tensor y = apply([](Value) { return random_bits({{4}}); }, ramp({1}));
  CHECK(read<uint32_t>(x) != read<uint32_t>(y));
  default_generator() = {7, 0};
  const Tensor z = apply([](Value) { return random_bits({{4}}); }, ramp({1}));
  CHECK(read<uint32_t>(y) != read<uint32_t>(z));
  const Tensor written = ramp({2});
  const Tensor view = narrow(written, 0, 1, 1);
  written.cell()->version = ~uint32_t{0};
  CHECK(read(scale(view, 1)) == std::vector<float>{1});
  update(written, [](Value v) { return v + 1.0; });
  CHECK(read(scale(view, 1)) == std::vector<float>{2});
}

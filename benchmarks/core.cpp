// What the hot paths of core/ cost.
//
//   ninja -C build benchmarks/benchmark_core && build/benchmarks/benchmark_core
#include <fmt/format.h>

#include <atomic>
#include <vector>

#include "benchmarks/timing.h"
#include "core/allocator.h"
#include "core/hash.h"
#include "core/threads.h"
#include "core/types.h"

using namespace tenon;

namespace {

constexpr int kInner = 20000;

template <class F>
void report(const char* what, F&& run, int inner = kInner) {
  const benchmarks::Timing timing = benchmarks::measure(run, inner, 0.3);
  fmt::print("{:<58}{:>10.1f} ns (median {:.1f})\n", what, timing.best * 1e9, timing.median * 1e9);
}

std::atomic<std::uint64_t> g_sink{0};

}  // namespace

int main() {
  const Dims dims{32, 128, 512};
  const Dims transposed{128, 1, 4096};
  std::uint64_t sum = 0;
  report("intern_contiguous, rank 3, seen",
         [&] { sum += intern_contiguous(DType::Float32, kCPU, dims); });
  report("intern with strides, rank 3, seen",
         [&] { sum += intern(DType::Float32, kCPU, dims, transposed); });
  std::vector<Dims> many;
  for (std::int64_t i = 0; i < 256; ++i) many.push_back({i + 1, 128, 512});
  std::size_t next = 0;
  report("intern_contiguous, 256 types in turn",
         [&] { sum += intern_contiguous(DType::Float32, kCPU, many[next++ & 255]); });
  std::int64_t fresh = 0;
  report(
      "intern_contiguous, never seen",
      [&] { sum += intern_contiguous(DType::Int8, kCPU, Dims{++fresh, 3}); }, 1000);
  std::vector<TypeId> ids;
  for (const Dims& d : many) ids.push_back(intern_contiguous(DType::Float32, kCPU, d));
  report("type_of(id).numel, 256 types in turn",
         [&] { sum += static_cast<std::uint64_t>(type_of(ids[next++ & 255]).numel); });
  g_sink += sum;

  for (const std::size_t bytes : {std::size_t{256}, std::size_t{65536}, std::size_t{64} << 20}) {
    report(fmt::format("allocate and free {} bytes", bytes).c_str(), [&] { allocate(bytes); });
  }
  std::vector<std::byte> data(1024);
  report("hash128 of 1 KiB", [&] { sum += hash128(std::span<const std::byte>(data)).low; });

  for (const int threads : {1, 2, num_threads()}) {
    set_num_threads(threads);
    report(fmt::format("parallel_for of 8 empty chunks, {} threads", threads).c_str(), [] {
      parallel_for(8, 1, [](std::int64_t begin, std::int64_t) {
        g_sink.store(static_cast<std::uint64_t>(begin), std::memory_order_relaxed);
      });
    });
  }
  report("parallel_for below its grain", [] {
    parallel_for(8, 16, [](std::int64_t begin, std::int64_t) {
      g_sink.store(static_cast<std::uint64_t>(begin), std::memory_order_relaxed);
    });
  });
  g_sink += sum;
}

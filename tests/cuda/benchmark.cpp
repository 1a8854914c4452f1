// Figures for kernels on a device, beside its copy of as many bytes: gigabytes a second of what a
// program has to read and write. Run by hand: tests/cuda/bench_cuda [elements], 2^24 unless said.
// With --emulated it runs on the fake driver, which shows no more than that it runs.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "jit/cuda/runtime.h"
#include "jit/plan/executor.h"
#include "tests/cuda/emulator.h"
#include "tests/cuda/fake_driver.h"
#include "tests/jit/program_builder.h"

using namespace tenon;
using namespace tenon::test;

namespace {

using Build = std::function<void(ProgramBuilder&)>;
constexpr int kRuns = 20;

// The least milliseconds of several runs, each waited for.
double best_of(cuda::Runtime& device, const std::function<void()>& run) {
  run();  // compiles, and fills the allocator's cache
  device.stream().synchronize();
  double best = INFINITY;
  for (int i = 0; i < kRuns; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    device.stream().synchronize();
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
    best = std::min(best, time.count());
  }
  return best;
}

int64_t bytes_of(TypeId type) {
  return type_of(type).numel * static_cast<int64_t>(size_of(type_of(type).dtype));
}

void measure(cuda::Runtime& device, const std::string& name, const Build& build) {
  ProgramBuilder p;
  build(p);
  Program& program = p.program();
  jit::set_mode(jit::Mode::Device);
  jit::Plan& plan = jit::plan_for(program);
  int64_t bytes = 0;
  for (Buffer& input : program.inputs) {
    bytes += bytes_of(input.type);
    input.storage = device.to_device(input.storage->data(), input.storage->bytes());
  }
  for (const uint32_t output : program.outputs) bytes += bytes_of(program.nodes[output].type);
  const double time = best_of(device, [&] { plan.run_on(device, program); });
  const auto half = static_cast<size_t>(bytes / 2);
  const Ref<Storage> from = device.allocate(half), to = device.allocate(half);
  const double copy = best_of(device, [&] {
    device.stream().copy(reinterpret_cast<cuda::DeviceAddress>(to->data()),
                         reinterpret_cast<cuda::DeviceAddress>(from->data()), half);
  });
  fmt::print("{:34} {:9.3f} ms {:8.0f} GB/s {:4.0f} % of a copy, {} kernels\n", name, time,
             static_cast<double>(bytes) / time / 1e6, 100 * copy / time, plan.kernel_count());
}

uint32_t softmax(ProgramBuilder& p, uint32_t x) {
  const uint32_t e = p.unary(Op::Exp, p.binary(Op::Sub, x, p.reduce_keep(Op::ReduceMax, x, {1})));
  return p.binary(Op::Div, e, p.reduce_keep(Op::ReduceSum, e, {1}));
}

void measure_all(cuda::Runtime& device, int64_t n) {
  const auto input = [](ProgramBuilder& p, std::vector<int64_t> dims, uint64_t seed) {
    return p.input(random_array(std::move(dims), seed));
  };
  fmt::print("{}, sm_{}, {} threads, {} elements\n", device.device().name(),
             device.device().architecture(), device.device().threads(), n);
  measure(device, "x + y",
          [&](auto& p) { p.output(p.binary(Op::Add, input(p, {n}, 1), input(p, {n}, 2))); });
  measure(device, "tanh(x*y+sin(x))*exp(-y*y)+x", [&](auto& p) {
    const uint32_t x = input(p, {n}, 1), y = input(p, {n}, 2);
    const uint32_t a =
        p.unary(Op::Tanh, p.binary(Op::Add, p.binary(Op::Mul, x, y), p.unary(Op::Sin, x)));
    const uint32_t b = p.unary(Op::Exp, p.binary(Op::Mul, p.unary(Op::Neg, y), y));
    p.output(p.binary(Op::Add, p.binary(Op::Mul, a, b), x));
  });
  for (const int64_t columns : {int64_t{256}, int64_t{4096}, int64_t{50304}}) {
    const int64_t rows = std::max<int64_t>(1, n / columns);
    const std::vector<int64_t> dims{rows, columns};
    const std::string shape = fmt::format(" {}x{}", rows, columns);
    measure(device, "exp(x) transposed" + shape, [&](auto& p) {
      p.output(p.node(Op::Permute, {p.unary(Op::Exp, input(p, dims, 1))}, {1, 0}));
    });
    measure(device, "sum of rows" + shape,
            [&](auto& p) { p.output(p.reduce(Op::ReduceSum, input(p, dims, 1), {1})); });
    measure(device, "sum of columns" + shape,
            [&](auto& p) { p.output(p.reduce(Op::ReduceSum, input(p, dims, 1), {0})); });
    measure(device, "softmax of rows" + shape,
            [&](auto& p) { p.output(softmax(p, input(p, dims, 1))); });
    measure(device, "cumsum of rows" + shape,
            [&](auto& p) { p.output(p.node(Op::Cumsum, {input(p, dims, 1)}, {1})); });
    measure(device, "rows by index" + shape, [&](auto& p) {
      const uint32_t index = p.input(random_index({rows}, 2, rows));
      p.output(p.node(Op::Gather, {input(p, dims, 1), index}, {0}));
    });
  }
  measure(device, "sum of all",
          [&](auto& p) { p.output(p.reduce(Op::ReduceSum, input(p, {n}, 1), {0})); });
}

std::vector<cuda::CompiledKernel> emulated(std::span<const loop::Kernel* const> kernels, int) {
  return emulate(kernels).cubins;
}

}  // namespace

int main(int argc, char** argv) {
  int64_t elements = int64_t{1} << 24;
  bool is_emulated = false;
  for (int i = 1; i < argc; ++i) {
    is_emulated |= std::string_view(argv[i]) == "--emulated";
    if (const int64_t number = std::atoll(argv[i]); number > 0) elements = number;
  }
  if (is_emulated) {
    fake_reset(size_t{1} << 32);
    cuda::use_driver_library(TENON_FAKE_DRIVER);
  } else if (const std::string reason = cuda::why_unavailable(); !reason.empty()) {
    fmt::print("no CUDA: {}\n", reason);
    return 1;
  }
  try {
    cuda::Runtime device(0, is_emulated ? emulated : cuda::Runtime::Compile(cuda::compile));
    measure_all(device, elements);
  } catch (const Error& error) {
    fmt::print("{}\n", error.what());
    return 1;
  }
  return 0;
}

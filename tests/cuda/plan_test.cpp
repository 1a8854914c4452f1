// Plans on the fake device where something goes wrong: the error tells what, nothing is left
// behind, no input is written, and the next run works.
#include <doctest/doctest.h>

#include "core/allocator.h"
#include "core/error.h"
#include "jit/cuda/runtime.h"
#include "jit/plan/executor.h"
#include "tests/cuda/emulator.h"
#include "tests/cuda/fake_device.h"
#include "tests/jit/program_builder.h"
#include "trace/executor.h"

using namespace tenon;
using namespace tenon::test;

namespace {

std::vector<cuda::CompiledKernel> emulated(std::span<const loop::Kernel* const> kernels, int) {
  return emulate(kernels).cubins;
}

jit::Plan& plan_of(const Program& program) {
  jit::set_mode(jit::Mode::Device);
  jit::Plan& plan = jit::plan_for(program);
  jit::set_mode(jit::Mode::Fused);
  return plan;
}

// exp(x)[index] added to y, which may be overwritten.
void gather_rows(ProgramBuilder& p, int64_t bad_index) {
  Array index = random_index({9}, 2, 20);
  if (bad_index != 0) index.values[4] = static_cast<double>(bad_index);
  const uint32_t x = p.input(random_array({20, 7}, 1));
  const uint32_t rows = p.node(Op::Gather, {p.unary(Op::Exp, x), p.input(index)}, {0});
  p.output(p.binary(Op::Add, p.input(random_array({9, 7}, 3), true), rows));
}

std::vector<Buffer> run_on(cuda::Runtime& device, Program& program) {
  std::vector<Buffer> outputs = plan_of(program).run_on(device, program);
  for (Buffer& output : outputs) {
    Ref<Storage> host = allocate(output.storage->bytes());
    device.to_host(host->data(), *output.storage, 0, host->bytes());
    output.storage = std::move(host);
  }
  return outputs;
}

void move_inputs(cuda::Runtime& device, Program& program) {
  for (Buffer& input : program.inputs) {
    input.storage = device.to_device(input.storage->data(), input.storage->bytes());
  }
}

}  // namespace

TEST_CASE("an index out of bounds raises, and the device goes on") {
  if (!kCanEmulate) return;
  const FakeDevice fake;
  cuda::Runtime device(0, emulated);
  for (const int64_t bad : {int64_t{20}, int64_t{-21}, int64_t{0}}) {
    INFO(bad);
    ProgramBuilder p, on_host;
    gather_rows(p, bad);
    gather_rows(on_host, bad);
    move_inputs(device, p.program());
    if (bad == 0) {
      const auto got = run_on(device, p.program());
      CHECK(bits_of(got) == bits_of(plan_of(on_host.program()).run(on_host.program())));
      continue;
    }
    std::string on_device, on_cpu;
    try {
      run_on(device, p.program());
    } catch (const DataError& error) {
      on_device = error.what();
    }
    try {
      plan_of(on_host.program()).run(on_host.program());
    } catch (const DataError& error) {
      on_cpu = error.what();
    }
    CHECK(on_cpu.find("is out of bounds for dimension 0 with size 20") != std::string::npos);
    CHECK(on_device == on_cpu);
    std::vector<float> kept(9 * 7), first(9 * 7);  // what could have been donated
    device.to_host(kept.data(), *p.program().inputs[2].storage, 0, kept.size() * 4);
    std::memcpy(first.data(), on_host.program().inputs[2].storage->data(), first.size() * 4);
    CHECK(kept == first);
  }
}

TEST_CASE("a plan that fails half way leaves nothing behind") {
  if (!kCanEmulate) return;
  const FakeDevice fake;
  cuda::Runtime device(0, emulated);
  for (const char* call : {"cuMemAlloc", "cuMemsetD8Async", "cuLaunchKernel", "cuMemcpyDtoHAsync",
                           "cuStreamSynchronize", "cuModuleLoadData"}) {
    INFO(call);
    ProgramBuilder p;
    gather_rows(p, 0);
    move_inputs(device, p.program());
    device.memory().trim();
    cuda::Runtime fresh(0, emulated);  // with its code still to be loaded
    cuda::Runtime& at = std::string(call) == "cuModuleLoadData" ? fresh : device;
    fake_fail(call, 0, 1, 719);
    std::string message;
    try {
      run_on(at, p.program());
    } catch (const Error& error) {
      message = error.what();
    }
    CHECK(message.find("CUDA_ERROR_LAUNCH_FAILED") != std::string::npos);
    p.program().inputs.clear();
    CHECK(device.memory().stats().allocated == 0);
  }
  ProgramBuilder p;
  gather_rows(p, 0);
  move_inputs(device, p.program());
  CHECK(run_on(device, p.program()).size() == 1);
}

TEST_CASE("a step without code for devices is named before anything runs") {
  const FakeDevice fake;
  cuda::Runtime device(0, emulated);
  ProgramBuilder p;
  const uint32_t x = p.input(random_array({3, 4}, 1));
  p.output(p.node(Op::Argsort, {p.unary(Op::Exp, x)}, {1, 0}));
  move_inputs(device, p.program());
  std::string message;
  try {
    run_on(device, p.program());
  } catch (const Error& error) {
    message = error.what();
    CHECK(error.kind() == ErrorKind::NotImplemented);
  }
  CHECK(message == "argsort is not computed on CUDA devices yet; move its operands to the CPU");
  CHECK(fake_calls("cuLaunchKernel") == 0);
}

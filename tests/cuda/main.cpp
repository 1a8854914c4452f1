// The tests of the loop IR's operations (tests/llvm) and of programs (tests/jit) run twice: on the
// interpreter, which meets all their kernels; then with these kernels as CUDA C++ on the emulated
// device, and as plans of a CUDA device on the fake driver. The bits have to be the same.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include "core/allocator.h"
#include "jit/cuda/runtime.h"
#include "jit/plan/kernel_table.h"
#include "tests/cuda/emulator.h"
#include "tests/cuda/fake_device.h"
#include "tests/cuda/generated.h"
#include "tests/jit/harness.h"
#include "tests/llvm/harness.h"

using namespace tenon;
using namespace tenon::test;

namespace {

// What is about LLVM, or about functions' errors on millions of values.
constexpr const char* kOthers =
    "*within their bound*,digamma and erfinv*,integer powers*,a failed compilation*,"
    "objects for aarch64";

int run_tests(int argc, char** argv) {
  doctest::Context context(argc, argv);
  context.addFilter("test-case-exclude", kOthers);
  return context.run();
}

struct Generated {
  std::vector<loop::Kernel> kernels;
  Emulated emulated;
  std::map<std::vector<std::byte>, size_t> numbers;  // by canonical form: in the lists above

  void add(const loop::Kernel& kernel) {
    if (numbers.emplace(loop::canonical_form(kernel), kernels.size()).second) {
      kernels.push_back(kernel);
    }
  }
  size_t number(const loop::Kernel& kernel) const {
    return numbers.at(loop::canonical_form(kernel));
  }
};
Generated generated;

// Every kernel that was interpreted, from now on emulated.
void emulate_all() {
  std::vector<jit::CompiledKernel*> interpreted;
  for (jit::CompiledKernel* kernel : jit::known_kernels()) {
    if (kernel->later || kernel->function.load()) continue;
    interpreted.push_back(kernel);
    generated.add(kernel->code);
  }
  generated.emulated = emulate(generated_kernels());
  for (jit::CompiledKernel* kernel : interpreted) {
    kernel->function.store(generated.emulated.functions[generated.number(kernel->code)]);
  }
  std::printf("%zu kernels on the emulated device\n", generated.kernels.size());
}

std::vector<cuda::CompiledKernel> known_cubins(std::span<const loop::Kernel* const> kernels, int) {
  std::vector<cuda::CompiledKernel> result;
  for (const loop::Kernel* kernel : kernels) {
    result.push_back(generated.emulated.cubins[generated.number(*kernel)]);
  }
  return result;
}

int refused_programs = 0;  // with a step that has no code for devices

// The same program with its inputs and outputs on the fake device.
void check_on_device(const Build& build, const std::string& expected) {
  const FakeDevice fake;
  cuda::Runtime device(0, known_cubins);
  ProgramBuilder p;
  build(p);
  Program& program = p.program();
  jit::set_mode(jit::Mode::Interpret);
  jit::Plan& plan = jit::plan_for(program);
  jit::set_mode(jit::Mode::Fused);
  for (Buffer& input : program.inputs) {
    input.storage = device.to_device(input.storage->data(), input.storage->bytes());
  }
  std::vector<Buffer> outputs;
  try {
    outputs = plan.run_on(device, program);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::NotImplemented);
    CHECK(fake_calls("cuLaunchKernel") == 0);
    ++refused_programs;
    return;
  }
  for (Buffer& output : outputs) {
    Ref<Storage> host = allocate(output.storage->bytes());
    device.to_host(host->data(), *output.storage, 0, host->bytes());
    output.storage = std::move(host);
  }
  CHECK_MESSAGE(bits_of(outputs) == expected, "the plan on the fake device gives other bits");
}

}  // namespace

std::vector<const loop::Kernel*> tenon::test::generated_kernels() {
  std::vector<const loop::Kernel*> result;
  for (const loop::Kernel& kernel : generated.kernels) result.push_back(&kernel);
  return result;
}

int main(int argc, char** argv) {
  setenv("TENON_CACHE", "0", 1);
  std::vector<std::string> expected;
  other_check = [&](const Build& build) {
    expected.push_back(bits_of(run(build, jit::Mode::Interpret)));
  };
  other_code = [](const loop::Kernel& kernel) -> loop::KernelFunction {
    generated.add(kernel);
    return nullptr;
  };
  if (const int failed = run_tests(argc, argv)) return failed;
  emulate_all();
  const auto check_emulation = [] {
    const std::string failure = emulation_failure();
    CHECK_MESSAGE(failure.empty(), failure);
  };
  size_t next = 0;
  other_check = [&](const Build& build) {
    const std::string bits = bits_of(run(build, jit::Mode::Interpret));
    check_emulation();
    REQUIRE(next < expected.size());
    CHECK_MESSAGE(bits == expected[next], "the emulated device gives other bits");
    check_on_device(build, expected[next]);
    ++next;
  };
  other_code = [&](const loop::Kernel& kernel) {
    check_emulation();
    return generated.emulated.functions[generated.number(kernel)];
  };
  const int failed = run_tests(argc, argv);
  std::printf("%zu programs on the fake device; %d have steps without code for devices\n", next,
              refused_programs);
  return failed;
}

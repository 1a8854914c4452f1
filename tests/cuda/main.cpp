// The tests of the loop IR's operations (tests/llvm) and of programs (tests/jit) run twice: on the
// interpreter, which meets all their kernels; then with these kernels as CUDA C++ on the emulated
// device. The bits have to be the same.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include "jit/plan/kernel_table.h"
#include "tests/cuda/emulator.h"
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
  std::map<std::vector<std::byte>, loop::KernelFunction> functions;  // by canonical form
};
Generated generated;

// Every kernel that was interpreted, from now on emulated.
void emulate_all() {
  std::vector<jit::CompiledKernel*> interpreted;
  for (jit::CompiledKernel* kernel : jit::known_kernels()) {
    if (kernel->later || kernel->function.load()) continue;
    interpreted.push_back(kernel);
    if (generated.functions.emplace(loop::canonical_form(kernel->code), nullptr).second) {
      generated.kernels.push_back(kernel->code);
    }
  }
  const auto functions = emulate(generated_kernels());
  for (size_t i = 0; i < functions.size(); ++i) {
    generated.functions[loop::canonical_form(generated.kernels[i])] = functions[i];
  }
  for (jit::CompiledKernel* kernel : interpreted) {
    kernel->function.store(generated.functions[loop::canonical_form(kernel->code)]);
  }
  std::printf("%zu kernels on the emulated device\n", functions.size());
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
    if (generated.functions.emplace(loop::canonical_form(kernel), nullptr).second) {
      generated.kernels.push_back(kernel);
    }
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
    CHECK_MESSAGE(bits == expected[next++], "the emulated device gives other bits");
  };
  other_code = [&](const loop::Kernel& kernel) {
    check_emulation();
    return generated.functions.at(loop::canonical_form(kernel));
  };
  return run_tests(argc, argv);
}

// The programs of tests/jit run twice: on the interpreter, which meets all their kernels; then with
// these kernels as CUDA C++ on the emulated device. The bits have to be the same.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

#include "jit/plan/kernel_table.h"
#include "tests/cuda/emulator.h"
#include "tests/jit/harness.h"

using namespace tenon;
using namespace tenon::test;

namespace {

int run_tests(int argc, char** argv) {
  doctest::Context context(argc, argv);
  return context.run();
}

// Every kernel that the interpreter has run, from now on emulated.
void emulate_known_kernels() {
  std::vector<jit::CompiledKernel*> interpreted;
  std::vector<const loop::Kernel*> codes;
  for (jit::CompiledKernel* kernel : jit::known_kernels()) {
    if (kernel->later || kernel->function.load()) continue;
    interpreted.push_back(kernel);
    codes.push_back(&kernel->code);
  }
  const auto functions = emulate(codes);
  for (size_t i = 0; i < interpreted.size(); ++i) interpreted[i]->function.store(functions[i]);
  std::printf("%zu kernels on the emulated device\n", codes.size());
}

}  // namespace

int main(int argc, char** argv) {
  setenv("TENON_CACHE", "0", 1);
  std::vector<std::string> expected;
  other_check = [&](const Build& build) {
    expected.push_back(bits_of(run(build, jit::Mode::Interpret)));
  };
  if (const int failed = run_tests(argc, argv)) return failed;
  emulate_known_kernels();
  size_t next = 0;
  other_check = [&](const Build& build) {
    const std::string bits = bits_of(run(build, jit::Mode::Interpret));
    const std::string failure = emulation_failure();
    CHECK_MESSAGE(failure.empty(), failure);
    REQUIRE(next < expected.size());
    CHECK_MESSAGE(bits == expected[next++], "the emulated device gives other bits");
  };
  return run_tests(argc, argv);
}

// The same tests with the JIT.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "jit/plan/executor.h"
#include "tests/trace/counting_executor.h"

namespace tenon::testing {

CountingExecutor& executor_under_test() {
  static CountingExecutor counting([]() -> Executor& {
    jit::install();
    return executor();
  }());
  return counting;
}

}  // namespace tenon::testing

int main(int argc, char** argv) {
  tenon::set_executor(&tenon::testing::executor_under_test());
  tenon::jit::set_early_work(0);
  const int result = doctest::Context(argc, argv).run();
  const tenon::jit::Counters made = tenon::jit::counters();
  fmt::print("plans made: {}, kernels: {} ({} compiled), steps run early: {}\n", made.plans,
             made.kernels, made.compiled, made.early_steps);
  return result;
}

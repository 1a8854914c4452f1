// The tests with the reference executor: nothing of jit/ takes part.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "tests/trace/counting_executor.h"
#include "tests/trace/reference/executor.h"

namespace tenon::testing {

CountingExecutor& executor_under_test() {
  static reference::ReferenceExecutor reference;
  static CountingExecutor counting(reference);
  return counting;
}

}  // namespace tenon::testing

int main(int argc, char** argv) {
  tenon::set_executor(&tenon::testing::executor_under_test());
  return doctest::Context(argc, argv).run();
}

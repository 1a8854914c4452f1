#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "tests/trace/reference/executor.h"

int main(int argc, char** argv) {
  static tenon::reference::ReferenceExecutor executor;
  tenon::set_executor(&executor);
  return doctest::Context(argc, argv).run();
}

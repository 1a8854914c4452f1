#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "tests/trace/reference/executor.h"

int main(int argc, char** argv) {
  tenon::set_executor(&tenon::reference::installed());
  return doctest::Context(argc, argv).run();
}

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "jit/plan/executor.h"

int main(int argc, char** argv) {
  tenon::jit::install();
  return doctest::Context(argc, argv).run();
}

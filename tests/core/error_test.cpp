#include "core/error.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/core/expect_error.h"

using namespace tenon;

TEST_CASE("fail formats its message and keeps its kind") {
  testing::expect_error(ErrorKind::Index, {"index 7 is out of bounds for size 3"}, [] {
    fail(ErrorKind::Index, "index {} is out of bounds for size {}", 7, 3);
  });
}

TEST_CASE("check fails only when its condition does not hold") {
  CHECK_NOTHROW(check(true, ErrorKind::Value, "never {}", 1));
  testing::expect_error(ErrorKind::Value, {"now 1"},
                        [] { check(false, ErrorKind::Value, "now {}", 1); });
}

TEST_CASE("an error can be completed on its way") {
  Error error(ErrorKind::Runtime, "the shapes don't broadcast");
  error.prepend("add: ");
  error.append(" (line 3)");
  CHECK(std::string(error.what()) == "add: the shapes don't broadcast (line 3)");
}

TEST_CASE("braces in arguments are not formatted again") {
  testing::expect_error(ErrorKind::Runtime, {"got {0} {}"},
                        [] { fail(ErrorKind::Runtime, "got {}", "{0} {}"); });
}

TEST_CASE("every kind has a name") {
  for (int kind = 0; kind <= static_cast<int>(ErrorKind::OS); ++kind) {
    CHECK(name_of(static_cast<ErrorKind>(kind)).size() > 3);
  }
}

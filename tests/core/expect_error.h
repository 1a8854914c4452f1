// Checks that a call fails with the right kind of error and says the right things.
#pragma once

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>

#include "core/error.h"

namespace tenon::testing {

template <class F>
void expect_error(ErrorKind kind, std::initializer_list<const char*> parts, F&& call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(name_of(error.kind()) == name_of(kind));
    const std::string message = error.what();
    for (const char* part : parts) {
      CAPTURE(message);
      CAPTURE(part);
      CHECK(message.find(part) != std::string::npos);
    }
    return;
  }
  FAIL_CHECK("no error was raised");
}

}  // namespace tenon::testing

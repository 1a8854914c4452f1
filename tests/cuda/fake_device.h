// The fake driver from construction to destruction; then nothing may be left, nor have been done
// wrong.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "jit/cuda/driver.h"
#include "tests/cuda/fake_driver.h"

namespace tenon::test {

class FakeDevice {
 public:
  explicit FakeDevice(size_t memory = size_t{1} << 26) {
    fake_reset(memory);
    cuda::use_driver_library(TENON_FAKE_DRIVER);
  }
  ~FakeDevice() {
    CHECK(std::string(fake_violations()) == "");
    for (const char* what : {"memory", "pinned", "stream", "event", "module"}) {
      INFO(what);
      CHECK(fake_count(what) == 0);
    }
    fake_set_version(13000);
    fake_set_devices(1);
    cuda::use_driver_library("");
  }
  FakeDevice(const FakeDevice&) = delete;
};

}  // namespace tenon::test

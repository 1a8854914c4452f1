#include "core/device.h"

#include <doctest/doctest.h>

#include "tests/core/expect_error.h"

using namespace tenon;

TEST_CASE("devices print and parse") {
  CHECK(parse_device("cpu") == kCPU);
  CHECK(parse_device("cpu:0") == kCPU);
  CHECK(parse_device("meta") == kMeta);
  CHECK(parse_device("cuda") == Device{Device::Kind::CUDA, 0});
  CHECK(parse_device("cuda:127") == Device{Device::Kind::CUDA, 127});
  CHECK(to_string(kCPU) == "cpu");
  CHECK(to_string(kMeta) == "meta");
  CHECK(to_string(Device{Device::Kind::CUDA, 3}) == "cuda:3");
  CHECK(parse_device(to_string(Device{Device::Kind::CUDA, 3})).index == 3);
}

TEST_CASE("strings that name no device") {
  for (const char* text : {"", "foo", "CPU", "cuda:", "cuda:-1", "cuda:x", "cuda:1x", "cuda:128",
                           "cuda:01", "cuda:99999999999999999999", " cpu", "cuda::1", ":0"}) {
    CAPTURE(text);
    testing::expect_error(ErrorKind::Runtime, {"Invalid device string", text},
                          [&] { parse_device(text); });
  }
}

#include "core/device.h"

#include <charconv>

#include "core/error.h"

namespace tenon {

std::string_view name_of(Device::Kind kind) {
  switch (kind) {
    case Device::Kind::CPU:
      return "cpu";
    case Device::Kind::CUDA:
      return "cuda";
    case Device::Kind::Meta:
      return "meta";
  }
  return "?";
}

Device parse_device(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  Device device;
  if (name == "cpu") {
    device.kind = Device::Kind::CPU;
  } else if (name == "cuda") {
    device.kind = Device::Kind::CUDA;
  } else if (name == "meta") {
    device.kind = Device::Kind::Meta;
  } else {
    fail(ErrorKind::Runtime, "Invalid device string: '{}': expected cpu, cuda, cuda:N or meta",
         text);
  }
  if (colon == std::string_view::npos) return device;

  const std::string_view digits = text.substr(colon + 1);
  unsigned index = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  check(error == std::errc() && end == digits.data() + digits.size() && index <= 127 &&
            (digits.size() == 1 || digits[0] != '0'),
        ErrorKind::Runtime, "Invalid device string: '{}': the index must be a number in 0..127",
        text);
  // There is one CPU and one meta device; as PyTorch does, any index of them is taken.
  if (device.is_cuda()) device.index = static_cast<std::int8_t>(index);
  return device;
}

std::string to_string(Device device) {
  if (!device.is_cuda()) return std::string(name_of(device.kind));
  return fmt::format("cuda:{}", device.index);
}

}  // namespace tenon

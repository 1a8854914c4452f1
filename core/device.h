// Where a tensor's elements live.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tenon {

struct Device {
  enum class Kind : std::uint8_t { CPU, CUDA, Meta };

  Kind kind = Kind::CPU;
  std::int8_t index = 0;  // always 0 but for CUDA

  constexpr bool operator==(const Device&) const = default;
  constexpr bool is_cpu() const { return kind == Kind::CPU; }
  constexpr bool is_cuda() const { return kind == Kind::CUDA; }
  constexpr bool is_meta() const { return kind == Kind::Meta; }
};

inline constexpr Device kCPU{Device::Kind::CPU, 0};
inline constexpr Device kMeta{Device::Kind::Meta, 0};

// "cpu", "cpu:0", "cuda", "cuda:1", "meta". Runtime error, naming what is allowed, for the rest.
Device parse_device(std::string_view text);
// "cpu", "cuda:1", "meta".
std::string to_string(Device device);
std::string_view name_of(Device::Kind kind);

}  // namespace tenon

// What a cubin says about its kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace tenon::cuda {

struct CubinInfo {
  std::string symbol;         // of the one kernel
  uint32_t architecture = 0;  // 90 for sm_90
  uint32_t registers = 0;     // of a thread
  uint32_t shared_bytes = 0;  // of a block, as far as the text fixes them
  uint32_t stack_bytes = 0;   // of a thread: spilled registers, and arrays that aren't in registers
};

// Nothing if it is no cubin with exactly one kernel.
std::optional<CubinInfo> read_cubin(std::span<const std::byte> cubin);

}  // namespace tenon::cuda

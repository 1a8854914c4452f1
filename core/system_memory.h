// What memory this process may use: the machine's, or less in a control group.
#pragma once

#include <cstddef>

namespace tenon {

struct SystemMemory {
  std::size_t total = 0;
  std::size_t available = 0;  // without swapping, an estimate; SIZE_MAX if the system won't say
};

// Reads /proc and /sys: tens of microseconds.
SystemMemory system_memory();

}  // namespace tenon

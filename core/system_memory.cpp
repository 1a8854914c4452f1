#include "core/system_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>

namespace tenon {

namespace {

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Close>;

// The number in a file of control groups; SIZE_MAX for "max", or where there is no such file.
std::size_t read_number(const char* path) {
  const File file(std::fopen(path, "re"));
  unsigned long long value = 0;
  if (!file || std::fscanf(file.get(), "%llu", &value) != 1) return SIZE_MAX;
  return value;
}

void read_meminfo(SystemMemory& memory) {
  const File file(std::fopen("/proc/meminfo", "re"));
  if (!file) return;
  char line[256];
  unsigned long long kib = 0;
  while (std::fgets(line, sizeof(line), file.get())) {
    if (std::sscanf(line, "MemTotal: %llu kB", &kib) == 1) memory.total = kib << 10;
    if (std::sscanf(line, "MemAvailable: %llu kB", &kib) == 1) memory.available = kib << 10;
  }
}

// Version 2 of control groups, or version 1. A container sees its own group at the root.
void read_control_group(SystemMemory& memory) {
  // The group's usage counts page cache that would be given back, so only its limit is used.
  const std::size_t limit = std::min(read_number("/sys/fs/cgroup/memory.max"),
                                     read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
  memory.total = std::min(memory.total, limit);
  memory.available = std::min(memory.available, limit);
}

}  // namespace

SystemMemory system_memory() {
  SystemMemory memory;
  memory.available = SIZE_MAX;
  const long pages = sysconf(_SC_PHYS_PAGES);
  memory.total =
      pages > 0 ? static_cast<std::size_t>(pages) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE))
                : SIZE_MAX;
  read_meminfo(memory);
  read_control_group(memory);
  return memory;
}

}  // namespace tenon

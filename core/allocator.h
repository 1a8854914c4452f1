// The caching allocator of host memory.
//
// Fresh pages are dear (a 64 MiB buffer costs 40 ms in page faults, 1 ms reused), so freed blocks
// are kept by size class, at most cache_limit() bytes of them. Blocks are 64-byte aligned; those of
// 2 MiB and more are 2 MiB aligned and ask for huge pages, and those from 64 KiB on are cut from
// chunks of huge pages (see core/chunks.h). Contents are undefined. Thread-safe. When the system
// has no more, the cache is trimmed and the request retried before OutOfMemory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/ref.h"
#include "core/storage.h"

namespace tenon {

struct AllocatorStats {
  std::size_t allocated = 0;      // bytes in live storages, by capacity
  std::size_t peak = 0;           // largest `allocated` since reset_peak()
  std::size_t reserved = 0;       // allocated + cached
  std::size_t peak_reserved = 0;  // largest `reserved` since reset_peak()
  std::uint64_t allocations = 0;  // storages made
  std::uint64_t frees = 0;
  std::uint64_t system_allocations = 0;  // of these, not served from the cache
};

// OutOfMemory, naming bytes asked and free, when it cannot be had. 0 bytes gives a valid storage.
Ref<Storage> allocate(std::size_t bytes);

AllocatorStats allocator_stats();
void reset_peak();

// Returns every cached block to the system; the number of bytes returned.
std::size_t trim();

// Bound on cached bytes (default: a quarter of memory, or TENON_CACHE_BYTES); what is above it goes
// back to the system at once.
void set_cache_limit(std::size_t bytes);
std::size_t cache_limit();

// Bound on live bytes (default: the memory of the machine or of the control group, or
// TENON_MEMORY_LIMIT).
void set_memory_limit(std::size_t bytes);
std::size_t memory_limit();
std::size_t default_memory_limit();
// What the limit leaves beside the live bytes.
std::size_t memory_room();

namespace detail {
// Returns an owned storage's block to the cache.
void release_block(void* data, std::size_t capacity) noexcept;
}  // namespace detail

// Fault injection for tests: every k-th allocate() of the process fails as if memory ran out. 0:
// off.
void fail_every(std::uint64_t k);
// Just the k-th from now.
void fail_once(std::uint64_t k);

}  // namespace tenon

// The caching allocator of one device's memory, in the order of streams.
//
// The driver's own allocation stops all queued work, so blocks are kept by size class when they are
// freed. A block freed on a stream may be taken on the same stream at once, since the work that
// still uses it comes first there; on another stream never. What other streams have used (see
// used_by) comes back only when they are past it. When the device has no more, everything cached is
// given back and the request is tried once more before OutOfMemory. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "jit/cuda/device.h"

namespace tenon::cuda {

struct MemoryStats {
  size_t allocated = 0;             // bytes in live blocks, by capacity
  size_t peak = 0;                  // largest `allocated` since reset_peak()
  size_t reserved = 0;              // allocated + cached
  uint64_t device_allocations = 0;  // calls of the driver
};

class DeviceMemory {
 public:
  explicit DeviceMemory(const Device& device) : device_(device) {}
  ~DeviceMemory();  // every block must have been freed
  // Memory for work on `stream`, aligned to 512 bytes. 0 bytes give a valid block.
  DeviceAddress allocate(size_t bytes, const Stream& stream);
  // Work that is queued on the block's stream may still use it.
  void free(DeviceAddress address) noexcept;
  // Work queued on another stream than the block's uses it, too.
  void used_by(DeviceAddress address, const Stream& stream);
  // Gives what is cached back to the device; the number of bytes.
  size_t trim();

  MemoryStats stats() const;
  void reset_peak();

 private:
  struct Block {
    size_t capacity = 0;
    StreamHandle stream = nullptr;
    std::vector<StreamHandle> users;  // other streams
  };
  struct Pending {
    DeviceAddress address;
    Block block;
    std::vector<EventHandle> events;  // after the last use on each of `users`
  };
  using Key = std::pair<StreamHandle, size_t>;  // stream, capacity

  DeviceAddress take_cached(const Key& key);
  void poll(bool waits);
  size_t trim_locked();

  const Device device_;
  mutable std::mutex mutex_;
  std::unordered_map<DeviceAddress, Block> live_;
  std::map<Key, std::vector<DeviceAddress>> cached_;
  std::vector<Pending> pending_;
  MemoryStats stats_;
};

}  // namespace tenon::cuda

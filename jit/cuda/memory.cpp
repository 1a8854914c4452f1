#include "jit/cuda/memory.h"

#include <algorithm>

#include "core/error.h"
#include "core/log.h"
#include "core/size_classes.h"

namespace tenon::cuda {

namespace {

constexpr size_t kLeastBytes = 512;  // what the driver aligns to

}  // namespace

DeviceMemory::~DeviceMemory() { trim(); }

DeviceAddress DeviceMemory::take_cached(const Key& key) {
  const auto found = cached_.find(key);
  if (found == cached_.end() || found->second.empty()) return 0;
  const DeviceAddress address = found->second.back();
  found->second.pop_back();
  return address;
}

DeviceAddress DeviceMemory::allocate(size_t bytes, const Stream& stream) {
  const size_t capacity = class_bytes(std::max(bytes, kLeastBytes));
  const std::lock_guard lock(mutex_);
  device_.make_current();
  poll(false);
  DeviceAddress address = take_cached({stream.handle(), capacity});
  if (address == 0) {
    const Driver& d = driver();
    int result = d.cuMemAlloc(&address, capacity);
    if (result == kOutOfMemory) {
      const size_t given_back = trim_locked();
      log(Category::Memory, "a CUDA device is out of memory: {} cached bytes are given back",
          given_back);
      if (given_back > 0) result = d.cuMemAlloc(&address, capacity);
    }
    if (result == kOutOfMemory) {
      size_t free = 0, total = 0;
      if (d.cuMemGetInfo(&free, &total) != kSuccess) free = total = 0;
      fail(ErrorKind::OutOfMemory,
           "CUDA out of memory: {} bytes asked for; of {} bytes on the device {} are free, and {} "
           "are held by this process' tensors",
           bytes, total, free, stats_.allocated);
    }
    check_call(result, "cuMemAlloc");
    stats_.reserved += capacity;
    ++stats_.device_allocations;
  }
  live_[address] = {capacity, stream.handle(), {}};
  stats_.allocated += capacity;
  stats_.peak = std::max(stats_.peak, stats_.allocated);
  return address;
}

void DeviceMemory::used_by(DeviceAddress address, const Stream& stream) {
  const std::lock_guard lock(mutex_);
  Block& block = live_.at(address);
  if (block.stream == stream.handle()) return;
  if (std::find(block.users.begin(), block.users.end(), stream.handle()) == block.users.end()) {
    block.users.push_back(stream.handle());
  }
}

void DeviceMemory::free(DeviceAddress address) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(address);
  if (found == live_.end()) return;
  Block block = std::move(found->second);
  live_.erase(found);
  stats_.allocated -= block.capacity;
  if (block.users.empty()) {
    cached_[{block.stream, block.capacity}].push_back(address);
    return;
  }
  // The last reference may go in a thread that has never used the device.
  const Driver& d = driver();
  d.cuCtxSetCurrent(device_.context());
  Pending pending{address, std::move(block), {}};
  for (const StreamHandle user : pending.block.users) {
    EventHandle event = nullptr;
    if (d.cuEventCreate(&event, kUntimedEvent) == kSuccess &&
        d.cuEventRecord(event, user) == kSuccess) {
      pending.events.push_back(event);
    } else {  // nothing tells when the stream is past it: wait here
      if (event) d.cuEventDestroy(event);
      d.cuStreamSynchronize(user);
    }
  }
  pending_.push_back(std::move(pending));
}

// Blocks that other streams are done with go back to the cache.
void DeviceMemory::poll(bool waits) {
  const Driver& d = driver();
  std::erase_if(pending_, [&](Pending& pending) {
    std::erase_if(pending.events, [&](EventHandle event) {
      const int result = waits ? d.cuEventSynchronize(event) : d.cuEventQuery(event);
      if (result == kNotReady) return false;
      d.cuEventDestroy(event);
      return true;
    });
    if (!pending.events.empty()) return false;
    cached_[{pending.block.stream, pending.block.capacity}].push_back(pending.address);
    return true;
  });
}

size_t DeviceMemory::trim_locked() {
  driver().cuCtxSetCurrent(device_.context());
  poll(true);
  size_t bytes = 0;
  for (auto& [key, addresses] : cached_) {
    for (const DeviceAddress address : addresses) {
      driver().cuMemFree(address);  // waits for all queued work
      bytes += key.second;
    }
  }
  cached_.clear();
  stats_.reserved -= bytes;
  return bytes;
}

size_t DeviceMemory::trim() {
  const std::lock_guard lock(mutex_);
  return trim_locked();
}

MemoryStats DeviceMemory::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void DeviceMemory::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak = stats_.allocated;
}

}  // namespace tenon::cuda

#include "core/device_memory.h"

#include <cstring>

#include "core/allocator.h"
#include "core/error.h"

namespace tenon {

namespace {

std::atomic<DeviceBackend*> installed{nullptr};

DeviceBackend& backend(Device device) {
  DeviceBackend* found = device.is_cuda() ? installed.load() : nullptr;
  check(found != nullptr, ErrorKind::Runtime, "no memory on the device {}", to_string(device));
  return *found;
}

}  // namespace

namespace detail {
std::atomic<bool> devices_are_used{false};
}

void set_device_backend(DeviceBackend* backend) { installed = backend; }

void note_device(Device device) {
  if (!device.is_cpu()) detail::devices_are_used.store(true, std::memory_order_relaxed);
}

Ref<Storage> allocate_on(Device device, std::size_t bytes) {
  if (device.is_cpu()) return allocate(bytes);
  note_device(device);
  return backend(device).allocate(bytes, device);
}

void copy_bytes(Storage& to, std::size_t to_offset, const Storage& from, std::size_t from_offset,
                std::size_t bytes) {
  if (bytes == 0) return;
  auto* target = static_cast<std::byte*>(to.data()) + to_offset;
  // Back ends take places to read as such, which Storage can't say.
  auto* source = static_cast<std::byte*>(const_cast<void*>(from.data())) + from_offset;
  if (to.device().is_cpu() && from.device().is_cpu()) {
    std::memcpy(target, source, bytes);
  } else {
    const Device device = to.device().is_cpu() ? from.device() : to.device();
    backend(device).copy({target, to.device()}, {source, from.device()}, bytes);
  }
}

void synchronize(Device device) {
  if (!device.is_cpu()) backend(device).synchronize(device);
}

}  // namespace tenon

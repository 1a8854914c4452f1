// Memory of devices, as rooms that don't know how devices work see it.
//
// A back end (jit/cuda) says how its devices' memory is had and copied; here the host is a device
// like the others. Copies from and to the host are complete when they return.
#pragma once

#include <atomic>
#include <cstddef>

#include "core/device.h"
#include "core/ref.h"
#include "core/storage.h"

namespace tenon {

class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;
  // Errors: OutOfMemory; Runtime, with the reason, where there is no such device.
  virtual Ref<Storage> allocate(std::size_t bytes, Device device) = 0;
  // From `from` to `to`, each a place in memory of its device; one may be the host's.
  struct Place {
    std::byte* address;
    Device device;
  };
  virtual void copy(Place to, Place from, std::size_t bytes) = 0;
  // Waits until everything that was queued on a device has run.
  virtual void synchronize(Device device) = 0;
};
// Of CUDA devices; lives as long as the process.
void set_device_backend(DeviceBackend* backend);

Ref<Storage> allocate_on(Device device, std::size_t bytes);
// Storages of any devices; offsets in bytes.
void copy_bytes(Storage& to, std::size_t to_offset, const Storage& from, std::size_t from_offset,
                std::size_t bytes);
void synchronize(Device device);

namespace detail {
extern std::atomic<bool> devices_are_used;
}
// Whether anything but the host has ever been named in this process: while it hasn't, nobody needs
// to look where tensors are.
inline bool uses_devices() { return detail::devices_are_used.load(std::memory_order_relaxed); }
void note_device(Device device);

}  // namespace tenon

// A block of bytes that tensors share.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

#include "core/device.h"
#include "core/ref.h"

namespace tenon {

class Storage final : public RefCounted {
 public:
  // Memory owned by someone else; `deleter` (may be empty) runs when the last reference goes, on
  // whichever thread that is.
  static Ref<Storage> wrap(void* data, std::size_t bytes, Device device,
                           std::function<void()> deleter, bool read_only = false);
  // A device's memory, which `deleter` gives back to its allocator.
  static Ref<Storage> own(void* data, std::size_t bytes, Device device,
                          std::function<void()> deleter);
  // No memory at all: the storage of tensors on the meta device.
  static Ref<Storage> meta(std::size_t bytes);

  void* data() noexcept { return data_; }
  const void* data() const noexcept { return data_; }
  template <class T>
  T* as() noexcept {
    return static_cast<T*>(data_);
  }
  template <class T>
  const T* as() const noexcept {
    return static_cast<const T*>(data_);
  }
  // Bytes asked for.
  std::size_t bytes() const noexcept { return bytes_; }
  // Bytes that may be used without a new allocation (own memory: the size of its class).
  std::size_t capacity() const noexcept { return capacity_; }
  Device device() const noexcept { return device_; }
  // Memory that must never be written (a read-only NumPy array, a mapped file).
  bool read_only() const noexcept { return read_only_; }
  // Memory of this process' allocators, as opposed to wrapped memory.
  bool is_owned() const noexcept { return owned_; }

  // How many outside views (NumPy, DLPack, data_ptr) exist. While it is not zero, operations that
  // touch this storage are complete before the call returns.
  std::atomic<int> exposures{0};
  bool is_exposed() const noexcept { return exposures.load(std::memory_order_acquire) != 0; }

 private:
  friend class Allocator;
  Storage(void* data, std::size_t bytes, std::size_t capacity, Device device, bool owned,
          bool read_only, std::function<void()> deleter);
  ~Storage() override;

  void* data_;
  std::size_t bytes_;
  std::size_t capacity_;
  Device device_;
  bool owned_;
  bool read_only_;
  std::function<void()> deleter_;
};

}  // namespace tenon

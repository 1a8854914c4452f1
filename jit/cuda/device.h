// A device in use: its context, streams, events and code, as values that own what they name.
//
// Work is queued on streams and runs later, in the order of its stream. What must hold: memory and
// code that queued work uses outlive it.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "jit/cuda/compiler.h"
#include "jit/cuda/driver.h"
#include "jit/cuda/lower.h"

namespace tenon::cuda {

// Makes a device's context (its primary one, shared with other libraries) current in this thread
// and tells what the device is. Index error for a number there is none of.
class Device {
 public:
  explicit Device(int index);

  int index() const { return index_; }
  const std::string& name() const { return name_; }
  int architecture() const { return architecture_; }  // 90 for compute capability 9.0
  // Threads that run at once, at most.
  int64_t threads() const { return threads_; }
  void make_current() const;
  ContextHandle context() const { return context_; }

 private:
  int index_;
  std::string name_;
  int architecture_ = 0;
  int64_t threads_ = 0;
  ContextHandle context_ = nullptr;
};

class Event {
 public:
  Event();
  ~Event();
  Event(Event&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  bool is_done() const;  // whether the work before its last recording has run
  void synchronize() const;
  EventHandle handle() const { return handle_; }

 private:
  EventHandle handle_ = nullptr;
};

class Stream {
 public:
  Stream();
  ~Stream();  // work that is queued still runs
  Stream(const Stream&) = delete;

  void synchronize() const;
  void record(const Event& event) const;
  void wait(const Event& event) const;  // later work runs after the event's
  StreamHandle handle() const { return handle_; }

  void copy_to_device(DeviceAddress to, const void* from, size_t bytes) const;
  void copy_to_host(void* to, DeviceAddress from, size_t bytes) const;
  void copy(DeviceAddress to, DeviceAddress from, size_t bytes) const;
  void fill(DeviceAddress to, unsigned char value, size_t bytes) const;

 private:
  StreamHandle handle_ = nullptr;
};

// A kernel's code on the device of the current context.
class Function {
 public:
  Function(const loop::Kernel& kernel, const CompiledKernel& code);
  ~Function();
  Function(const Function&) = delete;

  struct Grid {
    unsigned blocks = 0;
    unsigned shared_bytes = 0;
    Launch launch;          // without scratch's address
    size_t pool_bytes = 0;  // scratch in device memory that the launch needs
  };
  // How [0, range) is spread over a device that runs so many threads at once. Chunks of kernels
  // whose range counts elements are multiples of 64.
  // `row`: see Launch.
  Grid grid(int64_t range, bool unit_elements, const int64_t* ints, int64_t threads,
            int64_t row = 0) const;
  // Queues the kernel. `pool`: pool_bytes of device memory, aligned to 64. `error`: the address of
  // an ErrorSlot on the device, 0 if nothing can fail.
  void launch(const Stream& stream, const Grid& grid, std::span<const DeviceAddress> buffers,
              std::span<const int64_t> ints, std::span<const uint64_t> scalars, DeviceAddress pool,
              DeviceAddress error) const;

 private:
  const loop::Kernel kernel_;
  ModuleHandle module_ = nullptr;
  FunctionHandle function_ = nullptr;
};

}  // namespace tenon::cuda

// What plans need of one device: memory, a stream, and kernels compiled for it.
//
// Launches are queued and return at once; copies to the host wait for what they read.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "core/hash.h"
#include "core/storage.h"
#include "jit/cuda/cublaslt.h"
#include "jit/cuda/memory.h"

namespace tenon::cuda {

// Why tensors can't be on a CUDA device of this machine; empty where they can.
std::string why_unavailable();

class Runtime {
 public:
  using Compile = std::function<std::vector<CompiledKernel>(std::span<const loop::Kernel* const>,
                                                            int architecture)>;
  // Errors as Device and Stream. Tests compile for the emulated device.
  explicit Runtime(int device, Compile compile = cuda::compile);

  const Device& device() const { return device_; }
  const Stream& stream() const { return parts_->stream; }
  DeviceMemory& memory() { return parts_->memory; }
  MatrixProducts& products();  // errors as MatrixProducts

  // Memory in the stream's order, given back when the storage goes, which may outlive this.
  Ref<Storage> allocate(size_t bytes);
  Ref<Storage> to_device(const void* from, size_t bytes);
  void to_host(void* to, const Storage& from, size_t offset, size_t bytes) const;

  struct Code {
    Hash128 hash;  // of equal kernels
    const loop::Kernel* kernel;
  };
  // Compiles and loads those that aren't yet, all at once.
  void load(std::span<const Code> codes);

  struct Arguments {
    std::span<void* const> buffers;  // device addresses
    std::span<const int64_t> ints;
    std::span<const uint64_t> scalars;
    int64_t range = 0;
    bool unit_elements = false;
    int64_t row = 0;  // see Launch
    DeviceAddress error = 0;
  };
  // Of a kernel that is loaded.
  void launch(Hash128 kernel, const Arguments& arguments);

 private:
  struct Parts {  // what storages need after this is gone
    explicit Parts(const Device& device) : memory(device) {}
    DeviceMemory memory;
    Stream stream;
  };

  Device device_;
  std::shared_ptr<Parts> parts_;
  const Compile compile_;
  std::mutex mutex_;
  std::unordered_map<Hash128, std::unique_ptr<Function>> functions_;
  std::unique_ptr<MatrixProducts> products_;
};

}  // namespace tenon::cuda

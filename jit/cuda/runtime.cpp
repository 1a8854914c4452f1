#include "jit/cuda/runtime.h"

#include <algorithm>

#include "core/error.h"
#include "core/small_vector.h"
#include "jit/cuda/nvrtc.h"

namespace tenon::cuda {

std::string why_unavailable() {
  std::string reason = why_no_device();
  return reason.empty() ? why_no_compiler() : reason;
}

Runtime::Runtime(int device, Compile compile)
    : device_(device), parts_(std::make_shared<Parts>(device_)), compile_(std::move(compile)) {}

Ref<Storage> Runtime::allocate(size_t bytes) {
  const DeviceAddress address = parts_->memory.allocate(bytes, parts_->stream);
  return Storage::own(reinterpret_cast<void*>(address), bytes,
                      {tenon::Device::Kind::CUDA, static_cast<int8_t>(device_.index())},
                      [parts = parts_, address] { parts->memory.free(address); });
}

Ref<Storage> Runtime::to_device(const void* from, size_t bytes) {
  Ref<Storage> storage = allocate(bytes);
  parts_->stream.copy_to_device(reinterpret_cast<DeviceAddress>(storage->data()), from, bytes);
  return storage;
}

void Runtime::to_host(void* to, const Storage& from, size_t offset, size_t bytes) const {
  parts_->stream.copy_to_host(to, reinterpret_cast<DeviceAddress>(from.data()) + offset, bytes);
  parts_->stream.synchronize();
}

MatrixProducts& Runtime::products() {
  const std::lock_guard lock(mutex_);
  if (!products_) products_ = std::make_unique<MatrixProducts>(parts_->memory, parts_->stream);
  return *products_;
}

void Runtime::load(std::span<const Code> codes) {
  const std::lock_guard lock(mutex_);
  std::vector<Code> fresh;
  for (const Code& code : codes) {
    const auto is_same = [&](const Code& other) { return other.hash == code.hash; };
    if (functions_.contains(code.hash) || std::ranges::any_of(fresh, is_same)) continue;
    fresh.push_back(code);
  }
  if (fresh.empty()) return;
  std::vector<const loop::Kernel*> kernels;
  for (const Code& code : fresh) kernels.push_back(code.kernel);
  const auto compiled = compile_(kernels, device_.architecture());
  for (size_t i = 0; i < fresh.size(); ++i) {
    functions_[fresh[i].hash] = std::make_unique<Function>(*kernels[i], compiled[i]);
  }
}

void Runtime::launch(Hash128 kernel, const Arguments& arguments) {
  const Function* function;
  {
    const std::lock_guard lock(mutex_);
    function = functions_.at(kernel).get();  // functions are never unloaded
  }
  const auto grid = function->grid(arguments.range, arguments.unit_elements, arguments.ints.data(),
                                   device_.threads(), arguments.row);
  SmallVector<DeviceAddress, 16> buffers;
  for (void* address : arguments.buffers) {
    buffers.push_back(reinterpret_cast<DeviceAddress>(address));
  }
  const Stream& stream = parts_->stream;
  const DeviceAddress pool = grid.pool_bytes ? parts_->memory.allocate(grid.pool_bytes, stream) : 0;
  try {
    function->launch(stream, grid, std::span(buffers.data(), buffers.size()), arguments.ints,
                     arguments.scalars, pool, arguments.error);
  } catch (...) {
    if (pool) parts_->memory.free(pool);
    throw;
  }
  if (pool) parts_->memory.free(pool);  // what is queued is before whatever takes it next
}

}  // namespace tenon::cuda

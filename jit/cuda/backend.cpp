#include "jit/cuda/backend.h"

#include <array>

#include "core/device_memory.h"
#include "core/error.h"
#include "core/fork.h"

namespace tenon::cuda {

namespace {

constexpr size_t kMostDevices = 64;

struct Runtimes {
  std::mutex mutex;
  std::array<std::unique_ptr<Runtime>, kMostDevices> by_index;
  std::optional<decltype(fork_generation())> made_in;
};
Runtimes& runtimes() {
  static Runtimes* const instance = new Runtimes;  // storages outlive statics
  return *instance;
}

class Backend final : public DeviceBackend {
 public:
  Ref<Storage> allocate(size_t bytes, tenon::Device device) override {
    Runtime& on = runtime(device.index);
    on.device().make_current();
    return on.allocate(bytes);
  }

  void copy(Place to, Place from, size_t bytes) override {
    const auto address = [](const Place& place) {
      return reinterpret_cast<DeviceAddress>(place.address);
    };
    Runtime& on = runtime((from.device.is_cuda() ? from : to).device.index);
    on.device().make_current();
    if (!from.device.is_cuda()) {
      on.stream().copy_to_device(address(to), from.address, bytes);
      on.stream().synchronize();  // the caller's memory may change now
    } else if (!to.device.is_cuda()) {
      on.stream().copy_to_host(to.address, address(from), bytes);
      on.stream().synchronize();
    } else {
      on.stream().copy(address(to), address(from), bytes);
      if (to.device == from.device) return;
      on.stream().synchronize();  // the other device's stream doesn't know of this one
    }
  }

  void synchronize(tenon::Device device) override {
    Runtime& on = runtime(device.index);
    on.device().make_current();
    on.stream().synchronize();
  }
};

}  // namespace

Runtime& runtime(int index) {
  const std::string reason = why_unavailable();
  check(reason.empty(), ErrorKind::Runtime, "CUDA is not available: {}", reason);
  check(index >= 0 && index < device_count(), ErrorKind::Runtime,
        "cuda:{}: there are {} CUDA devices, numbered from 0", index, device_count());
  Runtimes& all = runtimes();
  const std::lock_guard lock(all.mutex);
  check(!all.made_in || *all.made_in == fork_generation(), ErrorKind::Runtime,
        "CUDA can't be used in a fork of a process that has used it; start workers with the "
        "'spawn' method of multiprocessing");
  std::unique_ptr<Runtime>& made = all.by_index.at(static_cast<size_t>(index));
  if (!made) {
    made = std::make_unique<Runtime>(index);
    all.made_in = fork_generation();
  }
  return *made;
}

bool is_in_use(int index) {
  Runtimes& all = runtimes();
  const std::lock_guard lock(all.mutex);
  return index >= 0 && index < static_cast<int>(kMostDevices) &&
         all.by_index.at(static_cast<size_t>(index)) != nullptr;
}

void install_backend() {
  static Backend backend;
  set_device_backend(&backend);
}

}  // namespace tenon::cuda

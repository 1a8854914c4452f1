#include "jit/cuda/driver.h"

#include <fmt/format.h>

#include <memory>
#include <mutex>

#include "core/error.h"
#include "jit/cuda/library.h"

namespace tenon::cuda {

namespace {

constexpr int kLeastVersion = 12000;  // CUDA 12.0: modules of sm_90, 64-bit stream functions

struct Loaded {
  Library library;
  Driver table{};
  std::string reason;
  int devices = 0;

  explicit Loaded(const std::string& path) {
    library = path.empty() ? Library::find({"libcuda.so.1", "libcuda.so"}) : Library::open(path);
    if (!library.is_loaded()) {
      reason = "no NVIDIA driver: " + library.reason();
      return;
    }
    fill();
    if (!reason.empty()) return;
    int version = 0;
    const int status = table.cuInit(0);
    if (table.cuDriverGetVersion(&version) != kSuccess) version = 0;
    if (version < kLeastVersion) {
      reason = fmt::format("the NVIDIA driver is for CUDA {}.{}, too old; {}.{} is needed",
                           version / 1000, version % 1000 / 10, kLeastVersion / 1000,
                           kLeastVersion % 1000 / 10);
    } else if (status != kSuccess) {
      reason = "the NVIDIA driver does not start: " + words(status);
    } else if (table.cuDeviceGetCount(&devices) != kSuccess || devices == 0) {
      devices = 0;
      reason = "the NVIDIA driver finds no device (CUDA_VISIBLE_DEVICES may hide it)";
    }
  }

  std::string words(int result) const {
    const char *name = nullptr, *text = nullptr;
    if (table.cuGetErrorName(result, &name) != kSuccess || !name) name = "unknown";
    if (table.cuGetErrorString(result, &text) != kSuccess || !text) text = "an unknown error";
    return fmt::format("{} ({}, {})", text, name, result);
  }

 private:
  // Functions that changed carry their version in the name.
  void fill() {
    std::string missing;
    const auto get = [&](auto& function, const char* name) {
      library.take(function, name, missing);
    };
    get(table.cuInit, "cuInit");
    get(table.cuDriverGetVersion, "cuDriverGetVersion");
    get(table.cuGetErrorName, "cuGetErrorName");
    get(table.cuGetErrorString, "cuGetErrorString");
    get(table.cuDeviceGetCount, "cuDeviceGetCount");
    get(table.cuDeviceGet, "cuDeviceGet");
    get(table.cuDeviceGetName, "cuDeviceGetName");
    get(table.cuDeviceGetAttribute, "cuDeviceGetAttribute");
    get(table.cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain");
    get(table.cuCtxSetCurrent, "cuCtxSetCurrent");
    get(table.cuMemGetInfo, "cuMemGetInfo_v2");
    get(table.cuMemAlloc, "cuMemAlloc_v2");
    get(table.cuMemFree, "cuMemFree_v2");
    get(table.cuMemHostAlloc, "cuMemHostAlloc");
    get(table.cuMemFreeHost, "cuMemFreeHost");
    get(table.cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2");
    get(table.cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2");
    get(table.cuMemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2");
    get(table.cuMemsetD8Async, "cuMemsetD8Async");
    get(table.cuStreamCreate, "cuStreamCreate");
    get(table.cuStreamDestroy, "cuStreamDestroy_v2");
    get(table.cuStreamSynchronize, "cuStreamSynchronize");
    get(table.cuStreamWaitEvent, "cuStreamWaitEvent");
    get(table.cuEventCreate, "cuEventCreate");
    get(table.cuEventDestroy, "cuEventDestroy_v2");
    get(table.cuEventRecord, "cuEventRecord");
    get(table.cuEventQuery, "cuEventQuery");
    get(table.cuEventSynchronize, "cuEventSynchronize");
    get(table.cuModuleLoadData, "cuModuleLoadData");
    get(table.cuModuleUnload, "cuModuleUnload");
    get(table.cuModuleGetFunction, "cuModuleGetFunction");
    get(table.cuLaunchKernel, "cuLaunchKernel");
    if (!missing.empty()) reason = "the NVIDIA driver is too old: " + missing;
  }
};

struct State {
  std::mutex mutex;
  std::string path;
  std::unique_ptr<Loaded> loaded;
};
State& state() {
  static State* const instance = new State;
  return *instance;
}

const Loaded& loaded() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (!s.loaded) s.loaded = std::make_unique<Loaded>(s.path);
  return *s.loaded;
}

}  // namespace

std::string why_no_device() { return loaded().reason; }
int device_count() { return loaded().devices; }

const Driver& driver() {
  const Loaded& l = loaded();
  if (!l.reason.empty()) fail(ErrorKind::Runtime, "CUDA is not available: {}", l.reason);
  return l.table;
}

void check_call(int result, const char* call) {
  if (result == kSuccess) return;
  const auto kind = result == kOutOfMemory ? ErrorKind::OutOfMemory : ErrorKind::Runtime;
  fail(kind, "{}: {}", call, loaded().words(result));
}

void use_driver_library(const std::string& path) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.path = path;
  s.loaded.reset();
}

}  // namespace tenon::cuda

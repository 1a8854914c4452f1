#include "jit/cuda/device.h"

#include <algorithm>

#include "core/error.h"
#include "core/small_vector.h"

namespace tenon::cuda {

Device::Device(int index) : index_(index) {
  const Driver& d = driver();
  check(index >= 0 && index < device_count(), ErrorKind::Runtime,
        "cuda:{}: there are {} CUDA devices, numbered from 0", index, device_count());
  int device = 0;
  check_call(d.cuDeviceGet(&device, index), "cuDeviceGet");
  char name[256] = {};
  check_call(d.cuDeviceGetName(name, sizeof name - 1, device), "cuDeviceGetName");
  name_ = name;
  const auto attribute = [&](Attribute which) {
    int value = 0;
    check_call(d.cuDeviceGetAttribute(&value, which, device), "cuDeviceGetAttribute");
    return value;
  };
  architecture_ = 10 * attribute(kMajorVersion) + attribute(kMinorVersion);
  threads_ = int64_t{attribute(kMultiprocessors)} * attribute(kThreadsOfMultiprocessor);
  check_call(d.cuDevicePrimaryCtxRetain(&context_, device), "cuDevicePrimaryCtxRetain");
  make_current();
}

void Device::make_current() const {
  check_call(driver().cuCtxSetCurrent(context_), "cuCtxSetCurrent");
}

Event::Event() { check_call(driver().cuEventCreate(&handle_, kUntimedEvent), "cuEventCreate"); }
Event::~Event() {
  if (handle_) driver().cuEventDestroy(handle_);
}

bool Event::is_done() const {
  const int result = driver().cuEventQuery(handle_);
  if (result == kNotReady) return false;
  check_call(result, "cuEventQuery");
  return true;
}

void Event::synchronize() const {
  check_call(driver().cuEventSynchronize(handle_), "cuEventSynchronize");
}

Stream::Stream() {
  check_call(driver().cuStreamCreate(&handle_, kNonBlockingStream), "cuStreamCreate");
}
Stream::~Stream() { driver().cuStreamDestroy(handle_); }

void Stream::synchronize() const {
  check_call(driver().cuStreamSynchronize(handle_), "cuStreamSynchronize");
}
void Stream::record(const Event& event) const {
  check_call(driver().cuEventRecord(event.handle(), handle_), "cuEventRecord");
}
void Stream::wait(const Event& event) const {
  check_call(driver().cuStreamWaitEvent(handle_, event.handle(), 0), "cuStreamWaitEvent");
}
void Stream::copy_to_device(DeviceAddress to, const void* from, size_t bytes) const {
  if (bytes == 0) return;
  check_call(driver().cuMemcpyHtoDAsync(to, from, bytes, handle_), "cuMemcpyHtoDAsync");
}
void Stream::copy_to_host(void* to, DeviceAddress from, size_t bytes) const {
  if (bytes == 0) return;
  check_call(driver().cuMemcpyDtoHAsync(to, from, bytes, handle_), "cuMemcpyDtoHAsync");
}
void Stream::copy(DeviceAddress to, DeviceAddress from, size_t bytes) const {
  if (bytes == 0) return;
  check_call(driver().cuMemcpyDtoDAsync(to, from, bytes, handle_), "cuMemcpyDtoDAsync");
}
void Stream::fill(DeviceAddress to, unsigned char value, size_t bytes) const {
  if (bytes == 0) return;
  check_call(driver().cuMemsetD8Async(to, value, bytes, handle_), "cuMemsetD8Async");
}

Function::Function(const loop::Kernel& kernel, const CompiledKernel& code) : kernel_(kernel) {
  const Driver& d = driver();
  check_call(d.cuModuleLoadData(&module_, code.cubin.data()), "cuModuleLoadData");
  const int result = d.cuModuleGetFunction(&function_, module_, code.info.symbol.c_str());
  if (result != kSuccess) d.cuModuleUnload(module_);
  check_call(result, "cuModuleGetFunction");
}

Function::~Function() { driver().cuModuleUnload(module_); }

Function::Grid Function::grid(int64_t range, bool unit_elements, const int64_t* ints,
                              int64_t threads, int64_t row) const {
  constexpr int64_t kSharedBytes = 48 << 10;  // that a block has without asking for more
  constexpr int64_t kMostBlocks = int64_t{1} << 30;
  Grid grid;
  if (range <= 0) return grid;
  const int64_t step = unit_elements ? 64 : 1;
  // One round of the groups that run at once, if chunks so small are enough for that.
  const int64_t groups = std::max<int64_t>(1, threads / loop::kLanes);
  const int64_t share = (range + groups - 1) / groups;
  // At most four blocks of vectors at once: neighbouring groups stay at neighbouring addresses.
  const int64_t chunk = std::min<int64_t>((share + step - 1) / step, unit_elements ? 4 : 1) * step;
  const int64_t chunks = (range + chunk - 1) / chunk;
  const int64_t blocks = (chunks + kGroupsOfBlock - 1) / kGroupsOfBlock;
  const int64_t scratch = (kernel_.scratch.bytes(ints) + 63) / 64 * 64;
  grid.blocks = static_cast<unsigned>(std::min(blocks, kMostBlocks));
  grid.launch.scratch_bytes = scratch;
  grid.launch.end = range;
  grid.launch.chunk = chunk;
  grid.launch.row = row;
  if (scratch * kGroupsOfBlock <= kSharedBytes) {
    grid.shared_bytes = static_cast<unsigned>(scratch * kGroupsOfBlock);
  } else {
    // As much scratch as groups can run at once, but no more than a device's cache holds.
    constexpr int64_t kMostBytes = int64_t{32} << 20;
    const int64_t resident = std::max<int64_t>(1, threads / kThreadsOfBlock);
    const int64_t fitting = std::max<int64_t>(1, kMostBytes / (scratch * kGroupsOfBlock));
    grid.blocks = static_cast<unsigned>(std::min({int64_t{grid.blocks}, resident, fitting}));
    grid.pool_bytes = static_cast<size_t>(scratch * kGroupsOfBlock * grid.blocks);
  }
  return grid;
}

void Function::launch(const Stream& stream, const Grid& grid,
                      std::span<const DeviceAddress> buffers, std::span<const int64_t> ints,
                      std::span<const uint64_t> scalars, DeviceAddress pool,
                      DeviceAddress error) const {
  check(buffers.size() == kernel_.buffers.size() && ints.size() == kernel_.ints &&
            scalars.size() == kernel_.scalars.size(),
        ErrorKind::Internal, "{}: launched with other arguments than it has parameters",
        kernel_.name);
  check((grid.pool_bytes == 0) == (pool == 0), ErrorKind::Internal,
        "{}: {} bytes of scratch are needed", kernel_.name, grid.pool_bytes);
  if (grid.blocks == 0) return;
  SmallVector<uint64_t, 32> words;
  for (const DeviceAddress buffer : buffers) words.push_back(buffer);
  for (const int64_t value : ints) words.push_back(static_cast<uint64_t>(value));
  for (const uint64_t bits : scalars) words.push_back(bits);
  words.push_back(pool);
  words.push_back(static_cast<uint64_t>(grid.launch.scratch_bytes));
  words.push_back(static_cast<uint64_t>(grid.launch.begin));
  words.push_back(static_cast<uint64_t>(grid.launch.end));
  words.push_back(static_cast<uint64_t>(grid.launch.chunk));
  words.push_back(static_cast<uint64_t>(grid.launch.row));
  words.push_back(error);
  SmallVector<void*, 32> parameters;
  for (uint64_t& word : words) parameters.push_back(&word);
  check_call(
      driver().cuLaunchKernel(function_, grid.blocks, 1, 1, kThreadsOfBlock, 1, 1,
                              grid.shared_bytes, stream.handle(), parameters.data(), nullptr),
      kernel_.name.c_str());
}

}  // namespace tenon::cuda

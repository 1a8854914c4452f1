#include "tests/cuda/fake_driver.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

struct CUevent_st {
  struct CUstream_st* stream = nullptr;
  uint64_t ticket = 0;  // of the stream's work before it
};
struct CUstream_st {
  std::deque<std::function<void()>> queue;
  uint64_t queued = 0, done = 0;
};
struct CUmod_st {
  void* library;
};
struct CUfunc_st {
  CUmod_st* module;
  void (*run)(void** parameters, unsigned blocks);
  const char** failure;
  int parameters;
};

namespace {

constexpr int kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNotInitialized = 3,
              kInvalidContext = 201, kInvalidImage = 200, kInvalidHandle = 400, kNotFound = 500,
              kNotReady = 600, kLaunchFailed = 719;

struct Failure {
  int skip, count, result;
};
struct Fake {
  bool initialized = false, has_context = false;
  int version = 13000, devices = 1;
  size_t memory = size_t{1} << 28, used = 0;
  std::map<uint64_t, size_t> allocations, pinned;
  std::set<CUstream_st*> streams;
  std::set<CUevent_st*> events;
  std::set<CUmod_st*> modules;
  std::set<CUfunc_st*> functions;
  std::map<std::string, int> calls;
  std::map<std::string, Failure> failures;
  std::string violations, told;
};
Fake& fake() {
  static Fake* const instance = new Fake;
  return *instance;
}

std::recursive_mutex& mutex() {  // callers may have threads
  static auto* const instance = new std::recursive_mutex;
  return *instance;
}

int violate(const std::string& what, int result) {
  fake().violations += what + "\n";
  return result;
}

// Counts the call; its injected failure, or 0.
int enter(const char* function, bool needs_context = true) {
  Fake& f = fake();
  ++f.calls[function];
  if (!f.initialized) return violate(std::string(function) + " before cuInit", kNotInitialized);
  if (needs_context && !f.has_context) {
    return violate(std::string(function) + " without a context", kInvalidContext);
  }
  const auto failure = f.failures.find(function);
  if (failure == f.failures.end() || failure->second.count == 0) return kSuccess;
  if (failure->second.skip-- > 0) return kSuccess;
  --failure->second.count;
  return failure->second.result;
}

bool lies_in(const std::map<uint64_t, size_t>& blocks, uint64_t address, size_t bytes) {
  auto next = blocks.upper_bound(address);
  if (next == blocks.begin()) return false;
  const auto& [begin, size] = *--next;
  return address - begin <= size && bytes <= size - (address - begin);
}

void run_until(CUstream_st* stream, uint64_t ticket) {
  while (stream->done < ticket && !stream->queue.empty()) {
    const auto work = std::move(stream->queue.front());
    stream->queue.pop_front();
    work();
    ++stream->done;
  }
}
void run_all() {
  for (CUstream_st* stream : fake().streams) run_until(stream, stream->queued);
}

void enqueue(CUstream_st* stream, std::function<void()> work) {
  stream->queue.push_back(std::move(work));
  ++stream->queued;
}

bool is_done(const CUevent_st* event) {
  return !event->stream || !fake().streams.contains(event->stream) ||
         event->stream->done >= event->ticket;
}
void wait_for(const CUevent_st event) {
  if (!is_done(&event)) run_until(event.stream, event.ticket);
}

bool is_device_memory(const char* function, uint64_t address, size_t bytes) {
  if (lies_in(fake().allocations, address, bytes)) return true;
  violate(std::string(function) + " on memory that is not the device's", kInvalidValue);
  return false;
}

// A copy as work of a stream, of memory that is checked again when it runs.
int queue_copy(const char* function, CUstream_st* stream, void* to, const void* from, size_t bytes,
               bool to_device, bool from_device) {
  enqueue(stream, [=] {
    if (to_device && !is_device_memory(function, reinterpret_cast<uint64_t>(to), bytes)) return;
    if (from_device && !is_device_memory(function, reinterpret_cast<uint64_t>(from), bytes)) return;
    memcpy(to, from, bytes);
  });
  return kSuccess;
}

// The library in the section .tenon.host of what the fake NVRTC gave.
void* load_host_section(const char* image) {
  Elf64_Ehdr header;
  memcpy(&header, image, sizeof header);
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  memcpy(sections.data(), image + header.e_shoff, sections.size() * sizeof(Elf64_Shdr));
  const char* names = image + sections[header.e_shstrndx].sh_offset;
  for (const Elf64_Shdr& section : sections) {
    if (strcmp(names + section.sh_name, ".tenon.host") != 0) continue;
    char path[] = "/tmp/tenon-module-XXXXXX";
    const int file = mkstemp(path);
    if (file < 0) return nullptr;
    const bool written = write(file, image + section.sh_offset, section.sh_size) ==
                         static_cast<ssize_t>(section.sh_size);
    close(file);
    void* library = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
    unlink(path);
    return library;
  }
  return nullptr;
}

}  // namespace

#define ENTER(function, ...)           \
  const std::lock_guard lock(mutex()); \
  if (const int failed = enter(function __VA_OPT__(, ) __VA_ARGS__); failed) return failed
#define KNOWN(set, handle, function) \
  if (!fake().set.contains(handle))  \
  return violate(std::string(function) + ": a handle that is not alive", kInvalidHandle)

extern "C" {

const char* fake_violations() {
  Fake& f = fake();
  f.told = std::move(f.violations);
  f.violations.clear();
  return f.told.c_str();
}
int fake_count(const char* what) {
  const Fake& f = fake();
  const std::string name = what;
  const size_t count = name == "memory"   ? f.allocations.size()
                       : name == "pinned" ? f.pinned.size()
                       : name == "stream" ? f.streams.size()
                       : name == "event"  ? f.events.size()
                                          : f.modules.size();
  return static_cast<int>(count);
}
int fake_calls(const char* function) { return fake().calls[function]; }
void fake_fail(const char* function, int skip, int count, int result) {
  fake().failures[function] = {skip, count, result};
}
void fake_reset(unsigned long long memory) {
  Fake& f = fake();
  f.calls.clear();
  f.failures.clear();
  f.violations.clear();
  f.memory = memory;
}
void fake_enqueue(CUstream_st* stream, void (*work)(void*), void* argument) {
  const std::lock_guard lock(mutex());
  enqueue(stream, [=] { work(argument); });
}
int fake_is_device_memory(const void* address, unsigned long long bytes) {
  return lies_in(fake().allocations, reinterpret_cast<uint64_t>(address), bytes);
}
void fake_violate(const char* what) { violate(what, kInvalidValue); }
void fake_set_version(int version) { fake().version = version; }
void fake_set_devices(int count) { fake().devices = count; }

int cuInit(unsigned flags) {
  fake().initialized = true;
  ENTER("cuInit", false);
  return flags == 0 ? kSuccess : kInvalidValue;
}
int cuDriverGetVersion(int* version) {
  *version = fake().version;
  return kSuccess;
}
int cuGetErrorName(int result, const char** name) {
  *name = result == kOutOfMemory    ? "CUDA_ERROR_OUT_OF_MEMORY"
          : result == kLaunchFailed ? "CUDA_ERROR_LAUNCH_FAILED"
                                    : "CUDA_ERROR_OTHER";
  return kSuccess;
}
int cuGetErrorString(int result, const char** text) {
  *text = result == kOutOfMemory ? "out of memory" : "a failure of the fake driver";
  return kSuccess;
}
int cuDeviceGetCount(int* count) {
  ENTER("cuDeviceGetCount", false);
  *count = fake().devices;
  return kSuccess;
}
int cuDeviceGet(int* device, int ordinal) {
  ENTER("cuDeviceGet", false);
  *device = ordinal;
  return ordinal < fake().devices ? kSuccess : kInvalidValue;
}
int cuDeviceGetName(char* name, int length, int) {
  ENTER("cuDeviceGetName", false);
  snprintf(name, static_cast<size_t>(length), "Emulated device");
  return kSuccess;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
  ENTER("cuDeviceGetAttribute", false);
  *value = attribute == 16 ? 2 : attribute == 39 ? 256 : attribute == 75 ? 9 : 0;
  return kSuccess;
}
int cuDevicePrimaryCtxRetain(void** context, int) {
  ENTER("cuDevicePrimaryCtxRetain", false);
  *context = &fake();
  return kSuccess;
}
int cuCtxSetCurrent(void* context) {
  ENTER("cuCtxSetCurrent", false);
  if (context != &fake()) return violate("cuCtxSetCurrent: no context", kInvalidContext);
  fake().has_context = true;
  return kSuccess;
}
int cuMemGetInfo_v2(size_t* free, size_t* total) {
  ENTER("cuMemGetInfo");
  *total = fake().memory;
  *free = fake().memory - fake().used;
  return kSuccess;
}
int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  ENTER("cuMemAlloc");
  Fake& f = fake();
  if (bytes == 0) return violate("cuMemAlloc of nothing", kInvalidValue);
  if (bytes > f.memory - f.used) return kOutOfMemory;
  void* memory = aligned_alloc(512, (bytes + 511) / 512 * 512);
  memset(memory, 0xa5, bytes);
  *address = reinterpret_cast<uint64_t>(memory);
  f.allocations[*address] = bytes;
  f.used += bytes;
  return kSuccess;
}
int cuMemFree_v2(uint64_t address) {
  ENTER("cuMemFree");
  Fake& f = fake();
  const auto found = f.allocations.find(address);
  if (found == f.allocations.end()) return violate("cuMemFree of no allocation", kInvalidValue);
  run_all();
  f.used -= found->second;
  free(reinterpret_cast<void*>(address));
  f.allocations.erase(found);
  return kSuccess;
}
int cuMemHostAlloc(void** address, size_t bytes, unsigned) {
  ENTER("cuMemHostAlloc");
  *address = malloc(bytes);
  fake().pinned[reinterpret_cast<uint64_t>(*address)] = bytes;
  return kSuccess;
}
int cuMemFreeHost(void* address) {
  ENTER("cuMemFreeHost");
  if (fake().pinned.erase(reinterpret_cast<uint64_t>(address)) == 0) {
    return violate("cuMemFreeHost of no allocation", kInvalidValue);
  }
  run_all();
  free(address);
  return kSuccess;
}
// From pageable memory the bytes are taken at once, from pinned memory when the copy runs.
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, CUstream_st* stream) {
  ENTER("cuMemcpyHtoDAsync");
  KNOWN(streams, stream, "cuMemcpyHtoDAsync");
  if (!is_device_memory("cuMemcpyHtoDAsync", to, bytes)) return kInvalidValue;
  void* target = reinterpret_cast<void*>(to);
  if (lies_in(fake().pinned, reinterpret_cast<uint64_t>(from), bytes)) {
    return queue_copy("cuMemcpyHtoDAsync", stream, target, from, bytes, true, false);
  }
  const auto* first = static_cast<const char*>(from);
  enqueue(stream, [target, taken = std::vector<char>(first, first + bytes)] {
    memcpy(target, taken.data(), taken.size());
  });
  return kSuccess;
}
// To pageable memory the copy is complete when the call returns.
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, CUstream_st* stream) {
  ENTER("cuMemcpyDtoHAsync");
  KNOWN(streams, stream, "cuMemcpyDtoHAsync");
  if (!is_device_memory("cuMemcpyDtoHAsync", from, bytes)) return kInvalidValue;
  queue_copy("cuMemcpyDtoHAsync", stream, to, reinterpret_cast<void*>(from), bytes, false, true);
  if (!lies_in(fake().pinned, reinterpret_cast<uint64_t>(to), bytes)) {
    run_until(stream, stream->queued);
  }
  return kSuccess;
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, CUstream_st* stream) {
  ENTER("cuMemcpyDtoDAsync");
  KNOWN(streams, stream, "cuMemcpyDtoDAsync");
  return queue_copy("cuMemcpyDtoDAsync", stream, reinterpret_cast<void*>(to),
                    reinterpret_cast<void*>(from), bytes, true, true);
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t count, CUstream_st* stream) {
  ENTER("cuMemsetD8Async");
  KNOWN(streams, stream, "cuMemsetD8Async");
  enqueue(stream, [=] {
    if (is_device_memory("cuMemsetD8Async", to, count)) {
      memset(reinterpret_cast<void*>(to), value, count);
    }
  });
  return kSuccess;
}
int cuStreamCreate(CUstream_st** stream, unsigned) {
  ENTER("cuStreamCreate");
  fake().streams.insert(*stream = new CUstream_st);
  return kSuccess;
}
int cuStreamDestroy_v2(CUstream_st* stream) {
  ENTER("cuStreamDestroy");
  KNOWN(streams, stream, "cuStreamDestroy");
  run_until(stream, stream->queued);
  fake().streams.erase(stream);
  delete stream;
  return kSuccess;
}
int cuStreamSynchronize(CUstream_st* stream) {
  ENTER("cuStreamSynchronize");
  KNOWN(streams, stream, "cuStreamSynchronize");
  run_until(stream, stream->queued);
  return kSuccess;
}
int cuStreamWaitEvent(CUstream_st* stream, CUevent_st* event, unsigned) {
  ENTER("cuStreamWaitEvent");
  KNOWN(streams, stream, "cuStreamWaitEvent");
  KNOWN(events, event, "cuStreamWaitEvent");
  enqueue(stream, [event = *event] { wait_for(event); });
  return kSuccess;
}
int cuEventCreate(CUevent_st** event, unsigned) {
  ENTER("cuEventCreate");
  fake().events.insert(*event = new CUevent_st);
  return kSuccess;
}
int cuEventDestroy_v2(CUevent_st* event) {
  ENTER("cuEventDestroy");
  KNOWN(events, event, "cuEventDestroy");
  fake().events.erase(event);
  delete event;
  return kSuccess;
}
int cuEventRecord(CUevent_st* event, CUstream_st* stream) {
  ENTER("cuEventRecord");
  KNOWN(events, event, "cuEventRecord");
  KNOWN(streams, stream, "cuEventRecord");
  *event = {stream, stream->queued};
  return kSuccess;
}
int cuEventQuery(CUevent_st* event) {
  ENTER("cuEventQuery");
  KNOWN(events, event, "cuEventQuery");
  return is_done(event) ? kSuccess : kNotReady;
}
int cuEventSynchronize(CUevent_st* event) {
  ENTER("cuEventSynchronize");
  KNOWN(events, event, "cuEventSynchronize");
  wait_for(*event);
  return kSuccess;
}
int cuModuleLoadData(CUmod_st** module, const void* image) {
  ENTER("cuModuleLoadData");
  const auto* text = static_cast<const char*>(image);
  constexpr char kMagic[] = "host image ";
  void* library;
  if (strncmp(text, kMagic, sizeof kMagic - 1) == 0) {
    library = dlopen(text + sizeof kMagic - 1, RTLD_NOW | RTLD_LOCAL);
  } else if (memcmp(text, ELFMAG, SELFMAG) == 0) {
    library = load_host_section(text);
  } else {
    return kInvalidImage;
  }
  if (!library) return violate("a module that can't be loaded", kInvalidImage);
  fake().modules.insert(*module = new CUmod_st{library});
  return kSuccess;
}
int cuModuleUnload(CUmod_st* module) {
  ENTER("cuModuleUnload");
  KNOWN(modules, module, "cuModuleUnload");
  for (const CUstream_st* stream : fake().streams) {
    if (!stream->queue.empty()) violate("cuModuleUnload while work is queued", 0);
  }
  std::erase_if(fake().functions, [&](CUfunc_st* function) {
    if (function->module != module) return false;
    delete function;
    return true;
  });
  fake().modules.erase(module);
  delete module;  // the library stays: other modules may be of the same one
  return kSuccess;
}
int cuModuleGetFunction(CUfunc_st** function, CUmod_st* module, const char* name) {
  ENTER("cuModuleGetFunction");
  KNOWN(modules, module, "cuModuleGetFunction");
  std::string entry = name;
  if (!entry.starts_with("launch_")) entry = "launch_" + entry;
  void* run = dlsym(module->library, entry.c_str());
  const void* count = dlsym(module->library, (entry + "_parameters").c_str());
  if (!run || !count) return kNotFound;
  fake().functions.insert(*function = new CUfunc_st{
                              module, reinterpret_cast<void (*)(void**, unsigned)>(run),
                              static_cast<const char**>(
                                  dlsym(module->library, "emulation_failure")),
                              *static_cast<const int*>(count)});
  return kSuccess;
}
int cuLaunchKernel(CUfunc_st* function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                   CUstream_st* stream, void** parameters, void** extra) {
  ENTER("cuLaunchKernel");
  KNOWN(functions, function, "cuLaunchKernel");
  KNOWN(streams, stream, "cuLaunchKernel");
  if (grid_x == 0 || grid_y != 1 || grid_z != 1 || block_x != 128 || block_y != 1 || block_z != 1 ||
      shared_bytes > 48 << 10 || extra) {
    return violate("cuLaunchKernel with a grid that kernels are not made for", kInvalidValue);
  }
  std::vector<uint64_t> words(static_cast<size_t>(function->parameters));  // all have 8 bytes
  for (size_t i = 0; i < words.size(); ++i) memcpy(&words[i], parameters[i], 8);
  enqueue(stream, [=]() mutable {
    std::vector<void*> pointers;
    for (uint64_t& word : words) pointers.push_back(&word);
    function->run(pointers.data(), grid_x);
    if (function->failure && *function->failure) {
      violate(*function->failure, kLaunchFailed);
      *function->failure = nullptr;
    }
  });
  return kSuccess;
}

}  // extern "C"

// The CUDA driver, loaded when first asked for: one table of its functions.
//
// The types and constants are the few of cuda.h that are used (NVIDIA, "CUDA Driver API"), so that
// nothing of CUDA is needed to build.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tenon::cuda {

using DeviceAddress = uint64_t;  // CUdeviceptr
using ContextHandle = struct CUctx_st*;
using StreamHandle = struct CUstream_st*;
using EventHandle = struct CUevent_st*;
using ModuleHandle = struct CUmod_st*;
using FunctionHandle = struct CUfunc_st*;

enum Result : int { kSuccess = 0, kOutOfMemory = 2, kNotReady = 600 };
enum Attribute : int {  // CUdevice_attribute
  kMultiprocessors = 16,
  kThreadsOfMultiprocessor = 39,
  kMajorVersion = 75,
  kMinorVersion = 76,
};
constexpr unsigned kNonBlockingStream = 1;  // CU_STREAM_NON_BLOCKING
constexpr unsigned kUntimedEvent = 2;       // CU_EVENT_DISABLE_TIMING

struct Driver {
  int (*cuInit)(unsigned flags);
  int (*cuDriverGetVersion)(int* version);
  int (*cuGetErrorName)(int result, const char** name);
  int (*cuGetErrorString)(int result, const char** text);
  int (*cuDeviceGetCount)(int* count);
  int (*cuDeviceGet)(int* device, int ordinal);
  int (*cuDeviceGetName)(char* name, int length, int device);
  int (*cuDeviceGetAttribute)(int* value, int attribute, int device);
  int (*cuDevicePrimaryCtxRetain)(ContextHandle* context, int device);
  int (*cuCtxSetCurrent)(ContextHandle context);
  int (*cuMemGetInfo)(size_t* free, size_t* total);
  int (*cuMemAlloc)(DeviceAddress* address, size_t bytes);
  int (*cuMemFree)(DeviceAddress address);
  int (*cuMemHostAlloc)(void** address, size_t bytes, unsigned flags);
  int (*cuMemFreeHost)(void* address);
  int (*cuMemcpyHtoDAsync)(DeviceAddress to, const void* from, size_t bytes, StreamHandle stream);
  int (*cuMemcpyDtoHAsync)(void* to, DeviceAddress from, size_t bytes, StreamHandle stream);
  int (*cuMemcpyDtoDAsync)(DeviceAddress to, DeviceAddress from, size_t bytes, StreamHandle stream);
  int (*cuMemsetD8Async)(DeviceAddress to, unsigned char value, size_t count, StreamHandle stream);
  int (*cuStreamCreate)(StreamHandle* stream, unsigned flags);
  int (*cuStreamDestroy)(StreamHandle stream);
  int (*cuStreamSynchronize)(StreamHandle stream);
  int (*cuStreamWaitEvent)(StreamHandle stream, EventHandle event, unsigned flags);
  int (*cuEventCreate)(EventHandle* event, unsigned flags);
  int (*cuEventDestroy)(EventHandle event);
  int (*cuEventRecord)(EventHandle event, StreamHandle stream);
  int (*cuEventQuery)(EventHandle event);
  int (*cuEventSynchronize)(EventHandle event);
  int (*cuModuleLoadData)(ModuleHandle* module, const void* image);
  int (*cuModuleUnload)(ModuleHandle module);
  int (*cuModuleGetFunction)(FunctionHandle* function, ModuleHandle module, const char* name);
  int (*cuLaunchKernel)(FunctionHandle function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                        StreamHandle stream, void** parameters, void** extra);
};

// Why there is no device to compute on: no driver, one that is too old, none that starts, or no
// device. Empty where there is one.
std::string why_no_device();
int device_count();  // 0 where why_no_device() says why

// The driver. Runtime error with why_no_device() where there is no device.
const Driver& driver();

// Error where a call of the driver failed: OutOfMemory, or Runtime with the driver's words and
// `call`, what was called.
void check_call(int result, const char* call);

// For tests: this library in place of the system's driver; empty: the system's. What was made with
// the one before must be gone.
void use_driver_library(const std::string& path);

}  // namespace tenon::cuda

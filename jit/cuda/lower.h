// From kernels of the loop IR to CUDA C++.
//
// In: verified kernels. Out: readable CUDA C++ that needs no headers, for NVRTC. What must hold: a
// kernel gives the bits that the interpreter gives for the same loop IR, whatever the grid.
//
// The 16 lanes of a vector are 16 neighbouring threads, half a warp: each holds its own lane. What
// has one lane, loop bounds and conditions among it, every thread computes for itself, so that the
// 16 go the same way. A vector's load or store is then one coalesced access; a reduction of lanes
// is shuffles in the order that ir.h documents; a pack of vectors is as many accesses in flight.
// The schedules of the CPU carry over: a group of 16 threads is what a thread of the CPU is, and
// takes chunks of the parallel range, as many groups as there are at once (a grid-stride loop).
#pragma once

#include <span>
#include <string>

#include "jit/loop/ir.h"

namespace tenon::cuda {

constexpr int kThreadsOfBlock = 128;
constexpr int kGroupsOfBlock = kThreadsOfBlock / loop::kLanes;

// The parameters of a generated function, 8 bytes each: addresses of the buffers, ints, scalars (as
// in loop::KernelFunction), then what Launch holds, in order.
struct Launch {
  void* scratch = nullptr;    // of all groups, one behind the other; null: in shared memory
  int64_t scratch_bytes = 0;  // of one group, a multiple of 64
  int64_t begin = 0, end = 0;
  int64_t chunk = 1;  // indices that a group takes at once
  int64_t row = 0;    // indices of a row, if the range is of rows; kernels that gather use it
  loop::ErrorSlot* error = nullptr;
};
static_assert(sizeof(Launch) == 7 * 8);

// Types and functions that the text of kernels uses; stands before it.
std::string prelude();

// One `extern "C" __global__` function named `symbol`.
std::string lower(const loop::Kernel& kernel, const std::string& symbol);

// order.cpp. Where the threads of a group have to meet, so that memory is accessed in program order
// as far as one can tell. By node; `at_start` is for the body of a loop, and of the whole kernel.
struct Order {
  std::vector<bool> meets_before, meets_at_start;
  bool kernel_meets_at_start = false;
};
Order order_of(const loop::Kernel& kernel);

}  // namespace tenon::cuda

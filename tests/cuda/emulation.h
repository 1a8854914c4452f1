// CUDA on the host, as far as generated kernels use it: compiled in front of their text.
//
// Every thread of a block is a coroutine with a stack of its own. A thread runs until it waits for
// others (a shuffle, a barrier); then another has its turn, in an order that changes from round to
// round, so that a kernel that needs a barrier and has none gives wrong bits. Where the threads of
// a mask don't all come to the same instruction the launch fails, and `emulation_failure` says so.
#pragma once

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define __global__
#define __launch_bounds__(threads)

struct Index3 {
  unsigned x;
};
static Index3 threadIdx, blockIdx, gridDim;
alignas(64) static unsigned char shared_scratch[48 << 10];
extern "C" {
const char* emulation_failure = nullptr;
}

namespace emulation {

constexpr int kThreads = 128, kWarp = 32;
constexpr size_t kStack = 1 << 20;  // touched only as far as it is used

enum class State { Fresh, Ready, Waiting, Done };

struct Thread {
  State state;
  jmp_buf at;
  unsigned mask;                // of the threads waited for
  const char* instruction;      // that it waits in
  unsigned turn;                // instructions of its group so far
  unsigned long long slots[2];  // what it gave to the others, by turn
  char* stack;
};
static Thread threads[kThreads];
static int current;
static jmp_buf scheduler;
static ucontext_t origin, start;
static void (*body)(void*);
static void* body_argument;

static void run_thread() {
  body(body_argument);
  threads[current].state = State::Done;
  _longjmp(scheduler, 1);
}

static void give_turn(int t) {
  current = t;
  threadIdx.x = t;
  Thread& thread = threads[t];
  if (_setjmp(scheduler) != 0) return;
  if (thread.state == State::Ready) _longjmp(thread.at, 1);
  thread.state = State::Ready;
  getcontext(&start);
  start.uc_stack.ss_sp = thread.stack;
  start.uc_stack.ss_size = kStack;
  start.uc_link = nullptr;
  makecontext(&start, run_thread, 0);
  setcontext(&start);
}

// The threads of the mask all wait in one instruction: they may go on.
static bool release(int t) {
  const Thread& thread = threads[t];
  const int warp = t / kWarp * kWarp;
  for (int lane = 0; lane < kWarp; ++lane) {
    if (!(thread.mask >> lane & 1)) continue;
    const Thread& other = threads[warp + lane];
    if (other.state == State::Done) {
      emulation_failure = "a thread is waited for that has returned";
      return false;
    }
    if (other.state != State::Waiting) return false;
    if (other.mask != thread.mask || other.turn != thread.turn ||
        strcmp(other.instruction, thread.instruction) != 0) {
      emulation_failure = "threads of one mask wait in different instructions";
      return false;
    }
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    if (thread.mask >> lane & 1) threads[warp + lane].state = State::Ready;
  }
  return true;
}

static void run_block() {
  static unsigned random = 1;
  for (Thread& thread : threads) {
    if (!thread.stack) {
      thread.stack = static_cast<char*>(mmap(nullptr, kStack, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    }
    thread.state = State::Fresh;
    thread.turn = 0;
  }
  for (;;) {
    bool moved = false, left = false;
    random = random * 1664525u + 1013904223u;
    const int first = random >> 16 & (kThreads - 1), step = random >> 30 | 1;  // 1 or 3
    const bool backwards = random >> 29 & 1;
    for (int i = 0; i < kThreads; ++i) {
      const int place = (first + i * step) & (kThreads - 1);
      const int t = backwards ? kThreads - 1 - place : place;
      if (threads[t].state != State::Fresh && threads[t].state != State::Ready) continue;
      give_turn(t);
      moved = true;
    }
    for (int t = 0; t < kThreads; ++t) {
      left |= threads[t].state != State::Done;
      if (threads[t].state == State::Waiting) moved |= release(t);
      if (emulation_failure) return;
    }
    if (!left) return;
    if (!moved) {
      emulation_failure = "threads wait for each other for ever";
      return;
    }
  }
}

static void wait(unsigned mask, const char* instruction) {
  Thread& me = threads[current];
  if (!(mask >> (current % kWarp) & 1)) emulation_failure = "a thread waits in a mask without it";
  me.mask = mask;
  me.instruction = instruction;
  me.state = State::Waiting;
  if (_setjmp(me.at) == 0) _longjmp(scheduler, 1);
}

// Gives a value to the threads of the mask; afterwards given(lane) is what that lane gave.
struct Exchange {
  unsigned slot;
  Exchange(unsigned mask, unsigned long long value, const char* instruction) {
    Thread& me = threads[current];
    slot = ++me.turn & 1;
    me.slots[slot] = value;
    wait(mask, instruction);
  }
  unsigned long long given(int lane) const {
    return threads[current / kWarp * kWarp + lane].slots[slot];
  }
};

// Runs kernel() in every thread of a grid.
template <class Kernel>
void run_grid(unsigned blocks, Kernel kernel) {
  body_argument = &kernel;
  body = [](void* p) { (*static_cast<Kernel*>(p))(); };
  gridDim.x = blocks;
  for (unsigned block = 0; block < blocks && !emulation_failure; ++block) {
    blockIdx.x = block;
    run_block();
  }
}

// Runs kernel(scratch, bytes of scratch, chunk, row) in a grid that is small, so that groups take
// several chunks.
template <class Kernel>
void launch(long long range, long long scratch_bytes, Kernel kernel) {
  constexpr long long kGroups = kThreads / 16, kBlocks = 2;
  if (range <= 0) return;
  const long long chunk = range > 256 ? 64 : 16;
  const long long row = range > 64 ? range / 11 + 1 : 0;  // any is right
  const long long chunks = (range + chunk - 1) / chunk;
  const long long all = (chunks + kGroups - 1) / kGroups;
  const auto blocks = static_cast<unsigned>(all < kBlocks ? all : kBlocks);
  scratch_bytes = (scratch_bytes + 63) / 64 * 64;
  unsigned char* scratch = nullptr;
  if (scratch_bytes * kGroups > static_cast<long long>(sizeof(shared_scratch))) {
    scratch = static_cast<unsigned char*>(
        aligned_alloc(64, static_cast<size_t>(scratch_bytes * kGroups * blocks)));
  }
  run_grid(blocks, [=] { kernel(scratch, scratch_bytes, chunk, row); });
  free(scratch);
}

template <class To, class From>
To bits_as(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  memcpy(&result, &x, sizeof x);
  return result;
}

}  // namespace emulation

// ---- what the device has built in ----

static inline void __syncwarp(unsigned mask) { emulation::Exchange(mask, 0, "__syncwarp"); }

template <class T>
T __shfl_sync(unsigned mask, T x, int lane, int width) {
  unsigned long long bits = 0;
  memcpy(&bits, &x, sizeof x);
  const emulation::Exchange exchange(mask, bits, "__shfl_sync");
  const int me = emulation::current % emulation::kWarp;
  bits = exchange.given((me & ~(width - 1)) + (lane & (width - 1)));
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline unsigned __ballot_sync(unsigned mask, bool flag) {
  const emulation::Exchange exchange(mask, flag, "__ballot_sync");
  unsigned result = 0;
  for (int lane = 0; lane < emulation::kWarp; ++lane) {
    if (mask >> lane & 1 && exchange.given(lane)) result |= 1u << lane;
  }
  return result;
}

static inline unsigned __match_any_sync(unsigned mask, unsigned long long value) {
  const emulation::Exchange exchange(mask, value, "__match_any_sync");
  unsigned result = 0;
  for (int lane = 0; lane < emulation::kWarp; ++lane) {
    if (mask >> lane & 1 && exchange.given(lane) == value) result |= 1u << lane;
  }
  return result;
}

// Threads change places only where they wait, so nothing else is needed to be atomic.
static inline unsigned atomicExch(unsigned* address, unsigned value) {
  const unsigned old = *address;
  *address = value;
  return old;
}
static inline void __threadfence() {}
static inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }

static inline float __uint_as_float(unsigned x) { return emulation::bits_as<float>(x); }
static inline unsigned __float_as_uint(float x) { return emulation::bits_as<unsigned>(x); }
static inline double __longlong_as_double(long long x) { return emulation::bits_as<double>(x); }
static inline long long __double_as_longlong(double x) { return emulation::bits_as<long long>(x); }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline double __dsqrt_rn(double x) { return sqrt(x); }
static inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
static inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }
static inline float f32_of_f16(unsigned short x) {
  return static_cast<float>(emulation::bits_as<_Float16>(x));
}
static inline unsigned short f16_of(float x) {
  return emulation::bits_as<unsigned short>(static_cast<_Float16>(x));
}

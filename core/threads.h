// The one thread pool: a oneTBB arena that every kernel and library call runs in.
#pragma once

#include <cstdint>
#include <functional>

#include "core/function_ref.h"

namespace tenon {

namespace detail {
class Group;  // pool.h
}

// Calls body(begin, end) over disjoint chunks that cover [0, n). Every chunk begins at a multiple
// of `grain`; there are about four chunks a thread. How [0, n) is cut must not change the result:
// callers make it so. Inline when n <= grain, with one thread, inside another parallel_for, and in
// a forked child. An exception of the body stops the chunks not yet begun and is rethrown; so does
// an interrupt, as Error(Interrupted), unless an InterruptGuard is alive.
void parallel_for(std::int64_t n, std::int64_t grain,
                  FunctionRef<void(std::int64_t begin, std::int64_t end)> body);

// Threads of the pool, the caller included (default: TENON_NUM_THREADS, or the cores this process
// may use). Takes effect at the next parallel_for.
int num_threads();
void set_num_threads(int n);

// Work that the pool's workers do beside the thread that asks for it, a piece at a time.
class Background {
 public:
  Background() = default;
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  // Doesn't wait: what was started keeps alive what it uses.
  ~Background();
  // False, and nothing starts, where there are no workers: with one thread, or in a forked child.
  // `work` must not throw.
  bool start(std::function<void()> work);
  // Until what was started has ended. The caller works with the pool meanwhile. Not inside a
  // BusySection, which the work may have to wait for.
  void wait();

 private:
  detail::Group* group_ = nullptr;
  int threads_ = 0;  // of the pool when it was last used
};

// True within the body of a parallel_for that really runs in parallel.
bool in_parallel_region();
// True in the child of a fork that happened after the pool was used.
bool in_forked_child();

// Asks running work to stop at its next chunk (from a signal handler, too). The flag stays until
// cleared.
void request_interrupt() noexcept;
void clear_interrupt() noexcept;
bool interrupt_requested() noexcept;
// Fails with Interrupted if it was requested and this thread has no InterruptGuard.
void check_interrupt();

// While alive, parallel_for of this thread ignores interrupts: after a plan's first write to memory
// that outlives it.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
};

}  // namespace tenon

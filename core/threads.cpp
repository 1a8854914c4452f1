#include "core/threads.h"

#include <pthread.h>
#include <sched.h>
#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>

#include "core/env.h"
#include "core/error.h"

namespace tenon {

namespace {

constexpr int kMaxThreads = 1024;
constexpr int kChunksPerThread = 4;

std::atomic<bool> g_interrupt{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // set from signal handlers
std::atomic<bool> g_forked{false};
std::atomic<bool> g_pool_used{false};
std::atomic<int> g_threads{0};  // 0: not yet known

constinit thread_local bool t_parallel = false;
constinit thread_local int t_guards = 0;

// The cores that affinity and the control group's quota leave.
int usable_cores() {
  int cores = 1;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) cores = std::max(1, CPU_COUNT(&set));
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "re")) {
    long long quota = 0;
    long long period = 0;
    if (std::fscanf(file, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0) {
      cores = static_cast<int>(std::clamp<long long>((quota + period - 1) / period, 1, cores));
    }
    std::fclose(file);
  }
  return std::min(cores, kMaxThreads);
}

// The arena of the current number of threads. Arenas are never destroyed: another thread may be
// inside, and there is one for each number ever set.
class Pool {
 public:
  static Pool& get() {
    static Pool* pool = new Pool;
    return *pool;
  }

  tbb::task_arena& arena(int threads) {
    tbb::task_arena* current = current_.load(std::memory_order_acquire);
    if (current && current->max_concurrency() == threads) return *current;
    const std::lock_guard lock(mutex_);
    std::unique_ptr<tbb::task_arena>& arena = arenas_[threads];
    if (!arena) {
      // oneTBB makes no more workers than cores unless told to.
      if (threads > allowed_) {
        control_ = std::make_unique<tbb::global_control>(
            tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
        allowed_ = threads;
      }
      arena = std::make_unique<tbb::task_arena>(threads);
      arena->initialize();
    }
    current_.store(arena.get(), std::memory_order_release);
    return *arena;
  }

 private:
  Pool() : allowed_(usable_cores()) {}

  std::mutex mutex_;
  std::atomic<tbb::task_arena*> current_{nullptr};
  std::map<int, std::unique_ptr<tbb::task_arena>> arenas_;
  std::unique_ptr<tbb::global_control> control_;
  int allowed_;
};

// The child of a fork has none of the workers: whoever waits for one would hang. Registered when
// the library is loaded, so that no fork comes between the pool's first use and this.
[[maybe_unused]] const int g_fork_handler = pthread_atfork(nullptr, nullptr, [] {
  if (g_pool_used.load(std::memory_order_relaxed)) g_forked.store(true, std::memory_order_relaxed);
});

// What a thread is while it runs a chunk.
class RegionScope {
 public:
  explicit RegionScope(bool guarded) : parallel_(t_parallel), guards_(t_guards) {
    t_parallel = true;
    t_guards = guarded ? 1 : 0;
  }
  ~RegionScope() {
    t_parallel = parallel_;
    t_guards = guards_;
  }
  RegionScope(const RegionScope&) = delete;
  RegionScope& operator=(const RegionScope&) = delete;

 private:
  bool parallel_;
  int guards_;
};

// Runs [begin, end) on this thread, in pieces of about 10 ms, so that an interrupt is noticed soon
// whatever an element costs.
void run_interruptibly(std::int64_t begin, std::int64_t end, std::int64_t grain,
                       FunctionRef<void(std::int64_t, std::int64_t)> body) {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kFirstUnits = 16;
  check_interrupt();
  if ((end - begin) / kFirstUnits <= grain) return body(begin, end);

  std::int64_t step = kFirstUnits * grain;
  Clock::time_point before = Clock::now();
  while (begin < end) {
    const std::int64_t stop = end - begin > step ? begin + step : end;
    body(begin, stop);
    begin = stop;
    check_interrupt();
    const Clock::time_point now = Clock::now();
    if (now - before < std::chrono::milliseconds(5)) {
      step = step > (end - begin) ? end : 2 * step;
    } else if (now - before > std::chrono::milliseconds(20)) {
      step = std::max(grain, step / 2 / grain * grain);
    }
    before = now;
  }
}

}  // namespace

void parallel_for(std::int64_t n, std::int64_t grain,
                  FunctionRef<void(std::int64_t, std::int64_t)> body) {
  if (n <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  if (n <= grain) {
    check_interrupt();
    return body(0, n);
  }
  const int threads = num_threads();
  if (threads == 1 || t_parallel || g_forked.load(std::memory_order_relaxed)) {
    return run_interruptibly(0, n, grain, body);
  }

  const std::int64_t units = n / grain + (n % grain != 0);
  const std::int64_t chunks =
      std::min<std::int64_t>(units, std::int64_t{kChunksPerThread} * threads);
  // The first `longer` chunks have one unit more.
  const std::int64_t size = units / chunks;
  const std::int64_t longer = units % chunks;
  const bool guarded = t_guards > 0;
  g_pool_used.store(true, std::memory_order_relaxed);
  Pool::get().arena(threads).execute([&] {
    tbb::parallel_for(
        tbb::blocked_range<std::int64_t>(0, chunks, 1),
        [&](const tbb::blocked_range<std::int64_t>& range) {
          const RegionScope scope(guarded);
          for (std::int64_t i = range.begin(); i < range.end(); ++i) {
            const std::int64_t first = i * size + std::min(i, longer);
            const std::int64_t count = size + (i < longer);
            const std::int64_t end = first + count == units ? n : (first + count) * grain;
            run_interruptibly(first * grain, end, grain, body);
          }
        },
        tbb::simple_partitioner());
  });
}

int num_threads() {
  int threads = g_threads.load(std::memory_order_relaxed);
  if (threads == 0) [[unlikely]] {
    threads = static_cast<int>(env_int("TENON_NUM_THREADS", usable_cores(), 1, kMaxThreads));
    int unset = 0;
    // set_num_threads() on another thread stands.
    if (!g_threads.compare_exchange_strong(unset, threads)) threads = unset;
  }
  return threads;
}

void set_num_threads(int n) {
  check(n >= 1 && n <= kMaxThreads, ErrorKind::Value,
        "the number of threads must be in 1..{}, got {}", kMaxThreads, n);
  g_threads.store(n, std::memory_order_relaxed);
}

bool in_parallel_region() { return t_parallel; }
bool in_forked_child() { return g_forked.load(std::memory_order_relaxed); }

void request_interrupt() noexcept { g_interrupt.store(true, std::memory_order_relaxed); }
void clear_interrupt() noexcept { g_interrupt.store(false, std::memory_order_relaxed); }
bool interrupt_requested() noexcept { return g_interrupt.load(std::memory_order_relaxed); }

void check_interrupt() {
  if (interrupt_requested() && t_guards == 0) [[unlikely]] {
    fail(ErrorKind::Interrupted, "interrupted: a kernel was stopped before it was complete");
  }
}

InterruptGuard::InterruptGuard() { ++t_guards; }
InterruptGuard::~InterruptGuard() { --t_guards; }

}  // namespace tenon

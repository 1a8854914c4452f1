#include "core/threads.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include "core/env.h"
#include "core/error.h"
#include "core/pool.h"

namespace tenon {

using detail::kMaxThreads;

namespace {

constexpr int kChunksPerThread = 4;

std::atomic<bool> g_interrupt{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // set from signal handlers
std::atomic<bool> g_forked{false};
std::atomic<bool> g_pool_used{false};
std::atomic<int> g_threads{0};  // 0: not yet known

constinit thread_local bool t_parallel = false;
constinit thread_local int t_guards = 0;

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
// whatever an element costs. The first piece is one grain, which is no more than callers must have.
void run_interruptibly(std::int64_t begin, std::int64_t end, std::int64_t grain,
                       FunctionRef<void(std::int64_t, std::int64_t)> body) {
  using Clock = std::chrono::steady_clock;
  check_interrupt();
  std::int64_t step = grain;
  Clock::time_point before = Clock::now();
  while (end - begin > step) {
    body(begin, begin + step);
    begin += step;
    check_interrupt();
    const Clock::time_point now = Clock::now();
    if (now - before < std::chrono::milliseconds(5)) {
      // At most eight times as many as took less than 5 ms: 40 ms, unless elements differ.
      const std::int64_t factor = now - before < std::chrono::milliseconds(1) ? 8 : 2;
      step = step > (end - begin) / factor ? end - begin : factor * step;
    } else if (now - before > std::chrono::milliseconds(20)) {
      step = std::max(grain, step / 2 / grain * grain);
    }
    before = now;
  }
  if (begin < end) body(begin, end);
}

// One call of parallel_for that runs in parallel, on the caller's stack.
struct Job {
  FunctionRef<void(std::int64_t, std::int64_t)> body;
  std::int64_t n;
  std::int64_t grain;
  std::int64_t units;   // grains, the last of which may be short
  std::int64_t chunks;  // the first `units % chunks` have one unit more
  bool guarded;         // by an InterruptGuard of the caller
  // What the caller wrote before is visible to each chunk, and what chunks wrote to the caller.
  // (The pool orders them too, but out of sight of ThreadSanitizer.)
  std::atomic<bool> begun{false};
  std::atomic<std::int64_t> done{0};
};

class DoneScope {
 public:
  explicit DoneScope(Job& job) : job_(job) {}
  ~DoneScope() { job_.done.fetch_add(1, std::memory_order_release); }
  DoneScope(const DoneScope&) = delete;
  DoneScope& operator=(const DoneScope&) = delete;

 private:
  Job& job_;
};

void run_chunk(void* context, std::int64_t chunk) {
  Job& job = *static_cast<Job*>(context);
  (void)job.begun.load(std::memory_order_acquire);
  const DoneScope done(job);
  const RegionScope region(job.guarded);
  const std::int64_t size = job.units / job.chunks;
  const std::int64_t longer = job.units % job.chunks;
  const std::int64_t first = chunk * size + std::min(chunk, longer);
  const std::int64_t last = first + size + (chunk < longer);
  run_interruptibly(first * job.grain, last == job.units ? job.n : last * job.grain, job.grain,
                    job.body);
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

  g_pool_used.store(true, std::memory_order_relaxed);
  const std::int64_t units = n / grain + (n % grain != 0);
  Job job{.body = body,
          .n = n,
          .grain = grain,
          .units = units,
          .chunks = std::min<std::int64_t>(units, std::int64_t{kChunksPerThread} * threads),
          .guarded = t_guards > 0};
  job.begun.store(true, std::memory_order_release);
  const auto wait = [&job] { (void)job.done.load(std::memory_order_acquire); };
  try {
    detail::run_in_arena(threads, job.chunks, run_chunk, &job);
  } catch (...) {
    wait();
    throw;
  }
  wait();
}

namespace {

// On the heap: whoever started it doesn't wait for it.
struct Piece {
  std::function<void()> work;
  std::atomic<bool> begun{false};  // as Job's
};

void run_piece(void* context) {
  const std::unique_ptr<Piece> piece(static_cast<Piece*>(context));
  (void)piece->begun.load(std::memory_order_acquire);
  piece->work();
}

// That nobody waits for.
struct LeftGroup {
  detail::Group* group = nullptr;
  std::atomic<bool> begun{false};  // as Job's
};

void free_left_group(void* context) {
  const std::unique_ptr<LeftGroup> left(static_cast<LeftGroup*>(context));
  (void)left->begun.load(std::memory_order_acquire);
  detail::free_group(left->group);
}

}  // namespace

bool Background::start(std::function<void()> work) {
  const int threads = num_threads();
  if (threads == 1 || in_forked_child()) return false;
  g_pool_used.store(true, std::memory_order_relaxed);
  if (!group_) group_ = detail::make_group();
  auto piece = std::make_unique<Piece>();
  piece->work = std::move(work);
  piece->begun.store(true, std::memory_order_release);
  threads_ = threads;
  detail::add_to_group(threads, *group_, run_piece, piece.release());
  return true;
}

void Background::wait() {
  if (!group_ || in_forked_child()) return;
  detail::wait_for_group(threads_, *group_);
  detail::free_group(std::exchange(group_, nullptr));
}

Background::~Background() {
  if (!group_ || in_forked_child()) return;
  auto left = std::make_unique<LeftGroup>();
  left->group = group_;
  left->begun.store(true, std::memory_order_release);
  detail::wait_for_group_later(threads_, *group_, free_left_group, left.release());
}

int num_threads() {
  int threads = g_threads.load(std::memory_order_relaxed);
  if (threads == 0) [[unlikely]] {
    threads =
        static_cast<int>(env_int("TENON_NUM_THREADS", detail::usable_cores(), 1, kMaxThreads));
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

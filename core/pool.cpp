#include "core/pool.h"

#include <sched.h>
#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>

namespace tenon::detail {

namespace {

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

}  // namespace

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

void run_in_arena(int threads, std::int64_t chunks, void (*run)(void* context, std::int64_t chunk),
                  void* context) {
  using Range = tbb::blocked_range<std::int64_t>;
  // While a thread waits for the others' chunks it takes no work from outside this loop: that might
  // be another thread's wait for the very task which this loop is part of.
  Pool::get().arena(threads).execute([=] {
    tbb::this_task_arena::isolate([=] {
      tbb::parallel_for(
          Range(0, chunks, 1),
          [=](const Range& range) {
            for (std::int64_t i = range.begin(); i < range.end(); ++i) run(context, i);
          },
          tbb::simple_partitioner());
    });
  });
}

class Group {
 public:
  tbb::task_group tasks;
};

Group* make_group() { return new Group; }

void add_to_group(int threads, Group& group, void (*run)(void* context), void* context) {
  Pool::get().arena(threads).enqueue(
      group.tasks.defer([=] { tbb::this_task_arena::isolate([=] { run(context); }); }));
}

void wait_for_group(int threads, Group& group) {
  Pool::get().arena(threads).execute([&group] { group.tasks.wait(); });
}

void wait_for_group_later(int threads, Group& group, void (*run)(void* context), void* context) {
  Pool::get().arena(threads).enqueue([=, &group] {
    group.tasks.wait();
    run(context);
  });
}

void free_group(Group* group) { delete group; }

}  // namespace tenon::detail

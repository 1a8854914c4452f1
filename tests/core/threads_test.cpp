#include "core/threads.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/allocator.h"
#include "core/types.h"
#include "tests/core/expect_error.h"

using namespace tenon;

namespace {
class Threads {
 public:
  explicit Threads(int n) : before_(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before_); }

 private:
  int before_;
};
}  // namespace

TEST_CASE("every element once, every chunk at a multiple of the grain") {
  for (const int threads : {1, 2, 5}) {
    const Threads scope(threads);
    for (const std::int64_t n : {0, 1, 2, 7, 100, 1000, 99991}) {
      for (const std::int64_t grain : {0, 1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> seen(static_cast<std::size_t>(n));
        std::atomic<bool> aligned{true};
        parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
          if (grain > 1 && begin % grain != 0) aligned = false;
          if (begin >= end) aligned = false;
          for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
        });
        CHECK(aligned);
        for (const auto& count : seen) REQUIRE(count == 1);
      }
    }
  }
}

TEST_CASE("negative and huge ranges") {
  const Threads scope(2);
  parallel_for(-5, 1, [](std::int64_t, std::int64_t) { FAIL("called for no elements"); });
  std::atomic<std::uint64_t> total{0};
  const std::int64_t n = std::numeric_limits<std::int64_t>::max();
  parallel_for(n, std::int64_t{1} << 20, [&](std::int64_t begin, std::int64_t end) {
    total += static_cast<std::uint64_t>(end - begin);
  });
  CHECK(total == static_cast<std::uint64_t>(n));
}

TEST_CASE("several threads take part") {
  const Threads scope(2);
  std::mutex mutex;
  std::vector<std::thread::id> ids;
  // A chunk waits until a second thread has come, or for two seconds.
  parallel_for(8, 1, [&](std::int64_t, std::int64_t) {
    CHECK(in_parallel_region());
    for (int i = 0; i < 200; ++i) {
      {
        const std::lock_guard lock(mutex);
        if (std::find(ids.begin(), ids.end(), std::this_thread::get_id()) == ids.end()) {
          ids.push_back(std::this_thread::get_id());
        }
        if (ids.size() > 1) return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  CHECK(ids.size() == 2);
  CHECK_FALSE(in_parallel_region());
}

TEST_CASE("nested calls run inline") {
  const Threads scope(2);
  std::atomic<std::int64_t> sum{0};
  parallel_for(10, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto self = std::this_thread::get_id();
      parallel_for(100, 1, [&](std::int64_t b, std::int64_t e) {
        CHECK(std::this_thread::get_id() == self);
        sum += e - b;
      });
    }
  });
  CHECK(sum == 1000);
}

TEST_CASE("an exception of the body arrives at the caller") {
  for (const int threads : {1, 2}) {
    const Threads scope(threads);
    CHECK_THROWS_WITH_AS(parallel_for(1000, 1,
                                      [](std::int64_t begin, std::int64_t end) {
                                        if (begin <= 500 && 500 < end) {
                                          throw std::runtime_error("at 500");
                                        }
                                      }),
                         "at 500", std::runtime_error);
    CHECK_FALSE(in_parallel_region());
    testing::expect_error(ErrorKind::Index, {"x"}, [] {
      parallel_for(10, 1, [](std::int64_t, std::int64_t) { fail(ErrorKind::Index, "x"); });
    });
  }
}

TEST_CASE("an interrupt stops a long loop soon, unless guarded") {
  for (const int threads : {1, 2}) {
    const Threads scope(threads);
    std::thread signal([] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      request_interrupt();
    });
    const auto start = std::chrono::steady_clock::now();
    // 100 s of work in one call, if nobody stopped it.
    testing::expect_error(ErrorKind::Interrupted, {"interrupted"}, [] {
      parallel_for(1000000, 1, [](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
      });
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    CHECK(seconds.count() < 0.35);
    signal.join();
    CHECK(interrupt_requested());

    std::atomic<std::int64_t> done{0};
    const auto count = [&](std::int64_t begin, std::int64_t end) { done += end - begin; };
    {
      const InterruptGuard guard;
      parallel_for(1000, 1, count);
      CHECK(done == 1000);
      CHECK_NOTHROW(check_interrupt());
    }
    CHECK_THROWS_AS(check_interrupt(), Error);
    CHECK_THROWS_AS(parallel_for(1, 1, count), Error);
    clear_interrupt();
    CHECK_NOTHROW(check_interrupt());
  }
}

TEST_CASE("the number of threads is validated") {
  testing::expect_error(ErrorKind::Value, {"1..", "got 0"}, [] { set_num_threads(0); });
  testing::expect_error(ErrorKind::Value, {"got 5000"}, [] { set_num_threads(5000); });
  CHECK(num_threads() >= 1);
}

TEST_CASE("several callers share the pool") {
  const Threads scope(2);
  std::vector<std::thread> callers;
  std::atomic<std::int64_t> total{0};
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        parallel_for(1000, 10, [&](std::int64_t begin, std::int64_t end) { total += end - begin; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(total == 4 * 200 * 1000);
}

#if !defined(__SANITIZE_THREAD__)  // TSan does not support threads after a fork
TEST_CASE("a forked child computes serially and does not hang") {
  const Threads scope(2);
  std::atomic<bool> stop{false};
  // Somebody holds the allocator's and the types' locks at any moment.
  std::thread busy([&] {
    for (std::int64_t i = 0; !stop; ++i) {
      allocate(100000);
      intern_contiguous(DType::Int8, kCPU, Dims{i % 50000, 17});
    }
  });
  parallel_for(1000, 1, [](std::int64_t, std::int64_t) {});
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      std::int64_t sum = 0;  // not atomic: the child is serial
      parallel_for(100000, 1, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
      const bool right = sum == 100000 && in_forked_child() && allocate(5000)->data() &&
                         intern_contiguous(DType::Int8, kCPU, Dims{123457}) != kNoType;
      _exit(right ? 0 : 1);
    }
    REQUIRE(child > 0);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CAPTURE(status);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
  CHECK_FALSE(in_forked_child());
  stop = true;
  busy.join();
}
#endif

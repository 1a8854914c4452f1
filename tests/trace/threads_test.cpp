// Threads that record, share tensors, run and free at the same time.
#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "autograd/autograd.h"
#include "tests/trace/values.h"

using namespace tenon;
using namespace tenon::testing;

namespace {

template <class Body>
void run_threads(int count, Body&& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back([&, i] { body(i); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("threads read each other's pending tensors") {
  constexpr int kThreads = 8, kSteps = 50;
  const Tensor shared = scale(ramp({4}), 1);  // pending on this thread
  std::mutex mutex;
  std::vector<std::pair<Tensor, float>> published;
  std::atomic<int> wrong = 0;
  run_threads(kThreads, [&](int number) {
    Tensor x = shared;
    float factor = 1;
    for (int i = 0; i < kSteps; ++i) {
      x = scale(x, 2);
      factor *= 2;
      if (i % 7 == number % 7) {
        x = add(x, shared);
        factor += 1;
      }
      if (factor > 1e6f) {
        x = shared;
        factor = 1;
      }
      std::pair<Tensor, float> other;
      {
        std::lock_guard guard(mutex);
        published.emplace_back(x, factor);
        other = published[static_cast<size_t>(number * 31 + i * 17) % published.size()];
      }
      const Tensor both = add(other.first, x);
      if (i % 5 == 0 && read(both)[3] != 3 * (other.second + factor)) ++wrong;
    }
  });
  CHECK(wrong == 0);
  for (const auto& [tensor, factor] : published) CHECK(read(tensor)[3] == 3 * factor);
}

TEST_CASE("what a finished thread left pending can be read") {
  Tensor x, y;
  std::thread([&] {
    x = scale(ramp({3}), 2);
    y = add(x, x);
  }).join();
  CHECK(read(y) == std::vector<float>{0, 4, 8});
  CHECK(read(x) == std::vector<float>{0, 2, 4});
}

TEST_CASE("each thread differentiates on its own") {
  const Tensor w = ramp({3}, 1, 1);
  std::atomic<int> wrong = 0;
  run_threads(8, [&](int number) {
    for (int i = 0; i < 20; ++i) {
      const Tensor x = scale(w, number + 1);
      const Tensor own = scale(x, 1);
      const Tensor leaf = from_bytes(DType::Float32, own.dims(), own.to_bytes());
      leaf.set_requires_grad(true);
      autograd::backward(sum(mul(mul(leaf, leaf), w)));
      const auto gradient = read(leaf.grad());
      for (int k = 0; k < 3; ++k) {
        const auto v = static_cast<float>(k + 1);
        if (gradient[k] != 2 * v * v * static_cast<float>(number + 1)) ++wrong;
      }
    }
  });
  CHECK(wrong == 0);
}

TEST_CASE("one thread writes, others read: each sees some version") {
  const Tensor x = tensor({2}, {0, 0});
  std::atomic<bool> done = false;
  std::atomic<int> wrong = 0;
  std::thread writer([&] {
    for (int i = 0; i < 200; ++i) update(x, [](Value v) { return v + 1.0; });
    done = true;
  });
  run_threads(4, [&](int) {
    float last = 0;
    while (!done) {
      const auto values = read(scale(x, 1));
      if (values[0] != values[1] || values[0] < last) ++wrong;
      last = values[0];
    }
  });
  writer.join();
  CHECK(wrong == 0);
  CHECK(read(x) == std::vector<float>{200, 200});
}

TEST_CASE("loops on several threads are cut while others read their values") {
  std::mutex mutex;
  std::vector<Tensor> latest(4, ramp({2}));
  run_threads(4, [&](int number) {
    Tensor x = ramp({2});
    const Tensor y = ramp({2}, 1, 1);
    for (int i = 0; i < 6000; ++i) {
      x = apply([](Value a, Value b) { return a * 0.5 + b; }, x, y);
      if (i % 500 == 499) {
        Tensor other;
        {
          std::lock_guard guard(mutex);
          latest[number] = x;
          other = latest[(number + 1) % 4];
        }
        read(other);
      }
    }
    std::lock_guard guard(mutex);
    latest[number] = x;
  });
  for (const Tensor& x : latest) CHECK(read(x) == std::vector<float>{2, 4});
}

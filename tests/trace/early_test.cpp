// What repeats runs beside its recorder. (With the reference executor nothing does.)
#include "trace/early.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "core/threads.h"
#include "tests/trace/values.h"

using namespace tenon;
using namespace tenon::testing;
using Floats = std::vector<float>;

namespace {

// For a test: early runs begin wherever they can.
class AtOnce {
 public:
  AtOnce() : threads_(num_threads()) {
    flush();
    set_least_lead(0);
    set_num_threads(3);
  }
  ~AtOnce() {
    set_least_lead(50'000);
    set_num_threads(threads_);
  }

 private:
  int threads_;
};

Tensor cumulated(const Tensor& x) {
  return apply([](Value v) { return ops::cumulative(Op::Cumsum, v, 0); }, x);
}

// Steps that can't be one kernel.
Tensor chain(const Tensor& x, int count, double factor) {
  Tensor y = x;
  for (int i = 0; i < count; ++i) y = scale(cumulated(y), factor);
  return y;
}

// The same by hand, in float32, in the same order.
Floats chained(Floats x, int count, double factor) {
  for (int i = 0; i < count; ++i) {
    float sum = 0;
    for (float& value : x) value = static_cast<float>(factor) * (sum += value);
  }
  return x;
}

// Small integers and powers of two, so that sums are exact in any order.
Tensor counting() { return ramp({40}, 1, 1); }

void wait_a_moment() { std::this_thread::sleep_for(std::chrono::microseconds(300)); }

}  // namespace

TEST_CASE("a loop that repeats has its values though it runs early") {
  const AtOnce at_once;
  const Tensor x = counting();
  const Floats expected = chained(read(x), 3, 0.25);
  for (int i = 0; i < 20; ++i) {
    const Tensor y = chain(x, 2, 0.25);
    if (i % 2 == 0) wait_a_moment();
    CHECK(read(chain(y, 1, 0.25)) == expected);
  }
}

TEST_CASE("what turns out otherwise has its own values") {
  const AtOnce at_once;
  const Tensor inputs[] = {counting(), scale(counting(), 2)};
  for (int i = 0; i < 80; ++i) {
    const Tensor& x = inputs[i % 5 == 4];
    const double factor = i % 7 == 6 ? 0.5 : 0.25;
    const int last = i % 3 == 2 ? 2 : 1;
    const Tensor y = chain(x, 2, factor);
    wait_a_moment();
    CHECK(read(chain(y, last, 0.5)) == chained(chained(read(x), 2, factor), last, 0.5));
  }
}

TEST_CASE("what nobody reads is dropped while it runs") {
  const AtOnce at_once;
  const Tensor x = ramp({40'000}, 0, 1);
  for (int i = 0; i < 30; ++i) {
    const Tensor y = chain(x, 4, 0.5);
    if (i % 2 == 0) CHECK(read(y)[0] == 0.0625F);
  }
}

TEST_CASE("threads that run early beside each other, and end") {
  const AtOnce at_once;
  const Tensor x = counting();
  const Floats expected = chained(read(x), 4, 0.25);
  std::atomic<int> wrong = 0;
  std::vector<Tensor> left(6);
  std::vector<std::thread> threads;
  for (int number = 0; number < 6; ++number) {
    threads.emplace_back([&, number] {
      for (int i = 0; i < 15; ++i) {
        const Tensor y = chain(x, 3, 0.25);
        if (i % 3 == number % 3) wait_a_moment();
        if (read(chain(y, 1, 0.25)) != expected) ++wrong;
      }
      left[number] = chain(x, 4, 0.25);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  for (const Tensor& tensor : left) CHECK(read(tensor) == expected);
}

TEST_CASE("another thread reads what runs early") {
  const AtOnce at_once;
  const Tensor x = counting();
  const Floats expected = chained(read(x), 2, 0.25);
  for (int i = 0; i < 20; ++i) {
    const Tensor y = chain(x, 2, 0.25);
    std::thread([&] { CHECK(read(y) == expected); }).join();
    CHECK(read(chain(y, 1, 0.25)) == chained(expected, 1, 0.25));
  }
}

TEST_CASE("a value that was read early is updated in place") {
  const AtOnce at_once;
  const Tensor x = ramp({64}, 0);
  for (int i = 0; i < 20; ++i) {
    const Tensor y = chain(x, 2, 1);
    wait_a_moment();
    update(x, [](Value v) { return v + 1.0; });
    CHECK(read(y)[1] == 3.0F * static_cast<float>(i));
    CHECK(read(x)[0] == static_cast<float>(i + 1));
  }
}

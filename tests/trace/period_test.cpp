// Where streams are cut, and that loops run as few different programs.
#include "trace/period.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "autograd/autograd.h"
#include "core/allocator.h"
#include "tests/trace/counting_executor.h"
#include "tests/trace/values.h"
#include "trace/cut.h"
#include "trace/recorder.h"

using namespace tenon;
using namespace tenon::testing;

namespace {

std::vector<uint64_t> letters(std::string_view text) { return {text.begin(), text.end()}; }

std::string repeat(std::string_view turn, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += turn;
  return text;
}

void check_loop(const Repetition& loop, size_t begin, size_t period, size_t end) {
  CHECK(loop.begin == begin);
  CHECK(loop.period == period);
  CHECK(loop.end == end);
}

// A stream in which each token reads the one before.
Stream chain(std::string_view text) {
  Stream stream;
  stream.tokens = letters(text);
  for (uint32_t i = 0; i < text.size(); ++i) {
    stream.nodes.push_back(i);
    stream.last_uses.push_back(i + 1 < text.size() ? i + 1 : i);
  }
  return stream;
}

// Different programs that ran, and their number of runs, while body records.
struct Ran {
  size_t plans;
  int runs;
};
template <class Body>
Ran count_plans(Body&& body) {
  flush();
  executor_under_test().keys.clear();
  executor_under_test().runs = 0;
  body();
  return {executor_under_test().keys.size(), executor_under_test().runs};
}

Tensor step(const Tensor& x, const Tensor& y) {
  return apply([](Value a, Value b) { return a * 0.5 + b; }, x, y);
}

}  // namespace

TEST_CASE("the smallest period at the end of a stream") {
  check_loop(find_repetition_at_end(letters("xyzabcabcabc")), 3, 3, 12);
  check_loop(find_repetition_at_end(letters("zzcabcabcabc")), 2, 3, 12);  // c ends a turn, too
  check_loop(find_repetition_at_end(letters("aaaaaaaa")), 0, 1, 8);
  CHECK(find_repetition_at_end(letters("abcdefgh")).period == 0);
  CHECK(find_repetition_at_end(letters("abcdefababab"
                                       "xyzuvwrstqponml"))
            .period == 0);
  CHECK(find_repetition_at_end(letters("")).period == 0);
}

TEST_CASE("a loop between what comes before and after it") {
  const std::string text = "xy" + repeat("abc", 20) + "zw";
  check_loop(find_repetition(letters(text)), 2, 3, 62);
  CHECK(find_repetition(letters("xyzuvwrst" + repeat("ab", 3) + "mlkjihgfed")).period == 0);
}

TEST_CASE("a flush cuts loops into powers of four of their period") {
  const auto pieces = [](std::string_view text) {
    std::vector<size_t> lengths;
    size_t last = 0;
    for (size_t cut : cuts_for_flush(chain(text))) {
      lengths.push_back(cut - last);
      last = cut;
    }
    lengths.push_back(text.size() - last);
    return lengths;
  };
  CHECK(pieces(repeat("abcd", 24)) == std::vector<size_t>{64, 16, 16});
  CHECK(pieces("xyz" + repeat("abcd", 21) + "w") == std::vector<size_t>{3, 64, 16, 4, 1});
  CHECK(pieces(repeat("ab", 600)) == std::vector<size_t>{512, 512, 128, 32, 8, 8});
  CHECK(pieces("abcdefgh") == std::vector<size_t>{8});
}

TEST_CASE("turns that don't depend on each other are not taken apart") {
  Stream stream = chain(repeat("abcd", 50));
  for (uint32_t i = 3; i < stream.last_uses.size(); i += 4) stream.last_uses[i] = i;
  CHECK(cuts_for_flush(stream).empty());
}

TEST_CASE("a loop is cut where the fewest values cross") {
  Stream stream = chain("xx" + repeat("abcd", 2000));
  for (uint32_t i = 2; i + 2 < stream.last_uses.size(); i += 4) stream.last_uses[i] = i + 2;
  // a is read by b and c, b by c, c by d, d by the next a: the cut comes before a, c or d.
  const std::vector<size_t> cuts = cuts_for_cap(stream);
  REQUIRE(cuts.size() >= 3);
  CHECK(cuts[0] == 2);
  CHECK(cuts[1] == 2 + 256);
  CHECK(cuts[2] == 2 + 512);
}

TEST_CASE("a loop of 10,000 steps that never reads is a handful of plans") {
  const Tensor y = ramp({2}, 1, 1);
  Tensor x = ramp({2});
  const Ran ran = count_plans([&] {
    for (int i = 0; i < 10000; ++i) x = step(x, y);
    CHECK(read(x) == std::vector<float>{2, 4});
  });
  CHECK(ran.plans <= 6);
  CHECK(ran.runs >= 8);
}

TEST_CASE("a loop that logs every 100 steps is a handful of plans") {
  const Tensor y = ramp({2}, 1, 1);
  Tensor x = ramp({2});
  const Ran ran = count_plans([&] {
    for (int i = 1; i <= 2000; ++i) {
      x = step(x, y);
      if (i % 100 == 0) CHECK(read(scale(x, 1))[0] == doctest::Approx(2));
    }
  });
  CHECK(ran.plans <= 5);
}

TEST_CASE("a loop with three phases is a handful of plans, alternating quickly or slowly") {
  const Tensor y = ramp({2}, 1, 1);
  for (int stretch : {1, 7, 1000}) {
    CAPTURE(stretch);
    Tensor x = ramp({2});
    const Ran ran = count_plans([&] {
      for (int i = 0; i < 10000; ++i) {
        switch (i / stretch % 3) {
          case 0:
            x = step(x, y);
            break;
          case 1:
            x = apply([](Value v) { return ops::unary(Op::Tanh, v); }, x);
            break;
          default:
            x = add(mul(x, y), y);
        }
      }
      read(x);
    });
    MESSAGE("phases of ", stretch, " steps: ", ran.plans, " plans, ", ran.runs, " runs");
    CHECK(ran.plans <= (stretch < 1000 ? 10 : 36));
  }
}

TEST_CASE("new data each step, values kept from the middle") {
  Tensor x = ramp({2});
  std::vector<Tensor> kept;
  const Ran ran = count_plans([&] {
    for (int i = 0; i < 10000; ++i) {
      x = step(x, ramp({2}, 1, static_cast<float>(i % 5)));
      if (i % 1500 == 700) kept.push_back(x);
    }
    read(x);
    for (const Tensor& k : kept) read(k);
  });
  CHECK(ran.plans <= 8);
}

TEST_CASE("loops of ever new lengths are a handful of plans") {
  const Tensor y = ramp({2}, 1, 1);
  uint32_t state = 1;
  const Ran ran = count_plans([&] {
    for (int i = 0; i < 24; ++i) {
      state = state * 1664525u + 1013904223u;
      Tensor x = ramp({2});
      for (uint32_t k = 0; k < 20 + (state >> 16) % 400; ++k) x = step(x, y);
      CHECK(read(x)[1] == doctest::Approx(4));
    }
  });
  MESSAGE(ran.plans, " plans, ", ran.runs, " runs");
  CHECK(ran.plans <= 8);
}

TEST_CASE("derivatives pass from piece to piece") {
  const float base = 1 + 1.0f / 8192;
  const Tensor w = tensor({1}, {base});
  w.set_requires_grad(true);
  Tensor x = tensor({1}, {1});
  const int n = 9000;
  for (int i = 0; i < n; ++i) x = mul(x, w);
  CHECK(x.requires_grad());
  autograd::backward(sum(x));
  CHECK(read(w.grad())[0] == doctest::Approx(n * std::pow(double{base}, n - 1)).epsilon(1e-3));
  CHECK(read(x)[0] == doctest::Approx(std::pow(double{base}, n)).epsilon(1e-3));
}

TEST_CASE("training that is never read is a handful of plans") {
  const Tensor data = ramp({4, 3}, 0.1f), target = ramp({4}, 0.5f);
  const Tensor w = ramp({3}, 0.1f);
  w.set_requires_grad(true);
  const auto loss_of = [&] {
    const Tensor prediction = apply(
        [](Value x, Value v) { return ops::dot_general(x, v, {}, {}, {{1}}, {{0}}); }, data, w);
    const Tensor error = apply([](Value p, Value t) { return p - t; }, prediction, target);
    return sum(mul(error, error));
  };
  const float before = read(loss_of())[0];
  const Ran ran = count_plans([&] {
    for (int i = 0; i < 300; ++i) {
      autograd::backward(loss_of());
      GradMode mode(false);
      const Tensor gradient = w.grad();
      update(w, [](Value v, Value g) { return v - g * 0.05; }, gradient);
      w.set_grad(Tensor());
    }
    CHECK(read(loss_of())[0] < before / 10);
  });
  MESSAGE(ran.plans, " plans, ", ran.runs, " runs");
  CHECK(ran.plans <= 8);
}

TEST_CASE("equal layers with parameters of their own are one program") {
  std::vector<Tensor> weights;
  for (int i = 0; i < 40; ++i) {
    weights.push_back(ramp({2}, 0.5f));
    weights.back().set_requires_grad(true);
  }
  const Ran ran = count_plans([&] {
    GradMode mode(false);
    Tensor x = ramp({2});
    for (const Tensor& w : weights)
      x = apply([](Value v, Value m) { return ops::unary(Op::Tanh, v * m) + v; }, x, w);
    read(x);
  });
  CHECK(ran.runs == 1);
}

TEST_CASE("buffers that pending operations hold are bounded, in whole turns of a loop") {
  flush();
  struct Cap {
    int64_t before = std::exchange(pinned_bytes_cap, 200 << 10);
    ~Cap() { pinned_bytes_cap = before; }
  } cap;
  const auto before = allocator_stats().allocated;
  Tensor total = scale(ramp({1}), 0);
  uint64_t most = 0;
  const Ran ran = count_plans([&] {
    for (int i = 0; i < 1000; ++i) {  // four kilobytes of new data a turn, never read
      total = apply([](Value t, Value x) { return t + ops::reduce(Op::ReduceMax, x, {{0}}); },
                    total, ramp({1000}));
      most = std::max<uint64_t>(most, allocator_stats().allocated - before);
    }
    CHECK(read(total)[0] == 999000);
  });
  CHECK(most < 300 << 10);
  CHECK(ran.plans <= 6);
  CHECK(ran.runs >= 20);
}

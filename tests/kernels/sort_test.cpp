#include "kernels/sort.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/threads.h"
#include "tests/core/expect_error.h"

using namespace tenon;

namespace {

using Order = std::vector<std::int64_t>;

template <class T>
Order sorted(const std::vector<T>& values, bool descending, std::int64_t rows = 1) {
  Order order(values.size(), -1);
  kernels::argsort(dtype_of<T>, values.data(), order.data(), rows,
                   static_cast<std::int64_t>(values.size()) / rows, descending);
  return order;
}

}  // namespace

// The expectations are torch.argsort(..., stable=True).
TEST_CASE("NaN is the greatest, equals keep their order, zeros are equal") {
  const float nan = NAN;
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> values{2, nan, -inf, 0.0f, -0.0f, inf, nan, 2};
  CHECK(sorted(values, false) == Order{2, 3, 4, 0, 7, 5, 1, 6});
  CHECK(sorted(values, true) == Order{1, 6, 5, 0, 7, 3, 4, 2});
  const std::vector<bfloat16> halves{1.0f, nan, -1.0f};
  CHECK(sorted(halves, false) == Order{2, 0, 1});
  CHECK(sorted(halves, true) == Order{1, 0, 2});
  const std::vector<float16> denormals{float16::from_bits(1), 0.0f, float16::from_bits(0x8001)};
  CHECK(sorted(denormals, false) == Order{2, 1, 0});
}

TEST_CASE("every ordered dtype") {
  for (int i = 0; i < kDTypeCount; ++i) {
    visit_dtype(static_cast<DType>(i), [&]<class T>(DTypeTag<T>) {
      if constexpr (is_float8(dtype_of<T>)) {
        testing::expect_error(ErrorKind::NotImplemented, {"float8"}, [] {
          T value{};
          std::int64_t order = 0;
          kernels::argsort(dtype_of<T>, &value, &order, 1, 1, false);
        });
      } else if constexpr (!is_complex(dtype_of<T>)) {
        const std::size_t n = 6;
        const int raw[n] = {3, 1, 2, 0, 1, 3};
        T values[n];
        for (std::size_t j = 0; j < n; ++j) values[j] = static_cast<T>(static_cast<float>(raw[j]));
        std::int64_t order[n];
        kernels::argsort(dtype_of<T>, values, order, 1, n, false);
        const Order got(order, order + n);
        CHECK(got ==
              (dtype_of<T> == DType::Bool ? Order{3, 0, 1, 2, 4, 5} : Order{3, 1, 4, 2, 0, 5}));
      } else {
        testing::expect_error(ErrorKind::Type, {"complex"}, [] {
          T value{};
          std::int64_t order = 0;
          kernels::argsort(dtype_of<T>, &value, &order, 1, 1, false);
        });
      }
    });
  }
  const std::vector<std::int64_t> extremes{std::numeric_limits<std::int64_t>::max(), 0,
                                           std::numeric_limits<std::int64_t>::min()};
  CHECK(sorted(extremes, false) == Order{2, 1, 0});
  const std::vector<std::uint64_t> large{~std::uint64_t{0}, 1};
  CHECK(sorted(large, false) == Order{1, 0});
}

TEST_CASE("no elements") {
  kernels::argsort(DType::Float32, nullptr, nullptr, 0, 5, false);
  kernels::argsort(DType::Float32, nullptr, nullptr, 5, 0, false);
}

TEST_CASE("rows are sorted on their own, in parallel") {
  const std::uint32_t seed = 23;
  CAPTURE(seed);
  std::mt19937 random(seed);
  const std::int64_t n = 700;
  const std::int64_t rows = 50;
  std::vector<std::int32_t> values(static_cast<std::size_t>(rows * n));
  for (auto& value : values) value = static_cast<std::int32_t>(random() % 100);
  for (const int threads : {1, 2}) {
    const int before = num_threads();
    set_num_threads(threads);
    for (const bool descending : {false, true}) {
      const Order order = sorted(values, descending, rows);
      for (std::int64_t row = 0; row < rows; ++row) {
        std::vector<bool> seen(static_cast<std::size_t>(n));
        for (std::int64_t i = 0; i < n; ++i) {
          const std::int64_t at = order[static_cast<std::size_t>(row * n + i)];
          REQUIRE(at >= 0);
          REQUIRE(at < n);
          REQUIRE_FALSE(seen[static_cast<std::size_t>(at)]);
          seen[static_cast<std::size_t>(at)] = true;
          if (i == 0) continue;
          const std::int64_t previous = order[static_cast<std::size_t>(row * n + i - 1)];
          const auto x = values[static_cast<std::size_t>(row * n + previous)];
          const auto y = values[static_cast<std::size_t>(row * n + at)];
          REQUIRE((descending ? x >= y : x <= y));
          if (x == y) REQUIRE(previous < at);
        }
      }
    }
    set_num_threads(before);
  }
}

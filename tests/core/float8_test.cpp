#include "core/float8.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/dtype.h"

using namespace tenon;

namespace {

template <class T>
void check_all_codes() {
  for (int code = 0; code < 256; ++code) {
    const T x = T::from_bits(static_cast<std::uint8_t>(code));
    const float value = x;
    if (std::isnan(value)) {
      CHECK(std::isnan(float(T(value))));
    } else {
      CHECK(int{T(value).bits} == code);
    }
  }
}

// The nearest of all numbers of the format, of two the one with an even code.
template <class T>
float nearest(float value) {
  float best = NAN;
  int best_code = 0;
  for (int code = 0; code < 256; ++code) {
    const float candidate = T::from_bits(static_cast<std::uint8_t>(code));
    if (!std::isfinite(candidate)) continue;
    const double distance = std::fabs(double{candidate} - value);
    const double least = std::fabs(double{best} - value);
    if (std::isnan(best) || distance < least || (distance == least && best_code % 2 != 0)) {
      best = candidate;
      best_code = code;
    }
  }
  return best;
}

}  // namespace

TEST_CASE("every code is what its number rounds to") {
  check_all_codes<float8_e4m3fn>();
  check_all_codes<float8_e5m2>();
  check_all_codes<float8_e4m3fnuz>();
  check_all_codes<float8_e5m2fnuz>();
  check_all_codes<float8_e8m0fnu>();
}

TEST_CASE("numbers in range round to the nearest") {
  for (float value = -230.0f; value < 230.0f; value += 0.37f) {
    CHECK(float(float8_e4m3fn(value)) == nearest<float8_e4m3fn>(value));
    CHECK(float(float8_e5m2(value)) == nearest<float8_e5m2>(value));
    CHECK(float(float8_e4m3fnuz(value)) == nearest<float8_e4m3fnuz>(value));
    CHECK(float(float8_e5m2fnuz(value)) == nearest<float8_e5m2fnuz>(value));
  }
  for (float value = 0x1p-12f; value < 0.02f; value += 0x1p-13f) {
    CHECK(float(float8_e4m3fn(value)) == nearest<float8_e4m3fn>(value));
    CHECK(float(float8_e4m3fnuz(value)) == nearest<float8_e4m3fnuz>(value));
  }
}

TEST_CASE("what is too large") {
  CHECK(float(float8_e4m3fn(1e9f)) == 448.0f);
  CHECK(float(float8_e4m3fn(-INFINITY)) == -448.0f);
  CHECK(float(float8_e5m2(1e9f)) == INFINITY);
  CHECK(std::isnan(float(float8_e4m3fnuz(1e9f))));
  CHECK(std::isnan(float(float8_e8m0fnu(INFINITY))));
  CHECK(float(float8_e8m0fnu(3.0f)) == 4.0f);
  CHECK(float(float8_e8m0fnu(-1.4f)) == 1.0f);
  CHECK(float8_e4m3fnuz(-0.0f).bits == 0);
}

#include "core/half.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <random>

using namespace tenon;

namespace {

// Exact by definition: rounds a double, which holds every float, to a binary format.
double round_to(double x, int mantissa_bits, int min_exponent, double largest) {
  if (std::isnan(x) || std::isinf(x) || x == 0) return x;
  int exponent = 0;
  std::frexp(x, &exponent);  // |x| in [2^(exponent-1), 2^exponent)
  const int unit = std::max(exponent - 1, min_exponent) - mantissa_bits;
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
  return std::abs(rounded) > largest ? std::copysign(INFINITY, x) : rounded;
}
double round_half(double x) { return round_to(x, 10, -14, 65504.0); }
double round_bfloat(double x) { return round_to(x, 7, -126, 3.3895313892515355e38); }

bool same(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

template <class Half, class Round>
void check_value(float x, Round round) {
  CAPTURE(x);
  const float y = Half(x);
  if (!same(y, round(x))) FAIL_CHECK("got ", y, ", want ", round(x));
}

}  // namespace

TEST_CASE("every float16 survives the way through float") {
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float16 h = float16::from_bits(static_cast<std::uint16_t>(bits));
    const float f = h;
    const float16 back = f;
    const bool nan = (bits & 0x7fff) > 0x7c00;
    CHECK_MESSAGE(std::isnan(f) == nan, bits);
    // A signalling NaN becomes quiet; its payload stays.
    CHECK_MESSAGE(back.bits == (nan ? (bits | 0x200) : bits), bits);
    if (!nan && (bits & 0x7c00) != 0x7c00) {
      const int exponent = (bits >> 10) & 31;
      const double mantissa = (bits & 1023) + (exponent ? 1024 : 0);
      const double want = std::ldexp(mantissa, std::max(exponent, 1) - 25) * (bits >> 15 ? -1 : 1);
      CHECK_MESSAGE(same(f, want), bits);
    }
  }
}

TEST_CASE("every bfloat16 survives the way through float") {
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const bfloat16 h = bfloat16::from_bits(static_cast<std::uint16_t>(bits));
    const bool nan = (bits & 0x7fff) > 0x7f80;
    CHECK_MESSAGE(std::isnan(float(h)) == nan, bits);
    CHECK_MESSAGE(bfloat16(float(h)).bits == (nan ? (bits | 0x40) : bits), bits);
  }
}

TEST_CASE("rounding at the edges") {
  CHECK(float(float16(65519.996f)) == 65504.0f);
  CHECK(std::isinf(float(float16(65520.0f))));
  CHECK(float16(-65520.0f).bits == 0xfc00);
  CHECK(float16(0x1p-25f).bits == 0);           // halfway to the smallest denormal: to even
  CHECK(float16(0x1.000002p-25f).bits == 1);    // just above
  CHECK(float16(-0x1p-26f).bits == 0x8000);     // keeps its sign
  CHECK(float16(0x1.ff8p-15f).bits == 0x03ff);  // the largest denormal
  CHECK(float16(0x1.ffcp-15f).bits == 0x0400);  // halfway to the smallest normal: to even
  CHECK(float16(1.0f + 0x1p-11f).bits == 0x3c00);
  CHECK(float16(1.0f + 0x1.8p-10f).bits == 0x3c02);
  CHECK(float16(-0.0f).bits == 0x8000);
  CHECK(bfloat16(1.0f + 0x1p-8f).bits == 0x3f80);
  CHECK(bfloat16(1.0f + 0x1.8p-7f).bits == 0x3f82);
  CHECK(std::isinf(float(bfloat16(3.4028235e38f))));
  CHECK(std::isnan(float(bfloat16(NAN))));
  CHECK(std::isnan(float(float16(NAN))));
}

TEST_CASE("conversions round to nearest even, against double arithmetic") {
  const std::uint32_t seed = 7;
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 300000; ++i) {
    const float any = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    check_value<float16>(any, round_half);
    check_value<bfloat16>(any, round_bfloat);
    // Floats within the range of float16, denormals included, with few bits (so: many ties).
    const float near =
        std::ldexp(static_cast<float>(random() % 8192), static_cast<int>(random() % 45) - 30);
    check_value<float16>(near, round_half);
    check_value<bfloat16>(near, round_bfloat);
  }
}

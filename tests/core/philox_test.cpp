#include "core/philox.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace tenon;

// The known answers of the authors' distribution, Random123's kat_vectors.
TEST_CASE("Philox4x32-10 known answers") {
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) ==
        PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const std::uint32_t ones = 0xffffffff;
  CHECK(philox4x32({ones, ones, ones, ones}, {ones, ones}) ==
        PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("an element's bits are a lane of its group's block") {
  const std::uint64_t seed = 0x123456789abcdef0;
  const std::uint64_t element = (std::uint64_t{1} << 40) + 7;
  CHECK(philox_bits(seed, 3, element) == philox_block(seed, 3, element / 4)[3]);
  CHECK(philox_block(1, 2, 3) == philox4x32({3, 0, 2, 0}, {1, 0}));
  CHECK(philox_block(seed, 1ull << 33, 1ull << 34) ==
        philox4x32({0, 4, 0, 2}, {0x9abcdef0, 0x12345678}));
  static_assert(philox_bits(0, 0, 0) == 0x6627e8d5);
}

TEST_CASE("bits are uniform enough to notice a swapped word") {
  double sum = 0;
  const int n = 100000;
  for (int i = 0; i < n; ++i) sum += philox_bits(42, 1, static_cast<std::uint64_t>(i)) * 0x1p-32;
  CHECK(std::abs(sum / n - 0.5) < 4 / std::sqrt(12.0 * n));
}

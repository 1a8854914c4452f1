// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): the
// reference for the random bits that the loop IR expands. Counter-based, so element i of call c has
// the same bits on any device, thread count and cut.
#pragma once

#include <array>
#include <cstdint>

namespace tenon {

using PhiloxBlock = std::array<std::uint32_t, 4>;

inline constexpr std::uint32_t kPhiloxM0 = 0xd2511f53u;
inline constexpr std::uint32_t kPhiloxM1 = 0xcd9e8d57u;
inline constexpr std::uint32_t kPhiloxW0 = 0x9e3779b9u;
inline constexpr std::uint32_t kPhiloxW1 = 0xbb67ae85u;

constexpr PhiloxBlock philox4x32(PhiloxBlock counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{kPhiloxM0} * counter[0];
    const std::uint64_t p1 = std::uint64_t{kPhiloxM1} * counter[2];
    counter = {
        static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
        static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += kPhiloxW0;
    key[1] += kPhiloxW1;
  }
  return counter;
}

// Elements 4 * group ... 4 * group + 3 of call number `call`.
constexpr PhiloxBlock philox_block(std::uint64_t seed, std::uint64_t call, std::uint64_t group) {
  return philox4x32({static_cast<std::uint32_t>(group), static_cast<std::uint32_t>(group >> 32),
                     static_cast<std::uint32_t>(call), static_cast<std::uint32_t>(call >> 32)},
                    {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
}

constexpr std::uint32_t philox_bits(std::uint64_t seed, std::uint64_t call, std::uint64_t element) {
  return philox_block(seed, call, element / 4)[element % 4];
}

}  // namespace tenon

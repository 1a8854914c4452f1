// Which library multiplies which shapes, and how a product is cut into tiles.
//
// Both decide the bits of the result, so they depend on the shape alone: neither on the number of
// threads nor on a measurement at run time. Figures: `benchmarks/gemm` (build it by name with
// ninja) on 2 cores of an AMD EPYC 9004 (Zen 4, AVX-512), oneDNN 2.6.3, OpenBLAS 0.3.21, float32,
// GFLOP/s.
//
//   one thread                oneDNN   OpenBLAS
//   16 x 16 x 16                24        83      small: OpenBLAS has kernels without packing
//   64 x 64 x 64               100       114
//   8 x 8 x 1024                36        47
//   128 x 128 x 32 (NT)        102        87      from here on: oneDNN
//   256 x 256 x 256            113       105
//   1024 x 1024 x 1024         110       102
//   1 x 1024 x 1024 (NT, NN)    38, 35   3, 5     matrix times vector: kernels/gemv.cpp
//   1024 x 1 x 1024             38        11
//
//   two threads, oneDNN       64x128  128x128  256x256  512x256  512x512
//   256 x 256 x 256             230      231      114      114      114
//   1024 x 1024 x 1024          175      203      205      208      218
//   1024 x 1024 x 1024 (NT)     146      174      192      202      207
//   4096 x 512 x 128 (NT)       201      209      204      213      216
//   512 x 128 x 4096 (TN)       217      222      229      112      112
//   128 x 128 x 4096 (TN)       232      116      117      116      116
//
// Large tiles pack less, and many tiles occupy many cores: eight, of at most 512 x 512, cost 3 % of
// the best on two cores.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/dtype.h"

namespace tenon::kernels {

struct GemmShape {
  std::int64_t m, n, k, batch;
};

struct GemmTile {
  std::int64_t m, n;
};

enum class GemmLibrary : std::uint8_t { Plain, OneDnn, OpenBlas };

// Products of at most this many multiplications go to OpenBLAS.
inline constexpr std::int64_t kSmallProduct = 64 * 64 * 64;

// The library for float32 where both are built in, for shapes that are not matrix times vector.
constexpr GemmLibrary choose_float32_library(const GemmShape& shape) {
  const double product =
      static_cast<double>(shape.m) * static_cast<double>(shape.n) * static_cast<double>(shape.k);
  return product <= static_cast<double>(kSmallProduct) ? GemmLibrary::OpenBlas
                                                       : GemmLibrary::OneDnn;
}

// One core's time for one product, in nanoseconds: 100 GFLOP/s, or 40 GB/s where memory decides.
constexpr double gemm_cost(double m, double n, double k, std::size_t element_size) {
  const double bytes = (m * k + k * n + m * n) * static_cast<double>(element_size);
  return std::max(2 * m * n * k / 100, bytes / 40);
}

inline constexpr std::int64_t kLargestTile = 512;
inline constexpr std::int64_t kSmallestTileM = 32;
inline constexpr std::int64_t kSmallestTileN = 128;
inline constexpr double kSmallestTileCost = 20e3;  // 20 us, 20 rendezvous of the thread pool
inline constexpr double kLargestTileCost = 50e6;   // 50 ms, so that an interrupt is noticed
inline constexpr double kManyTilesCost = 30e6;     // from 30 ms on, 16 tiles rather than 8

// Halves a tile's longer side (counting n double: rows of C and B are then read in longer runs)
// until there are enough tiles.
constexpr GemmTile choose_tile(const GemmShape& shape, std::size_t element_size) {
  const auto cost_of = [&](std::int64_t m, std::int64_t n) {
    return gemm_cost(static_cast<double>(m), static_cast<double>(n), static_cast<double>(shape.k),
                     element_size);
  };
  const auto halve = [](std::int64_t extent) { return ((extent + 1) / 2 + 15) / 16 * 16; };
  const auto tiles_of = [&](const GemmTile& tile) {
    return ((shape.m + tile.m - 1) / tile.m) * ((shape.n + tile.n - 1) / tile.n);
  };

  const double whole = cost_of(shape.m, shape.n);
  const double wanted = std::min(whole / kSmallestTileCost, whole >= kManyTilesCost ? 16.0 : 8.0) /
                        static_cast<double>(shape.batch);
  GemmTile tile{shape.m, shape.n};
  while (true) {
    const bool can_split_m = tile.m >= 2 * kSmallestTileM;
    const bool can_split_n = tile.n >= 2 * kSmallestTileN;
    if (!can_split_m && !can_split_n) return tile;
    const bool too_large = tile.m > kLargestTile || tile.n > kLargestTile ||
                           cost_of(tile.m, tile.n) > kLargestTileCost;
    if (!too_large && static_cast<double>(tiles_of(tile)) >= 0.75 * wanted) return tile;
    if (can_split_n && (2 * tile.n > tile.m || !can_split_m)) {
      tile.n = halve(tile.n);
    } else {
      tile.m = halve(tile.m);
    }
  }
}

}  // namespace tenon::kernels

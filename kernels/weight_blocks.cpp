// For AVX-512 alone; uses no inline function of any header (see gemv_kernel.cpp).
#include "kernels/weight_blocks.h"

#include "kernels/vector.h"

namespace tenon::kernels {

void unblock_weights(const float* blocks, float* rows, long in, long kernel) {
  constexpr long kLanes = Vector<float>::lanes;
  const long columns = in * kernel, block = kLanes * kLanes * kernel;
  for (long first = 0; first < columns; first += kLanes) {
    const float* from = blocks + first / (kLanes * kernel) * block;
    long channel = first / kernel % kLanes, position = first % kernel;
    V<float> tile[kLanes];
#pragma GCC unroll 16
    for (V<float>& row : tile) {
      row = load(from + (position * kLanes + channel) * kLanes);
      if (++position == kernel) position = 0, ++channel;
    }
    transpose_vectors<float>(tile);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) store(rows + i * columns + first, tile[i]);
  }
}

}  // namespace tenon::kernels

// Products of few rows, for AVX-512 alone: 8 rows times 48 columns in 24 registers. Uses no inline
// function of any header (see gemv_kernel.cpp).
#include "kernels/panel_kernel.h"

#include "kernels/vector.h"

namespace tenon::kernels {

namespace {

using Floats = V<float>;
constexpr long kLanes = Vector<float>::lanes;
constexpr int kVectors = kPanelColumns / kLanes;
constexpr int kRows = 8;

// 16 x 16: to[i][j] = from[j][i].
inline void transpose(const float* from, long ld, float* to) {
  Floats rows[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) rows[i] = load(from + i * ld);
  transpose_vectors<float>(rows);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) store(to + i * kPanelColumns, rows[i]);
}

template <int Rows>
inline void multiply_rows(const float* a, long lda, const float* panel, float* c, long ldc, long k,
                          long count, bool adds) {
  Floats sums[Rows][kVectors] = {};
  for (long i = 0; i < k; ++i) {
    Floats b[kVectors];
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) b[v] = load(panel + i * kPanelColumns + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const Floats factor = a[r * lda + i] - Floats{};
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) sums[r][v] += factor * b[v];
    }
  }
  for (int r = 0; r < Rows; ++r) {
    float* row = c + r * ldc;
    if (count == kPanelColumns) {
      for (int v = 0; v < kVectors; ++v) {
        Floats value = sums[r][v];
        if (adds) value += load(row + v * kLanes);
        store(row + v * kLanes, value);
      }
      continue;
    }
    float columns[kPanelColumns];
    for (int v = 0; v < kVectors; ++v) store(columns + v * kLanes, sums[r][v]);
    for (long j = 0; j < count; ++j) row[j] = adds ? columns[j] + row[j] : columns[j];
  }
}

}  // namespace

void pack_panel(const float* b, long ld, bool transposed, long k, long count, float* panel) {
  if (!transposed) {
    for (long i = 0; i < k; ++i) {
      float* to = panel + i * kPanelColumns;
      const float* from = b + i * ld;
      if (count == kPanelColumns) {
        for (int v = 0; v < kVectors; ++v) store(to + v * kLanes, load(from + v * kLanes));
        continue;
      }
      for (long j = 0; j < kPanelColumns; ++j) to[j] = j < count ? from[j] : 0;
    }
    return;
  }
  for (long j = 0; j < kPanelColumns; j += kLanes) {
    long i = 0;
    if (j + kLanes <= count) {
      for (; i + kLanes <= k; i += kLanes) {
        transpose(b + j * ld + i, ld, panel + i * kPanelColumns + j);
      }
    }
    for (; i < k; ++i) {
      for (long l = j; l < j + kLanes; ++l) {
        panel[i * kPanelColumns + l] = l < count ? b[l * ld + i] : 0;
      }
    }
  }
}

void multiply_panel(const float* a, long lda, const float* panel, float* c, long ldc, long m,
                    long k, long count, bool adds) {
  for (; m >= kRows; m -= kRows, a += kRows * lda, c += kRows * ldc) {
    multiply_rows<kRows>(a, lda, panel, c, ldc, k, count, adds);
  }
  for (; m >= 4; m -= 4, a += 4 * lda, c += 4 * ldc) {
    multiply_rows<4>(a, lda, panel, c, ldc, k, count, adds);
  }
  for (; m > 0; --m, a += lda, c += ldc) {
    multiply_rows<1>(a, lda, panel, c, ldc, k, count, adds);
  }
}

}  // namespace tenon::kernels

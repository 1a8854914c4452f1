// Products of few rows, for AVX-512 alone: 8 rows times 48 columns in 24 registers. Uses no inline
// function of any header (see gemv_kernel.cpp).
#include "kernels/panel_kernel.h"

namespace tenon::kernels {

namespace {

constexpr long kLanes = 16;
constexpr int kVectors = kPanelColumns / kLanes;
constexpr int kRows = 8;

using V __attribute__((vector_size(64), aligned(4), may_alias)) = float;

inline V load(const float* from) { return *reinterpret_cast<const V*>(from); }
inline void store(float* to, V value) { *reinterpret_cast<V*>(to) = value; }

// Lane l of what `exchange` gives: of b where it is 16 or more.
template <int step, bool low>
constexpr int source(int l) {
  const bool second = (l & step) != 0;
  return low ? (second ? kLanes + l - step : l) : (second ? kLanes + l : l + step);
}

// Lanes of a and b whose number lacks bit `step` (for `low`), or has it, side by side.
template <int step, bool low>
inline V exchange(V a, V b) {
#define TENON_FOUR(l)                                                           \
  source<step, low>(l), source<step, low>((l) + 1), source<step, low>((l) + 2), \
      source<step, low>((l) + 3)
  return __builtin_shufflevector(a, b, TENON_FOUR(0), TENON_FOUR(4), TENON_FOUR(8), TENON_FOUR(12));
#undef TENON_FOUR
}

template <int step>
inline void exchange_all(V* rows) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i & step) continue;
    const V a = rows[i], b = rows[i + step];
    rows[i] = exchange<step, true>(a, b);
    rows[i + step] = exchange<step, false>(a, b);
  }
}

// 16 x 16: to[i][j] = from[j][i].
inline void transpose(const float* from, long ld, float* to) {
  V rows[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) rows[i] = load(from + i * ld);
  exchange_all<1>(rows);
  exchange_all<2>(rows);
  exchange_all<4>(rows);
  exchange_all<8>(rows);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) store(to + i * kPanelColumns, rows[i]);
}

template <int Rows>
inline void multiply_rows(const float* a, long lda, const float* panel, float* c, long ldc, long k,
                          long count, bool adds) {
  V sums[Rows][kVectors] = {};
  for (long i = 0; i < k; ++i) {
    V b[kVectors];
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) b[v] = load(panel + i * kPanelColumns + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const V factor = a[r * lda + i] - V{};
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) sums[r][v] += factor * b[v];
    }
  }
  for (int r = 0; r < Rows; ++r) {
    float* row = c + r * ldc;
    if (count == kPanelColumns) {
      for (int v = 0; v < kVectors; ++v) {
        V value = sums[r][v];
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

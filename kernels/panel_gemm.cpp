#include "kernels/panel_gemm.h"

#include <algorithm>
#include <vector>

#include "core/allocator.h"
#include "core/threads.h"
#include "kernels/panel_kernel.h"

namespace tenon::kernels {

namespace {

// Sums of this many products, then sums of those: a part of a panel stays in the second-level
// cache, and the error grows with the parts rather than with k.
constexpr std::int64_t kPart = 256;

// Elements of B from which on laying it out well pays: two megabytes, more than the second-level
// cache.
constexpr std::int64_t kLargeMatrix = std::int64_t{1} << 19;

std::int64_t panels_of(std::int64_t n) { return (n + kPanelColumns - 1) / kPanelColumns; }

// body(panel, its first column, its columns) in parallel.
template <class Body>
void for_each_panel(const MatrixProduct<float>& p, Body body) {
  const double cost =
      gemm_cost(static_cast<double>(p.m), kPanelColumns, static_cast<double>(p.k), sizeof(float));
  const double panels_a_task = std::clamp(kSmallestTileCost / cost, 1.0, 1e6);
  parallel_for(panels_of(p.n), static_cast<std::int64_t>(panels_a_task),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t column = i * kPanelColumns;
                   body(i, column, std::min(kPanelColumns, p.n - column));
                 }
               });
}

void pack_part(const MatrixProduct<float>& p, std::int64_t column, std::int64_t columns,
               std::int64_t from, std::int64_t to, float* panel) {
  const float* b = p.b + (p.transpose_b ? column * p.ldb + from : from * p.ldb + column);
  pack_panel(b, p.ldb, p.transpose_b, to - from, columns, panel);
}

}  // namespace

bool is_panel_product(DType dtype, const GemmShape& shape) {
#if TENON_HAVE_X86_KERNELS
  static const bool has_avx512 = __builtin_cpu_supports("avx512f");
  return has_avx512 && dtype == DType::Float32 && shape.batch == 1 && shape.m >= 16 &&
         shape.m <= 64 && shape.n >= 192 && shape.k >= 64 && shape.n * shape.k >= kLargeMatrix;
#else
  (void)dtype, (void)shape;
  return false;
#endif
}

Ref<Storage> pack_panels(const MatrixProduct<float>& p) {
  const std::int64_t elements = p.k * kPanelColumns;
  Ref<Storage> storage =
      allocate(static_cast<std::size_t>(panels_of(p.n) * elements) * sizeof(float));
  for_each_panel(p, [&](std::int64_t i, std::int64_t column, std::int64_t columns) {
    pack_part(p, column, columns, 0, p.k, storage->as<float>() + i * elements);
  });
  return storage;
}

void multiply_panels(const MatrixProduct<float>& p, const float* panels) {
  // Rows that lie along k.
  std::vector<float> rows;
  const float* a = p.a;
  std::int64_t lda = p.lda;
  if (p.transpose_a) {
    rows.resize(static_cast<std::size_t>(p.m * p.k));
    for (std::int64_t i = 0; i < p.k; ++i) {
      for (std::int64_t r = 0; r < p.m; ++r) {
        rows[static_cast<std::size_t>(r * p.k + i)] = p.a[i * p.lda + r];
      }
    }
    a = rows.data();
    lda = p.k;
  }
  for_each_panel(p, [&](std::int64_t i, std::int64_t column, std::int64_t columns) {
    alignas(64) float part[kPart * kPanelColumns];
    for (std::int64_t from = 0; from < p.k; from += kPart) {
      const std::int64_t to = std::min(from + kPart, p.k);
      const float* panel = part;
      if (panels) {
        panel = panels + (i * p.k + from) * kPanelColumns;
      } else {
        pack_part(p, column, columns, from, to, part);
      }
      multiply_panel(a + from, lda, panel, p.c + column, p.ldc, p.m, to - from, columns, from > 0);
    }
  });
}

}  // namespace tenon::kernels

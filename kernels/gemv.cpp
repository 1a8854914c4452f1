#include "kernels/gemv.h"

#include <algorithm>
#include <vector>

#include "kernels/gemv_kernel.h"

namespace tenon::kernels {

extern const GemvKernels gemv_any;
#if TENON_HAVE_X86_KERNELS
extern const GemvKernels gemv_avx2, gemv_avx512;
#endif

namespace {

const GemvKernels& host_kernels() {
#if TENON_HAVE_X86_KERNELS
  static const GemvKernels& host = __builtin_cpu_supports("avx512f") ? gemv_avx512
                                   : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
                                       ? gemv_avx2
                                       : gemv_any;
  return host;
#else
  return gemv_any;
#endif
}

template <class T>
struct Call {
  void (*rows)(const T*, long, const T*, T*, long, long);
  void (*columns)(const T*, long, const T*, T*, long, long);
};

Call<float> kernels_of(float) { return {host_kernels().rows_float, host_kernels().columns_float}; }
Call<double> kernels_of(double) {
  return {host_kernels().rows_double, host_kernels().columns_double};
}

template <class T>
void run(const MatrixProduct<T>& p, std::int64_t begin, std::int64_t end) {
  // C = x B, or C = A x: the same with the roles of the operands changed.
  const bool one_row = p.m == 1;
  const T* matrix = one_row ? p.b : p.a;
  const T* x = one_row ? p.a : p.b;
  const std::int64_t ld = one_row ? p.ldb : p.lda;
  const bool contracts_rows = one_row ? p.transpose_b : !p.transpose_a;
  const std::int64_t step = one_row ? (p.transpose_a ? p.lda : 1) : (p.transpose_b ? 1 : p.ldb);
  std::vector<T> dense;
  if (step != 1) {
    dense.resize(static_cast<std::size_t>(p.k));
    for (std::int64_t i = 0; i < p.k; ++i) dense[static_cast<std::size_t>(i)] = x[i * step];
    x = dense.data();
  }
  const bool spread = !one_row && p.ldc != 1;
  std::vector<T> results;
  T* y = p.c + begin;
  if (spread) {
    results.resize(static_cast<std::size_t>(end - begin));
    y = results.data();
  }
  const Call<T> call = kernels_of(T{});
  if (contracts_rows) {
    call.rows(matrix + begin * ld, ld, x, y, end - begin, p.k);
  } else {
    call.columns(matrix + begin, ld, x, y, end - begin, p.k);
  }
  if (!spread) return;
  for (std::int64_t i = begin; i < end; ++i) {
    p.c[i * p.ldc] = results[static_cast<std::size_t>(i - begin)];
  }
}

}  // namespace

bool is_matrix_vector(DType dtype, const GemmShape& shape) {
  return (dtype == DType::Float32 || dtype == DType::Float64) && (shape.m == 1 || shape.n == 1);
}

void multiply_vector(const MatrixProduct<float>& product, std::int64_t begin, std::int64_t end) {
  run(product, begin, end);
}

void multiply_vector(const MatrixProduct<double>& product, std::int64_t begin, std::int64_t end) {
  run(product, begin, end);
}

}  // namespace tenon::kernels

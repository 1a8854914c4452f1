// The kernels of kernels/gemv.cpp, a table an instruction set. No includes: see gemv_kernel.cpp.
#pragma once

namespace tenon::kernels {

struct GemvKernels {
  // y[r] = sum of w[r * ld + i] * x[i] over i < k, for r < count.
  void (*rows_float)(const float* w, long ld, const float* x, float* y, long count, long k);
  // y[j] = sum of w[i * ld + j] * x[i] over i < k, for j < count.
  void (*columns_float)(const float* w, long ld, const float* x, float* y, long count, long k);
  void (*rows_double)(const double* w, long ld, const double* x, double* y, long count, long k);
  void (*columns_double)(const double* w, long ld, const double* x, double* y, long count, long k);
};

}  // namespace tenon::kernels

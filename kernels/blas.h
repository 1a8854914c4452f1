// The two matrix libraries behind one row-major interface. Both are called by one thread at a time
// of the pool, each call running serially whatever the library's own settings are.
#pragma once

#include <cstdint>

#include "kernels/gemm_table.h"

namespace tenon::kernels {

// Row-major operands; leading dimensions as in GemmArgs.
template <class T>
struct MatrixProduct {
  std::int64_t m, n, k;
  const T* a;
  const T* b;
  T* c;
  std::int64_t lda, ldb, ldc;
  bool transpose_a, transpose_b;
};

// The library that a product of this shape runs on: the table's choice if it is built in, else
// whichever is, else Plain (also where a 32-bit BLAS can't hold the extents).
GemmLibrary library_for(DType dtype, const GemmShape& shape, std::int64_t largest_extent);

// Calls the library. Internal error, or OutOfMemory, if it refuses.
void multiply(GemmLibrary library, const MatrixProduct<float>& product);
void multiply(GemmLibrary library, const MatrixProduct<double>& product);

}  // namespace tenon::kernels

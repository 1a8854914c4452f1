// Sorting along the last axis.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace tenon::kernels {

// For each of `rows` rows of `n` contiguous elements, the permutation that sorts it, stable. NaN
// counts as greater than every number, as in PyTorch; complex dtypes give a Type error. Rows run in
// parallel.
void argsort(DType dtype, const void* values, std::int64_t* indices, std::int64_t rows,
             std::int64_t n, bool descending);

}  // namespace tenon::kernels

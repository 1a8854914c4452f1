// Matrix times vector: products with one row or one column, at the speed of memory.
#pragma once

#include "kernels/blas.h"

namespace tenon::kernels {

// Float32 or float64 with m or n 1.
bool is_matrix_vector(DType dtype, const GemmShape& shape);

// Elements [begin, end) of such a product's result. The order of an element's sum depends on k and
// on how the matrix lies, not on the part: parts may be cut by the number of threads.
void multiply_vector(const MatrixProduct<float>& product, std::int64_t begin, std::int64_t end);
void multiply_vector(const MatrixProduct<double>& product, std::int64_t begin, std::int64_t end);

}  // namespace tenon::kernels

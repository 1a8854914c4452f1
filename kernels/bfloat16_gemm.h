// Products of bfloat16 by the processor's own dot products (AVX512_BF16), twice as fast as float32:
// exact products, sums in float32, rounded once.
#pragma once

#include "core/half.h"
#include "kernels/blas.h"

namespace tenon::kernels {

// Whether the processor has them, and the library that uses them is built in.
bool has_bfloat16_products();

// OutOfMemory, or an internal error, if the library refuses.
void multiply(const MatrixProduct<bfloat16>& product);

}  // namespace tenon::kernels

// Rows of float16 as bits, to and from float32, for AVX-512 alone. No includes: see
// gemv_kernel.cpp.
#pragma once

namespace tenon::kernels {

void widen_float16(const unsigned short* from, float* to, long count);
void narrow_float16(const float* from, unsigned short* to, long count);  // to nearest, ties to even

}  // namespace tenon::kernels

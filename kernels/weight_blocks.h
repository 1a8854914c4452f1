// The weights of a convolution out of oneDNN's blocks. No includes: see gemv_kernel.cpp.
#pragma once

namespace tenon::kernels {

// 16 output channels, of AVX-512's width: blocks [in / 16][kernel][16 in][16 out] to rows
// [16 out][in][kernel]. in is a multiple of 16.
void unblock_weights(const float* blocks, float* rows, long in, long kernel);

}  // namespace tenon::kernels

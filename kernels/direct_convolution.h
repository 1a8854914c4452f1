// Convolutions of float32 by oneDNN.
#pragma once

#include "kernels/convolution.h"

namespace tenon::kernels {

// False where the matrix product of weights and patches is the better way (or oneDNN has no kernel
// of its own); nothing is written then. The choice depends on the shape alone. Without `by_table`
// whatever oneDNN can: what benchmarks/convolution.cpp measures.
bool convolve_directly(ConvolutionRole role, const ConvolutionShape& shape,
                       ConvolutionLayout layout, const float* a, const float* b, float* result,
                       bool by_table = true);

}  // namespace tenon::kernels

// Convolutions of float32, and of bfloat16 where the processor multiplies it, by oneDNN.
#pragma once

#include <cstdint>
#include <optional>

#include "kernels/convolution.h"

namespace tenon::kernels {

// False where the matrix product of weights and patches is the better way (or oneDNN has no kernel
// of its own for the processor); nothing is written then. The gradient of a weight of bfloat16 is
// float32, for the caller to round. The choice depends on the shape alone. Without `by_table`
// whatever oneDNN can: what benchmarks/convolution.cpp measures.
bool convolve_directly(ConvolutionRole role, DType dtype, const ConvolutionShape& shape,
                       ConvolutionLayout layout, const void* a, const void* b, void* result,
                       bool by_table = true);

// Bytes that it allocates for a while on the pool's threads; nothing where it would return false.
std::optional<std::int64_t> direct_convolution_scratch(ConvolutionRole role, DType dtype,
                                                       const ConvolutionShape& shape,
                                                       ConvolutionLayout layout);

}  // namespace tenon::kernels

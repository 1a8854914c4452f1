// Convolutions of one to three spatial dimensions and both of their gradients.
//
// One trilinear form, whose three operands are the input x, the weight w and the output y:
//
//   sum over n, g, o, c, p, k of  y[n, g, o, p] w[g, o, c, k] x[n, g, c, p * stride - low + k *
//   dilation]
//
// with zero where x's index is outside. Each role in turn is computed from the two others: the
// output (a convolution), the input (its gradient, a transposed convolution) and the weight (its
// gradient). All tensors are dense: x [N, G * C, ...], w [G * O, C, ...], y [N, G * O, ...]; in the
// memory of x and y channels may lie last (ConvolutionLayout).
//
// How the work is cut is a function of the shape alone, so the bits don't depend on the thread
// count.
#pragma once

#include <array>
#include <cstdint>

#include "core/dtype.h"

namespace tenon::kernels {

// As spec/primitives.toml numbers them.
enum class ConvolutionRole : std::uint8_t { Input, Weight, Output };

struct ConvolutionShape {
  using Spatial = std::array<std::int64_t, 3>;  // depth, height, width
  std::int64_t batch = 1, groups = 1;
  std::int64_t in_channels = 1, out_channels = 1;  // of a group
  Spatial input{1, 1, 1}, kernel{1, 1, 1}, output{1, 1, 1};
  Spatial stride{1, 1, 1}, low{0, 0, 0}, dilation{1, 1, 1};

  friend bool operator==(const ConvolutionShape&, const ConvolutionShape&) = default;
};

// Whose channels lie innermost in memory, inside the spatial dimensions: decides no bits.
struct ConvolutionLayout {
  bool x_last = false, y_last = false;
  friend bool operator==(const ConvolutionLayout&, const ConvolutionLayout&) = default;
};

// Overwrites `result`, the tensor of that role; a and b are the two others, in the order x, w, y.
// float16 and bfloat16 accumulate in float32 and round once; integers wrap.
void convolve(ConvolutionRole role, DType dtype, const ConvolutionShape& shape,
              ConvolutionLayout layout, const void* a, const void* b, void* result);

// Bytes that it allocates for a while.
std::int64_t convolution_scratch(ConvolutionRole role, DType dtype, const ConvolutionShape& shape,
                                 ConvolutionLayout layout);

// The same for float32 by products of weights and patches, whatever the table of
// direct_convolution.cpp says: what benchmarks/convolution.cpp compares with.
void convolve_by_patches(ConvolutionRole role, const ConvolutionShape& shape, const float* a,
                         const float* b, float* result);

}  // namespace tenon::kernels

// A convolution recorded as slices and one matrix product.
#pragma once

#include "trace/value.h"

namespace tenon::ops {

// As ops::convolution. No extent is 0.
Value convolution_by_products(ConvolutionRole result, Value a, Value b,
                              const ConvolutionSizes& sizes, Ints extents);

}  // namespace tenon::ops

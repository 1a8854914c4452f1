// Convolutions: PyTorch's checks, then the primitive.
#include <algorithm>

#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/window.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

using ops::ConvolutionRole;
using ops::ConvolutionSizes;

// One call: what the user gave, one number a dimension.
struct Arguments {
  int spatial;
  ConvolutionSizes sizes;
  Dims low, high;
};

void check_dtypes(Value input, Value weight, Value bias) {
  check(dtype(input) == dtype(weight), ErrorKind::Runtime,
        "{}: Input type ({}) and weight type ({}) should be the same", current_operation(),
        name_of(dtype(input)), name_of(dtype(weight)));
  check(!bias || dtype(input) == dtype(bias), ErrorKind::Runtime,
        "{}: Input type ({}) and bias type ({}) should be the same", current_operation(),
        name_of(dtype(input)), bias ? name_of(dtype(bias)) : "");
}

void check_weight(Value weight, int spatial, int64_t groups) {
  check(groups > 0, ErrorKind::Runtime, "{}: non-positive groups is not supported",
        current_operation());
  check(rank(weight) == spatial + 2, ErrorKind::Runtime,
        "{}: expected weight to be {}-dimensional, but got weight of size {}", current_operation(),
        spatial + 2, shown(dims(weight)));
  const int64_t channels = dims(weight)[0];
  check(channels >= groups, ErrorKind::Runtime,
        "Given groups={}, expected weight to be at least {} at dimension 0, but got weight of "
        "size {} instead",
        groups, groups, shown(dims(weight)));
  check(channels % groups == 0, ErrorKind::Runtime,
        "Given groups={}, expected weight to be divisible by {} at dimension 0, but got weight of "
        "size {} instead",
        groups, groups, shown(dims(weight)));
}

void check_bias(Value bias, Value weight, int64_t channels) {
  check(!bias || (rank(bias) == 1 && dims(bias)[0] == channels), ErrorKind::Runtime,
        "Given weight of size {}, expected bias to be 1-dimensional with {} elements, but got "
        "bias of size {} instead",
        shown(dims(weight)), channels, bias ? shown(dims(bias)) : shown(dims(weight)));
}

void check_input_channels(Value input, Value weight, int64_t expected, int64_t groups) {
  check(dims(input)[1] == expected, ErrorKind::Runtime,
        "Given groups={}, weight of size {}, expected input{} to have {} channels, but got {} "
        "channels instead",
        groups, shown(dims(weight)), shown(dims(input)), expected, dims(input)[1]);
}

// Reads stride, padding and dilation; `padding` none: padding = 'same'.
Arguments read_arguments(int spatial, const IntList& stride, const IntList* padding,
                         const IntList& dilation, int64_t groups) {
  Arguments a{spatial, {groups, {}, {}, {}}, {}, {}};
  a.sizes.stride = one_a_dimension(stride, spatial, "stride");
  a.sizes.dilation = one_a_dimension(dilation, spatial, "dilation");
  for (int64_t step : a.sizes.stride) {
    check(step > 0, ErrorKind::Runtime, "non-positive stride is not supported");
  }
  for (int64_t step : a.sizes.dilation) {
    check(step > 0, ErrorKind::Runtime, "dilation should be greater than zero");
  }
  if (padding) {
    a.low = a.high = one_a_dimension(*padding, spatial, "padding");
    for (int64_t n : a.low) {
      check(n >= 0, ErrorKind::Runtime, "negative padding is not supported");
    }
  }
  return a;
}

// Of half types the primitive rounds what it adds up once; where a bias is added before, it is
// everything in float32.
Value widened(Value x) { return is_half(dtype(x)) ? ops::cast(x, DType::Float32) : x; }

Value with_bias(Value y, Value bias, DType result) {
  if (bias) y = y + channel_vector(widened(bias), rank(y));
  return ops::cast(y, result);
}

Value convolve(Value input, Value weight, Value bias, Arguments a, std::string_view mode) {
  check_weight(weight, a.spatial, a.sizes.groups);
  check_dtypes(input, weight, bias);
  Batched x(input, a.spatial);
  check_input_channels(x.value, weight, dims(weight)[1] * a.sizes.groups, a.sizes.groups);
  check_bias(bias, weight, dims(weight)[0]);
  Dims extents, padded, reach;
  for (int d = 0; d < a.spatial; ++d) {
    padded.push_back(dims(x.value)[2 + d] + a.low[d] + a.high[d]);
    reach.push_back(a.sizes.dilation[d] * (dims(weight)[2 + d] - 1) + 1);
    extents.push_back(window_count(padded[d], reach[d], a.sizes.stride[d]));
  }
  for (int d = 0; d < a.spatial; ++d) {
    check(padded[d] >= reach[d], ErrorKind::Runtime,
          "Calculated padded input size per channel: {}. Kernel size: {}. Kernel size can't be "
          "greater than actual input size",
          shown(padded), shown(reach));
  }
  a.sizes.low = a.low;
  if (mode != "zeros") {
    IntList pairs;
    for (int d = a.spatial; d-- > 0;) {
      pairs.push_back(a.low[d]);
      pairs.push_back(a.high[d]);
    }
    x.value = pad(x.value, pairs, mode, std::nullopt);
    a.sizes.low.assign(a.low.size(), 0);
  }
  if (bias) x.value = widened(x.value), weight = widened(weight);
  const Value y = ops::convolution(ConvolutionRole::Output, x.value, weight, a.sizes, extents);
  return x.restore(with_bias(y, bias, dtype(input)));
}

Value conv(int spatial, Value input, Value weight, Value bias, const IntList& stride,
           const IntList& padding, const IntList& dilation, int64_t groups, std::string_view mode) {
  return convolve(input, weight, bias, read_arguments(spatial, stride, &padding, dilation, groups),
                  mode);
}

Value conv(int spatial, Value input, Value weight, Value bias, const IntList& stride,
           std::string_view padding, const IntList& dilation, int64_t groups,
           std::string_view mode) {
  if (padding == "valid") {
    return conv(spatial, input, weight, bias, stride, IntList(0), dilation, groups, mode);
  }
  check(padding == "same", ErrorKind::Runtime, "Invalid padding string: '{}'", padding);
  Arguments a = read_arguments(spatial, stride, nullptr, dilation, groups);
  check_weight(weight, spatial, groups);
  for (int d = 0; d < spatial; ++d) {
    check(a.sizes.stride[d] == 1, ErrorKind::Runtime,
          "padding='same' is not supported for strided convolutions");
    const int64_t total = a.sizes.dilation[d] * (dims(weight)[2 + d] - 1);
    a.low.push_back(total / 2);
    a.high.push_back(total - total / 2);
  }
  return convolve(input, weight, bias, a, mode);
}

Value conv_transpose(int spatial, Value input, Value weight, Value bias, const IntList& stride,
                     const IntList& padding, const IntList& output_padding, int64_t groups,
                     const IntList& dilation) {
  Arguments a = read_arguments(spatial, stride, &padding, dilation, groups);
  const Dims extra = one_a_dimension(output_padding, spatial, "output_padding");
  check_weight(weight, spatial, groups);
  check_dtypes(input, weight, bias);
  const Batched y(input, spatial);
  check_input_channels(y.value, weight, dims(weight)[0], groups);
  check_bias(bias, weight, dims(weight)[1] * groups);
  Dims extents;
  for (int d = 0; d < spatial; ++d) {
    check(extra[d] >= 0, ErrorKind::Runtime, "negative output_padding is not supported");
    check(extra[d] < std::max(a.sizes.stride[d], a.sizes.dilation[d]), ErrorKind::Runtime,
          "output padding must be smaller than either stride or dilation, but got output_padding: "
          "{}, stride: {}, dilation: {}",
          shown(extra), shown(a.sizes.stride), shown(a.sizes.dilation));
    extents.push_back((dims(y.value)[2 + d] - 1) * a.sizes.stride[d] - 2 * a.low[d] +
                      a.sizes.dilation[d] * (dims(weight)[2 + d] - 1) + extra[d] + 1);
  }
  for (int d = 0; d < spatial; ++d) {
    check(extents[d] >= 1, ErrorKind::Runtime,
          "Given input size per channel: {}. Calculated output size per channel: {}. Output size "
          "is too small",
          shown(dims(y.value).subspan(2)), shown(extents));
  }
  a.sizes.low = a.low;
  const Value from = bias ? widened(y.value) : y.value;
  if (bias) weight = widened(weight);
  const Value x = ops::convolution(ConvolutionRole::Input, weight, from, a.sizes, extents);
  return y.restore(with_bias(x, bias, dtype(input)));
}

}  // namespace

#define TENON_CONVOLUTION(n)                                                               \
  Value conv##n##d(Value input, Value weight, Value bias, const IntList& stride,           \
                   const IntList& padding, const IntList& dilation, int64_t groups,        \
                   std::string_view padding_mode) {                                        \
    return conv(n, input, weight, bias, stride, padding, dilation, groups, padding_mode);  \
  }                                                                                        \
  Value conv##n##d(Value input, Value weight, Value bias, const IntList& stride,           \
                   std::string_view padding, const IntList& dilation, int64_t groups,      \
                   std::string_view padding_mode) {                                        \
    return conv(n, input, weight, bias, stride, padding, dilation, groups, padding_mode);  \
  }                                                                                        \
  Value conv_transpose##n##d(Value input, Value weight, Value bias, const IntList& stride, \
                             const IntList& padding, const IntList& output_padding,        \
                             int64_t groups, const IntList& dilation) {                    \
    return conv_transpose(n, input, weight, bias, stride, padding, output_padding, groups, \
                          dilation);                                                       \
  }
TENON_CONVOLUTION(1)
TENON_CONVOLUTION(2)
TENON_CONVOLUTION(3)
#undef TENON_CONVOLUTION

}  // namespace tenon::values

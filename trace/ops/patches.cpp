// im2col (unfold) and fold: the patches of an image as columns, and their transpose; and the
// inverse of maximum pooling.
#include <algorithm>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/window.h"

namespace tenon::values {
namespace {

struct Sliding {
  Dims kernel, dilation, padding, stride;
  Dims image, places;

  Sliding(std::span<const int64_t> extents, const IntList& kernel_size, const IntList& dilation_,
          const IntList& padding_, const IntList& stride_)
      : kernel(one_a_dimension(kernel_size, 2, "kernel_size")),
        dilation(one_a_dimension(dilation_, 2, "dilation")),
        padding(one_a_dimension(padding_, 2, "padding")),
        stride(one_a_dimension(stride_, 2, "stride")),
        image(extents) {
    for (int d = 0; d < 2; ++d) {
      check(kernel[d] > 0 && stride[d] > 0 && dilation[d] > 0 && padding[d] >= 0,
            ErrorKind::Runtime,
            "{}: kernel size, stride and dilation should be greater than zero and padding not "
            "negative, but got {}, {}, {} and {}",
            current_operation(), shown(kernel), shown(stride), shown(dilation), shown(padding));
      places.push_back(
          window_count(image[d] + 2 * padding[d], dilation[d] * (kernel[d] - 1) + 1, stride[d]));
    }
    check(places[0] >= 1 && places[1] >= 1, ErrorKind::Runtime,
          "{}: Given input with spatial size {}, kernel_size={}, dilation={}, padding={}, "
          "calculated shape of the array of sliding blocks as {}, but its components must be at "
          "least one.",
          current_operation(), shown(image), shown(kernel), shown(dilation), shown(padding),
          shown(places));
  }
  int64_t size() const { return kernel[0] * kernel[1]; }
};

}  // namespace

Value im2col(Value input, const IntList& kernel_size, const IntList& dilation,
             const IntList& padding, const IntList& stride) {
  const Batched batched(input, 2);
  const Value x = batched.value;
  const Sliding s(dims(x).subspan(2), kernel_size, dilation, padding, stride);
  const int64_t n = dims(x)[0], channels = dims(x)[1];
  const Value padded = ops::pad(x, ops::literal_like(x, 0), {{0, 0, s.padding[0], s.padding[1]}},
                                {{0, 0, s.padding[0], s.padding[1]}}, {{0, 0, 0, 0}});
  std::vector<Value> parts;
  for (int64_t i = 0; i < s.kernel[0]; ++i) {
    for (int64_t j = 0; j < s.kernel[1]; ++j) {
      const Value part =
          ops::slice(padded, {{0, 0, i * s.dilation[0], j * s.dilation[1]}},
                     {{1, 1, s.stride[0], s.stride[1]}}, {{n, channels, s.places[0], s.places[1]}});
      parts.push_back(ops::unsqueeze(part, 2));
    }
  }
  const Value all = parts.size() == 1 ? parts[0] : ops::concatenate(parts, 2);
  return batched.restore(ops::reshape(all, {{n, channels * s.size(), s.places[0] * s.places[1]}}));
}

Value fold(Value input, const IntList& output_size, const IntList& kernel_size,
           const IntList& dilation, const IntList& padding, const IntList& stride) {
  const Batched batched(input, 1);
  const Value x = batched.value;
  const Sliding s(one_a_dimension(output_size, 2, "output_size"), kernel_size, dilation, padding,
                  stride);
  const int64_t n = dims(x)[0], rows = dims(x)[1], count = s.places[0] * s.places[1];
  check(rows % s.size() == 0, ErrorKind::Runtime,
        "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but "
        "got input.size(1)={} and kernel_size={}.",
        rows, shown(s.kernel));
  check(dims(x)[2] == count, ErrorKind::Runtime,
        "Given output_size={}, kernel_size={}, dilation={}, padding={}, stride={}, expected size "
        "of input's dimension 2 to match the calculated number of sliding blocks {} * {} = {}, but "
        "got input.size(2)={}.",
        shown(s.image), shown(s.kernel), shown(s.dilation), shown(s.padding), shown(s.stride),
        s.places[0], s.places[1], count, dims(x)[2]);
  const int64_t channels = rows / s.size();
  const Value blocks =
      ops::reshape(x, {{n, channels, s.kernel[0], s.kernel[1], s.places[0], s.places[1]}});
  Dims canvas, interior{0, 0, s.stride[0] - 1, s.stride[1] - 1};
  for (int d = 0; d < 2; ++d) canvas.push_back(s.image[d] + 2 * s.padding[d]);
  Value sum;
  for (int64_t i = 0; i < s.kernel[0]; ++i) {
    for (int64_t j = 0; j < s.kernel[1]; ++j) {
      const Value part = ops::reshape(ops::slice(blocks, {{0, 0, i, j, 0, 0}}, {{1, 1, 1, 1, 1, 1}},
                                                 {{n, channels, 1, 1, s.places[0], s.places[1]}}),
                                      {{n, channels, s.places[0], s.places[1]}});
      const int64_t low[] = {i * s.dilation[0], j * s.dilation[1]};
      int64_t high[2];
      for (int d = 0; d < 2; ++d) {
        high[d] = canvas[d] - low[d] - ((s.places[d] - 1) * s.stride[d] + 1);
      }
      const Value placed = ops::pad(part, ops::literal_like(x, 0), {{0, 0, low[0], low[1]}},
                                    {{0, 0, high[0], high[1]}}, interior);
      sum = sum ? sum + placed : placed;
    }
  }
  return batched.restore(ops::slice(sum, {{0, 0, s.padding[0], s.padding[1]}}, {{1, 1, 1, 1}},
                                    {{n, channels, s.image[0], s.image[1]}}));
}

namespace {

Value max_unpool(int spatial, Value input, Value indices, const IntList& kernel_size,
                 const std::optional<IntList>& stride_, const IntList& padding_,
                 const std::optional<IntList>& output_size) {
  check(std::ranges::equal(dims(indices), dims(input)), ErrorKind::Runtime,
        "{}: Expected shape of indices to be same as that of the input tensor ({}) but got indices "
        "tensor with shape: {}",
        current_operation(), shown(dims(input)), shown(dims(indices)));
  check(dtype(indices) == DType::Int64, ErrorKind::Runtime,
        "elements in indices should be type int64 but got: {}", name_of(dtype(indices)));
  const Batched x(input, spatial), at(indices, spatial);
  const Dims kernel = one_a_dimension(kernel_size, spatial, "kernel_size");
  const Dims stride = stride_ ? one_a_dimension(*stride_, spatial, "stride") : kernel;
  const Dims padding = one_a_dimension(padding_, spatial, "padding");
  Dims extents;
  for (int d = 0; d < spatial; ++d) {
    const int64_t n = dims(x.value)[2 + d];
    extents.push_back((n - 1) * stride[d] + kernel[d] - 2 * padding[d]);
  }
  if (output_size) {
    Dims given(*output_size);
    if (given.size() == static_cast<size_t>(spatial) + 2) {
      given = Dims(std::span<const int64_t>(given).subspan(2));
    }
    check(given.size() == static_cast<size_t>(spatial), ErrorKind::Value,
          "output_size should be a sequence containing {} or {} elements, but it has a length of "
          "'{}'",
          spatial, spatial + 2, output_size->size());
    for (int d = 0; d < spatial; ++d) {
      check(given[d] > extents[d] - stride[d] && given[d] < extents[d] + stride[d],
            ErrorKind::Value, "invalid output_size {} (dim {} must be between {} and {})",
            shown(given), d, extents[d] - stride[d], extents[d] + stride[d]);
    }
    extents = given;
  }
  int64_t from = 1, to = 1;
  for (int d = 0; d < spatial; ++d) {
    from *= dims(x.value)[2 + d];
    to *= extents[d];
  }
  const int64_t n = dims(x.value)[0], channels = dims(x.value)[1];
  const Value zeros = ops::full({{n, channels, to}}, ops::literal_like(input, 0));
  const Value flat = ops::reshape(x.value, {{n, channels, from}});
  const Value places = ops::reshape(at.value, {{n, channels, from}});
  Dims shape{n, channels};
  shape.append(extents.begin(), extents.end());
  return x.restore(ops::reshape(ops::put_along_set(zeros, places, flat, 2), shape));
}

}  // namespace

#define TENON_MAX_UNPOOL(n)                                                            \
  Value max_unpool##n##d(Value input, Value indices, const IntList& kernel_size,       \
                         const std::optional<IntList>& stride, const IntList& padding, \
                         const std::optional<IntList>& output_size) {                  \
    return max_unpool(n, input, indices, kernel_size, stride, padding, output_size);   \
  }
TENON_MAX_UNPOOL(1)
TENON_MAX_UNPOOL(2)
TENON_MAX_UNPOOL(3)
#undef TENON_MAX_UNPOOL

}  // namespace tenon::values

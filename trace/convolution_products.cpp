// Convolutions as matrix products, for devices without kernels of them.
//
// What a result's element sums over is gathered along a dimension of its own, one slice for each
// place of the kernel, and summed by one product in groups:
//
//   y[n, g o, t]  = sum of w[g o, c, k] x[n, g c, t stride + k dilation - low] over c, k
//   x[n, g c, s]  = sum of w[g o, c, k] y[n, g o, t] over o, k, where s = t stride + k dilation -
//   low w[g o, c, k]  = sum of x[n, g c, t stride + k dilation - low] y[n, g o, t] over n, t
#include "trace/convolution_products.h"

#include <algorithm>
#include <vector>

namespace tenon::ops {
namespace {

Dims joined(std::initializer_list<int64_t> first, Ints rest) {
  Dims result;
  for (const int64_t extent : first) result.push_back(extent);
  result.append(rest.begin(), rest.end());
  return result;
}

// Calls visit(place) for each place of a kernel, the last dimension fastest.
template <class Visit>
void for_each_place(Ints kernel, Visit visit) {
  Dims place(kernel.size(), 0);
  int64_t count = 1;
  for (const int64_t extent : kernel) count *= extent;
  for (int64_t i = 0; i < count; ++i) {
    visit(place);
    for (size_t d = kernel.size(); d-- > 0;) {
      if (++place[d] < kernel[d]) break;
      place[d] = 0;
    }
  }
}

// [N, channels, ...] as slices [N, G, channels / G, places, ...], from starts(place) on.
template <class Starts>
Value gather_slices(Value x, int64_t groups, Ints kernel, Ints steps, Ints extents, Starts starts) {
  const int64_t batch = dims(x)[0], channels = dims(x)[1];
  const Dims part = joined({batch, channels}, extents);
  const Dims shaped = joined({batch, groups, channels / groups, 1}, extents);
  std::vector<Value> slices;
  for_each_place(kernel, [&](const Dims& place) {
    slices.push_back(
        reshape(slice(x, joined({0, 0}, starts(place)), joined({1, 1}, steps), part), shaped));
  });
  while (slices.size() > 1) {  // a node has at most 255 operands
    std::vector<Value> wider;
    for (size_t i = 0; i < slices.size(); i += 255) {
      wider.push_back(
          concatenate(std::span(slices).subspan(i, std::min<size_t>(255, slices.size() - i)), 3));
    }
    slices = std::move(wider);
  }
  return slices[0];
}

Value padded(Value x, Ints low, Ints high, Ints interior) {
  return pad(x, literal_like(x, 0), joined({0, 0}, low), joined({0, 0}, high),
             joined({0, 0}, interior));
}

// The slices of the input that a result's places see: [N, G, C, places, t...].
Value windows(Value x, const ConvolutionSizes& sizes, Ints kernel, Ints output) {
  Dims high;
  for (size_t d = 0; d < kernel.size(); ++d) {
    const int64_t reached =
        (output[d] - 1) * sizes.stride[d] + (kernel[d] - 1) * sizes.dilation[d] + 1;
    high.push_back(std::max<int64_t>(0, reached - dims(x)[2 + d] - sizes.low[d]));
  }
  const Dims none(kernel.size(), 0);
  return gather_slices(padded(x, sizes.low, high, none), sizes.groups, kernel, sizes.stride, output,
                       [&](const Dims& place) {
                         Dims starts;
                         for (size_t d = 0; d < place.size(); ++d) {
                           starts.push_back(place[d] * sizes.dilation[d]);
                         }
                         return starts;
                       });
}

// [G, free, N, ...] as [N, G free, ...].
Value batch_first(Value x) {
  Dims order{2, 0, 1};
  for (int d = 3; d < rank(x); ++d) order.push_back(d);
  const auto extents = dims(x);
  const Dims shape = joined({extents[2], extents[0] * extents[1]}, extents.subspan(3));
  return reshape(permute(x, order), shape);
}

}  // namespace

Value convolution_by_products(ConvolutionRole result, Value a, Value b,
                              const ConvolutionSizes& sizes, Ints extents) {
  const int64_t groups = sizes.groups;
  const int64_t zero = 0, one = 1;
  const auto weight_in_groups = [&](Value w) {  // [G, O, C, places]
    int64_t places = 1;
    for (const int64_t extent : dims(w).subspan(2)) places *= extent;
    return reshape(w, Dims{groups, dims(w)[0] / groups, dims(w)[1], places});
  };
  if (result == ConvolutionRole::Output) {
    const int64_t contracted[] = {2, 3};
    const Value columns = windows(a, sizes, dims(b).subspan(2), extents);
    return batch_first(
        dot_general(weight_in_groups(b), columns, {&zero, 1}, {&one, 1}, contracted, contracted));
  }
  if (result == ConvolutionRole::Weight) {
    const Value columns = windows(a, sizes, extents, dims(b).subspan(2));
    const Value y =
        reshape(b, joined({dims(b)[0], groups, dims(b)[1] / groups}, dims(b).subspan(2)));
    Dims of_y{0}, of_columns{0};
    for (int d = 3; d < rank(y); ++d) {
      of_y.push_back(d);
      of_columns.push_back(d + 1);
    }
    const Value w = dot_general(y, columns, {&one, 1}, {&one, 1}, of_y, of_columns);
    return reshape(w, joined({dims(b)[1], dims(a)[1] / groups}, extents));
  }
  // Of the input: y with its places as far apart as they were taken.
  const Dims kernel(dims(a).subspan(2));
  Dims low, high, interior, before;
  for (size_t d = 0; d < kernel.size(); ++d) {
    const int64_t reach = (kernel[d] - 1) * sizes.dilation[d];
    const int64_t spread = (dims(b)[2 + d] - 1) * sizes.stride[d] + 1;
    before.push_back(sizes.low[d]);
    low.push_back(reach);
    high.push_back(std::max<int64_t>(0, extents[d] + sizes.low[d] - spread));
    interior.push_back(sizes.stride[d] - 1);
  }
  const Dims steps(kernel.size(), 1);
  const Value columns = gather_slices(
      padded(b, low, high, interior), groups, kernel, steps, extents, [&](const Dims& place) {
        Dims starts;
        for (size_t d = 0; d < place.size(); ++d) {
          starts.push_back(before[d] + low[d] - place[d] * sizes.dilation[d]);
        }
        return starts;
      });
  const int64_t of_weight[] = {1, 3}, of_columns[] = {2, 3};
  return batch_first(
      dot_general(weight_in_groups(a), columns, {&zero, 1}, {&one, 1}, of_weight, of_columns));
}

}  // namespace tenon::ops

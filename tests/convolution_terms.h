// The terms of a convolution's trilinear form, for the tests' references.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tenon::test {

// Calls visit(x, w, y) with the row-major places of the three elements of every term, in order.
// `sizes` as the primitive's.
template <class Visit>
void for_each_convolution_term(std::span<const int64_t> x_dims, std::span<const int64_t> w_dims,
                               std::span<const int64_t> y_dims, std::span<const int64_t> sizes,
                               Visit&& visit) {
  const size_t spatial = x_dims.size() - 2;
  const int64_t groups = sizes[0];
  const auto stride = sizes.subspan(1, spatial), low = sizes.subspan(1 + spatial, spatial),
             dilation = sizes.subspan(1 + 2 * spatial, spatial);
  const auto count = [](std::span<const int64_t> dims) {
    int64_t n = 1;
    for (int64_t dim : dims) n *= dim;
    return n;
  };
  const int64_t x_plane = count(x_dims.subspan(2)), w_plane = count(w_dims.subspan(2)),
                y_plane = count(y_dims.subspan(2));
  const int64_t out_channels = w_dims[0] / groups, in_channels = w_dims[1];
  for (int64_t n = 0; n < x_dims[0]; ++n) {
    for (int64_t o = 0; o < w_dims[0]; ++o) {
      for (int64_t p = 0; p < y_plane; ++p) {
        for (int64_t c = 0; c < in_channels; ++c) {
          for (int64_t k = 0; k < w_plane; ++k) {
            int64_t place = 0, scale = 1, rest_p = p, rest_k = k;
            bool inside = true;
            for (size_t d = spatial; d-- > 0;) {
              const int64_t i = rest_p % y_dims[2 + d] * stride[d] - low[d] +
                                rest_k % w_dims[2 + d] * dilation[d];
              rest_p /= y_dims[2 + d], rest_k /= w_dims[2 + d];
              inside = inside && i >= 0 && i < x_dims[2 + d];
              place += i * scale, scale *= x_dims[2 + d];
            }
            if (!inside) continue;
            const int64_t channel = o / out_channels * in_channels + c;
            visit((n * x_dims[1] + channel) * x_plane + place, (o * in_channels + c) * w_plane + k,
                  (n * w_dims[0] + o) * y_plane + p);
          }
        }
      }
    }
  }
}

}  // namespace tenon::test

// The patches of an image that a convolution multiplies its weights with, as a matrix, so that a
// convolution is a matrix product.
//
// A row of the matrix for each (group, channel, kernel position), a column for each (image, output
// position): row-major, [G * C * K, images * P].
#pragma once

#include <algorithm>
#include <type_traits>

#include "core/threads.h"
#include "kernels/convolution.h"

namespace tenon::kernels {

inline std::int64_t product(const ConvolutionShape::Spatial& s) { return s[0] * s[1] * s[2]; }

// The output positions [begin, end) along dimension d whose input index, for this kernel position,
// lies inside; the first one's index.
struct Inside {
  std::int64_t begin, end, index;

  Inside(const ConvolutionShape& s, int d, std::int64_t at) {
    const std::int64_t shift = at * s.dilation[d] - s.low[d];
    begin = shift < 0 ? (-shift + s.stride[d] - 1) / s.stride[d] : 0;
    const std::int64_t last = s.input[d] - 1 - shift;
    end = last < 0 ? 0 : std::min(s.output[d], last / s.stride[d] + 1);
    begin = std::min(begin, s.output[d]);
    end = std::max(begin, end);
    index = begin * s.stride[d] + shift;
  }
};

// Integers wrap.
template <class T>
T plus(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
  } else {
    return a + b;
  }
}

constexpr std::int64_t kPatchGrain = 16384;  // elements that a thread writes at a time, at least

// Fills the matrix from `images` images.
template <class T>
void gather_patches(const ConvolutionShape& s, const T* x, std::int64_t images, T* matrix) {
  const std::int64_t channels = s.groups * s.in_channels, positions = product(s.kernel);
  const std::int64_t plane = product(s.input), out_plane = product(s.output);
  const std::int64_t columns = images * out_plane;
  const auto [out_d, out_h, out_w] = s.output;
  parallel_for(
      channels * positions, std::max<std::int64_t>(1, kPatchGrain / std::max(columns, 1L)),
      [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t row = first; row < last; ++row) {
          const std::int64_t channel = row / positions, position = row % positions;
          const Inside depth(s, 0, position / s.kernel[2] / s.kernel[1]);
          const Inside height(s, 1, position / s.kernel[2] % s.kernel[1]);
          const Inside width(s, 2, position % s.kernel[2]);
          for (std::int64_t image = 0; image < images; ++image) {
            const T* from = x + (image * channels + channel) * plane;
            T* to = matrix + row * columns + image * out_plane;
            for (std::int64_t d = 0; d < out_d; ++d) {
              for (std::int64_t h = 0; h < out_h; ++h, to += out_w) {
                if (d < depth.begin || d >= depth.end || h < height.begin || h >= height.end) {
                  std::fill(to, to + out_w, T(0));
                  continue;
                }
                const std::int64_t in_d = depth.index + (d - depth.begin) * s.stride[0];
                const std::int64_t in_h = height.index + (h - height.begin) * s.stride[1];
                const T* line = from + (in_d * s.input[1] + in_h) * s.input[2] + width.index;
                std::fill(to, to + width.begin, T(0));
                if (s.stride[2] == 1) {
                  std::copy(line, line + (width.end - width.begin), to + width.begin);
                } else {
                  for (std::int64_t w = width.begin; w < width.end; ++w, line += s.stride[2]) {
                    to[w] = *line;
                  }
                }
                std::fill(to + width.end, to + out_w, T(0));
              }
            }
          }
        }
      });
}

// The transpose: each element of x is the sum of the matrix's elements that were read from it, in
// the order of the kernel's positions.
template <class T>
void scatter_patches(const ConvolutionShape& s, const T* matrix, std::int64_t images, T* x) {
  const std::int64_t channels = s.groups * s.in_channels, positions = product(s.kernel);
  const std::int64_t plane = product(s.input), out_plane = product(s.output);
  const std::int64_t columns = images * out_plane;
  const std::int64_t cost = std::max<std::int64_t>(plane + positions * out_plane, 1);
  parallel_for(
      images * channels, std::max<std::int64_t>(1, kPatchGrain / cost),
      [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i) {
          const std::int64_t image = i / channels, channel = i % channels;
          T* to = x + i * plane;
          std::fill(to, to + plane, T(0));
          for (std::int64_t position = 0; position < positions; ++position) {
            const Inside depth(s, 0, position / s.kernel[2] / s.kernel[1]);
            const Inside height(s, 1, position / s.kernel[2] % s.kernel[1]);
            const Inside width(s, 2, position % s.kernel[2]);
            const T* from = matrix + (channel * positions + position) * columns + image * out_plane;
            for (std::int64_t d = depth.begin; d < depth.end; ++d) {
              for (std::int64_t h = height.begin; h < height.end; ++h) {
                const std::int64_t in_d = depth.index + (d - depth.begin) * s.stride[0];
                const std::int64_t in_h = height.index + (h - height.begin) * s.stride[1];
                T* line = to + (in_d * s.input[1] + in_h) * s.input[2] + width.index;
                const T* row = from + (d * s.output[1] + h) * s.output[2];
                for (std::int64_t w = width.begin; w < width.end; ++w, line += s.stride[2]) {
                  *line = plus(*line, row[w]);
                }
              }
            }
          }
        }
      });
}

}  // namespace tenon::kernels

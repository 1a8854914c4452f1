// What convolutions and pooling share: arguments of one number a dimension, inputs without a batch,
// and windows as shifted slices, which fuse and differentiate like any other movement.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/shape.h"
#include "trace/ops/types.h"
#include "trace/tensor.h"
#include "trace/value.h"

namespace tenon::values {

// The list itself, or its one number for every dimension. RuntimeError for another length.
Dims one_a_dimension(const IntList& list, int spatial, std::string_view name);

// How many windows that reach over so many elements fit.
int64_t window_count(int64_t extent, int64_t reach, int64_t stride);

// An input of (channels, ...) or (batch, channels, ...), seen with a batch.
struct Batched {
  Value value;
  bool had_batch;

  Batched(Value input, int spatial);
  Value restore(Value result) const;
};

// The windows of a pooling call, one entry a spatial dimension. The spatial dimensions are the last
// ones of the values that the functions take.
struct Windows {
  Dims kernel, stride, padding, dilation;
  Dims extents;   // how many windows
  Dims overhang;  // elements that the last window reaches beyond the input

  // Checks the arguments; RuntimeError in PyTorch's words.
  Windows(int spatial, std::span<const int64_t> input, const IntList& kernel_size,
          const std::optional<IntList>& stride, const IntList& padding, const IntList& dilation,
          bool ceil_mode);

  int spatial() const { return static_cast<int>(kernel.size()); }
  int64_t size() const;  // elements of a window
  // Whether every element is in one window at most and none reaches outside.
  bool is_partition() const;
  bool is_padded(std::span<const int64_t> axes) const;

  // Spatial dimensions that are taken together: all, or one after the other, the last one first,
  // where windows are large.
  std::vector<Dims> stages() const;
  // The kernel's positions along `axes`, in row-major order.
  std::vector<Dims> positions(std::span<const int64_t> axes) const;
  // For each of them, the elements of all windows that stand there.
  std::vector<Value> shifted(Value x, Value fill, std::span<const int64_t> axes) const;

  // Of a partition: each spatial dimension as (window, element of the window).
  Value split(Value x) const;
  Dims split_axes(int rank) const;  // the elements' dimensions, of an x of that rank
};

// ValueError where a list of sizes has as many entries as the input has dimensions, as PyTorch has
// it.
void check_adaptive_rank(Value input, const IntList& output_size);
// The output size of adaptive pooling over the last dimensions of `input`.
// RuntimeError for an empty input or a negative size.
Dims adaptive_size(Value input, int spatial, const IntList& output_size);
// Its windows where all have one size.
std::optional<Windows> equal_windows(std::span<const int64_t> extents,
                                     std::span<const int64_t> output_size);

// The windows [floor(i n / m), ceil((i + 1) n / m)), i < m, of adaptive pooling along n elements.
struct AdaptiveWindows {
  Value first, end;       // (m), int64
  std::vector<Value> at;  // (m): for each offset into the longest window, the element there, or
                          // the window's last one where it is shorter
  AdaptiveWindows(int64_t n, int64_t m);
};

// Weights of the four elements around a place, t beyond the second of them (Keys' cubic, a =
// -0.75).
std::array<Value, 4> cubic_weights(Value t);

}  // namespace tenon::values

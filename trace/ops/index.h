// x[...] as in Python: numbers, slices, new axes and tensors of indices or of bools.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "trace/tensor.h"

namespace tenon {

struct Index {
  enum class Kind : uint8_t { Number, Slice, NewAxis, Ellipsis, Tensor };

  Kind kind = Kind::Slice;
  int64_t number = 0;
  std::optional<int64_t> start, stop;
  int64_t step = 1;
  Tensor tensor;

  static Index at(int64_t number) { return {.kind = Kind::Number, .number = number}; }
  static Index all() { return {}; }
  static Index range(std::optional<int64_t> start, std::optional<int64_t> stop, int64_t step = 1) {
    return {.kind = Kind::Slice, .start = start, .stop = stop, .step = step};
  }
  static Index new_axis() { return {.kind = Kind::NewAxis}; }
  static Index ellipsis() { return {.kind = Kind::Ellipsis}; }
  static Index of(const Tensor& tensor) { return {.kind = Kind::Tensor, .tensor = tensor}; }
};

// A view for numbers, slices and new axes; with tensors, a copy. A tensor of bools is read, since
// the result's size depends on it. IndexError as PyTorch: too many indices, a number or a mask that
// doesn't fit; indices in tensors are checked when the program runs.
Tensor index(const Tensor& x, std::span<const Index> items);

// x[...] = value, the value broadcast. A mask with a value of one element becomes a `where` and
// reads nothing. Where indices repeat, the last value stays (the sum of all, if `accumulate`).
void index_put(const Tensor& x, std::span<const Index> items, const Tensor& value,
               bool accumulate = false);

}  // namespace tenon

// What convolutions and pooling share: arguments of one number a dimension, inputs without a batch.
#pragma once

#include <string_view>

#include "core/error.h"
#include "core/shape.h"
#include "trace/ops/types.h"
#include "trace/tensor.h"
#include "trace/value.h"

namespace tenon::values {

// The list itself, or its one number for every dimension. RuntimeError for another length.
inline Dims one_a_dimension(const IntList& list, int spatial, std::string_view name) {
  if (list.size() == 1) return Dims(static_cast<size_t>(spatial), list[0]);
  check(list.size() == static_cast<size_t>(spatial), ErrorKind::Runtime,
        "{}: expected {} to be a single integer value or a list of {} values to match the "
        "dimensions, but got {}={}",
        current_operation(), name, spatial, name, shown(list));
  return list;
}

inline int64_t floor_divide(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

// An input of (channels, ...) or (batch, channels, ...), seen with a batch.
struct Batched {
  Value value;
  bool had_batch;

  Batched(Value input, int spatial) : value(input), had_batch(rank(input) == spatial + 2) {
    check(had_batch || rank(input) == spatial + 1, ErrorKind::Runtime,
          "Expected {}D (unbatched) or {}D (batched) input to {}, but got input of size: {}",
          spatial + 1, spatial + 2, current_operation(), shown(dims(input)));
    if (!had_batch) value = ops::unsqueeze(input, 0);
  }

  Value restore(Value result) const {
    return had_batch ? result : ops::reshape(result, Dims(dims(result).subspan(1)));
  }
};

}  // namespace tenon::values

// An operation in a shared library of its own: the median of each window along the last dimension.
//
//   c++ -std=c++17 -O2 -shared -fPIC -I<tenon.library.include_path()> rolling_median.cpp -o
//   rolling_median.so
//
// What it declares is a schema, the types of the results, and a kernel over buffers. Leading
// dimensions are a batch, which is its batching rule; the derivative is declared in
// rolling_median.py.
#include <algorithm>
#include <string>
#include <vector>

#include "tenon_operation.h"

namespace {

const char* fail(std::string text) {
  static thread_local std::string message;
  message = std::move(text);
  return message.c_str();
}

const char* infer(const tenon_arguments* arguments, tenon_type* results) {
  const tenon_type& x = arguments->inputs[0].type;
  const int64_t window = arguments->attributes[0].integer;
  if (x.dtype != TENON_FLOAT32 && x.dtype != TENON_FLOAT64) {
    return fail("expected float32 or float64");
  }
  if (x.rank == 0) return fail("expected at least one dimension");
  const int64_t length = x.dims[x.rank - 1];
  if (window < 1 || window > length || window % 2 == 0) {
    return fail("the window must be odd and at most " + std::to_string(length) + ", got " +
                std::to_string(window));
  }
  results[0] = x;
  results[0].dims[x.rank - 1] = length - window + 1;
  results[1] = results[0];
  results[1].dtype = TENON_INT64;
  return nullptr;
}

template <class T>
void medians(const tenon_buffer& x, int64_t window, T* values, int64_t* places) {
  const int64_t length = x.type.dims[x.type.rank - 1], count = length - window + 1;
  const int64_t rows = length == 0 ? 0 : tenon_elements(&x.type) / length;
  std::vector<int64_t> order(static_cast<size_t>(window));
  for (int64_t row = 0; row < rows; ++row) {
    const T* in = static_cast<const T*>(x.data) + row * length;
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t k = 0; k < window; ++k) order[static_cast<size_t>(k)] = i + k;
      const auto middle = order.begin() + window / 2;
      std::nth_element(order.begin(), middle, order.end(), [&](int64_t a, int64_t b) {
        return in[a] != in[b] ? in[a] < in[b] : a < b;
      });
      values[row * count + i] = in[*middle];
      places[row * count + i] = *middle;
    }
  }
}

const char* kernel(const tenon_arguments* arguments, const tenon_buffer* results) {
  const tenon_buffer& x = arguments->inputs[0];
  const int64_t window = arguments->attributes[0].integer;
  auto* const places = static_cast<int64_t*>(results[1].data);
  if (x.type.dtype == TENON_FLOAT32) {
    medians(x, window, static_cast<float*>(results[0].data), places);
  } else {
    medians(x, window, static_cast<double*>(results[0].data), places);
  }
  return nullptr;
}

}  // namespace

TENON_EXPORT const tenon_operation* tenon_operations(size_t* count) {
  static const tenon_operation operations[] = {
      {TENON_ABI, "filters::rolling_median(Tensor x, int window=3) -> (Tensor, Tensor)",
       "The median of each window along the last dimension, and where it stands.", infer, kernel,
       TENON_BATCHES_LEADING},
  };
  *count = sizeof(operations) / sizeof(operations[0]);
  return operations;
}

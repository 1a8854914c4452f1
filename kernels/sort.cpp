#include "kernels/sort.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>

#include "core/error.h"
#include "core/threads.h"

namespace tenon::kernels {

namespace {

template <class T>
constexpr bool kMayBeNan =
    std::is_floating_point_v<T> || std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>;

// A strict weak order with every NaN equal and above all numbers.
template <class T>
bool is_less(T a, T b) {
  if constexpr (kMayBeNan<T>) {
    using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
    const Wide x = a;
    const Wide y = b;
    return x < y || (std::isnan(y) && !std::isnan(x));
  } else {
    return a < b;
  }
}

template <class T>
void argsort_rows(const T* values, std::int64_t* indices, std::int64_t begin, std::int64_t end,
                  std::int64_t n, bool descending) {
  for (std::int64_t row = begin; row < end; ++row) {
    const T* v = values + row * n;
    std::int64_t* order = indices + row * n;
    std::iota(order, order + n, std::int64_t{0});
    if (descending) {
      std::stable_sort(order, order + n,
                       [v](std::int64_t i, std::int64_t j) { return is_less(v[j], v[i]); });
    } else {
      std::stable_sort(order, order + n,
                       [v](std::int64_t i, std::int64_t j) { return is_less(v[i], v[j]); });
    }
  }
}

}  // namespace

void argsort(DType dtype, const void* values, std::int64_t* indices, std::int64_t rows,
             std::int64_t n, bool descending) {
  check(!is_complex(dtype), ErrorKind::Type, "sort: complex numbers have no order (got {})",
        name_of(dtype));
  if (rows == 0 || n == 0) return;
  // About 20 us of work a task, at some 50 ns an element.
  const std::int64_t grain = std::max<std::int64_t>(1, 400 / n);
  visit_dtype(dtype, [&]<class T>(DTypeTag<T>) {
    if constexpr (!is_complex(dtype_of<T>)) {
      parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) {
        argsort_rows(static_cast<const T*>(values), indices, begin, end, n, descending);
      });
    }
  });
}

}  // namespace tenon::kernels

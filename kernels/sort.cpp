#include "kernels/sort.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

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
struct Item {
  T value;
  std::int64_t index;
};

// Values travel with their indices, so that comparing does not jump about in memory; equal values
// compare by index, which makes any sort a stable one. A long row looks for an interrupt now and
// then: the rows are all that parallel_for sees.
template <bool kDescending, class T>
void argsort_rows(const T* values, std::int64_t* indices, std::int64_t rows, std::int64_t n) {
  constexpr std::int64_t kLongRow = std::int64_t{1} << 18;  // some 20 ms
  constexpr std::uint32_t kComparisons = std::uint32_t{1} << 20;
  const auto precedes = [](const Item<T>& a, const Item<T>& b) {
    const bool before = kDescending ? is_less(b.value, a.value) : is_less(a.value, b.value);
    if (before) return true;
    const bool after = kDescending ? is_less(a.value, b.value) : is_less(b.value, a.value);
    return !after && a.index < b.index;
  };
  std::vector<Item<T>> items(static_cast<std::size_t>(n));
  for (std::int64_t row = 0; row < rows; ++row, values += n, indices += n) {
    for (std::int64_t i = 0; i < n; ++i) items[static_cast<std::size_t>(i)] = {values[i], i};
    if (n < kLongRow) {
      std::sort(items.begin(), items.end(), precedes);
    } else {
      std::uint32_t comparisons = 0;
      std::sort(items.begin(), items.end(), [&](const Item<T>& a, const Item<T>& b) {
        if (++comparisons % kComparisons == 0) check_interrupt();
        return precedes(a, b);
      });
    }
    for (std::int64_t i = 0; i < n; ++i) indices[i] = items[static_cast<std::size_t>(i)].index;
  }
}

}  // namespace

void argsort(DType dtype, const void* values, std::int64_t* indices, std::int64_t rows,
             std::int64_t n, bool descending) {
  check(!is_float8(dtype), ErrorKind::NotImplemented, "sort: not implemented for {}",
        name_of(dtype));
  check(!is_complex(dtype), ErrorKind::Type, "sort: complex numbers have no order (got {})",
        name_of(dtype));
  if (rows == 0 || n == 0) return;
  // About 20 us of work a task, at some 50 ns an element.
  const std::int64_t grain = std::max<std::int64_t>(1, 400 / n);
  visit_dtype(dtype, [&]<class T>(DTypeTag<T>) {
    if constexpr (!is_complex(dtype_of<T>) && !is_float8(dtype_of<T>)) {
      parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) {
        const T* from = static_cast<const T*>(values) + begin * n;
        std::int64_t* to = indices + begin * n;
        if (descending) {
          argsort_rows<true>(from, to, end - begin, n);
        } else {
          argsort_rows<false>(from, to, end - begin, n);
        }
      });
    }
  });
}

}  // namespace tenon::kernels

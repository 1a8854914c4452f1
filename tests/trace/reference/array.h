// Arrays of the reference executor: row-major elements, in double or in int64 whatever the dtype.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/dtype.h"
#include "core/small_vector.h"
#include "trace/program.h"

namespace tenon::reference {

struct Array {
  DType dtype = DType::Float32;
  Dims dims;
  std::vector<double> real;    // of floating dtypes
  std::vector<int64_t> whole;  // of bool and the integers

  bool is_real() const { return is_floating(dtype); }
  int64_t numel() const;
  void resize() { is_real() ? real.resize(numel()) : whole.resize(numel()); }
};

Array make_array(TypeId type);  // zeros
Array load(const Buffer& buffer);
Buffer store(const Array& array, TypeId type);  // a fresh dense buffer with the type's strides

// To the values a dtype has: float16 and bfloat16 by way of float32; integers wrap around.
double round_to(DType dtype, double value);
int64_t round_to(DType dtype, int64_t value);

Dims strides_of(std::span<const int64_t> dims);

// Calls visit(index) for every index of dims, in row-major order.
template <class Visit>
void for_each_index(std::span<const int64_t> dims, Visit&& visit) {
  Dims index(dims.size(), 0);
  for (int64_t dim : dims) {
    if (dim == 0) return;
  }
  while (true) {
    visit(std::span<const int64_t>(index));
    int d = static_cast<int>(dims.size()) - 1;
    for (; d >= 0 && ++index[d] == dims[d]; --d) index[d] = 0;
    if (d < 0) return;
  }
}

// Calls body with the elements of `first` and of the rest, all real or all whole.
template <class Body, class... Arrays>
void with_elements(Body&& body, Array& first, const Arrays&... rest) {
  if (first.is_real()) {
    body(first.real, rest.real...);
  } else {
    body(first.whole, rest.whole...);
  }
}

// One primitive; `origin` is reported with what only the data can tell.
struct Operation {
  const ProgramNode& node;
  std::vector<const Array*> operands;
  std::span<const int64_t> axes;
  std::span<const int64_t> sizes;
};
Array run_elementwise(const Operation& operation);
Array run_structural(const Operation& operation);

}  // namespace tenon::reference

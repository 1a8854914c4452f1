// Short ways to make and read tensors, and to record operations as values.
#pragma once

#include <cstring>
#include <initializer_list>
#include <vector>

#include "trace/tensor.h"
#include "trace/value.h"

namespace tenon::testing {

// One public operation whose body works on values.
template <class Body, class... Tensors>
Tensor apply(Body&& body, const Tensors&... operands) {
  OpScope scope("apply");
  return scope.result(body(scope.use(operands)...));
}

inline Tensor tensor(std::initializer_list<int64_t> dims, std::initializer_list<float> values) {
  return from_bytes(DType::Float32, std::span(dims.begin(), dims.size()),
                    std::as_bytes(std::span(values.begin(), values.size())));
}
inline Tensor indices(std::initializer_list<int64_t> dims, std::initializer_list<int64_t> values) {
  return from_bytes(DType::Int64, std::span(dims.begin(), dims.size()),
                    std::as_bytes(std::span(values.begin(), values.size())));
}
// 0, 1, 2, ... scaled, in the given dims.
inline Tensor ramp(std::initializer_list<int64_t> dims, float scale = 1, float start = 0) {
  int64_t n = 1;
  for (int64_t dim : dims) n *= dim;
  std::vector<float> values(n);
  for (int64_t i = 0; i < n; ++i) values[i] = start + scale * static_cast<float>(i);
  return from_bytes(DType::Float32, std::span(dims.begin(), dims.size()),
                    std::as_bytes(std::span(values)));
}

template <class T = float>
std::vector<T> read(const Tensor& x) {
  const std::vector<std::byte> bytes = x.to_bytes();
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

inline Tensor add(const Tensor& a, const Tensor& b) {
  return apply([](Value x, Value y) { return x + y; }, a, b);
}
inline Tensor mul(const Tensor& a, const Tensor& b) {
  return apply([](Value x, Value y) { return x * y; }, a, b);
}
inline Tensor scale(const Tensor& a, double by) {
  return apply([by](Value x) { return x * by; }, a);
}
inline Tensor sum(const Tensor& a) {
  return apply(
      [](Value x) {
        Dims axes;
        for (int i = 0; i < rank(x); ++i) axes.push_back(i);
        return ops::reduce(Op::ReduceSum, x, axes);
      },
      a);
}
// In place: target = body(target, operands...).
template <class Body, class... Tensors>
void update(const Tensor& target, Body&& body, const Tensors&... operands) {
  OpScope scope("update_");
  scope.write(target, body(scope.use(target), scope.use(operands)...));
}
// target[start : start + length] along an axis.
inline Tensor narrow(const Tensor& x, int64_t axis, int64_t start, int64_t length) {
  Dims sizes(2 * x.rank(), 0), dims(x.dims());
  for (int i = 0; i < x.rank(); ++i) sizes[x.rank() + i] = 1;
  sizes[axis] = start;
  dims[axis] = length;
  return make_view(x, Op::Slice, {}, sizes, dims);
}

}  // namespace tenon::testing

// New tensors of constants.
#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/recorder.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

Value constant(const IntList& size, double number, std::optional<DType> dtype,
               std::optional<Device> device) {
  const DeviceScope there(device);
  checked_numel(size);
  return ops::full(size, ops::literal(number, dtype.value_or(default_dtype())));
}

}  // namespace

Value zeros(const IntList& size, std::optional<DType> dtype, std::optional<Device> device) {
  return constant(size, 0, dtype, device);
}
Value ones(const IntList& size, std::optional<DType> dtype, std::optional<Device> device) {
  return constant(size, 1, dtype, device);
}
Value empty(const IntList& size, std::optional<DType> dtype, std::optional<Device> device) {
  return constant(size, 0, dtype, device);
}

Value full(const IntList& size, const Scalar& fill_value, std::optional<DType> dtype,
           std::optional<Device> device) {
  const DeviceScope there(device);
  checked_numel(size);
  return ops::full(size, scalar_of(fill_value, dtype.value_or(fill_value.dtype())));
}

Value eye(int64_t n, int64_t m, std::optional<DType> dtype, std::optional<Device> device) {
  const DeviceScope there(device);
  check(n >= 0 && m >= 0, ErrorKind::Runtime, "n must be greater or equal to 0, got {} and {}", n,
        m);
  const int64_t extents[] = {n, m};
  const Value same = ops::binary(Op::Eq, ops::iota(extents, 0), ops::iota(extents, 1));
  return ops::cast(same, dtype.value_or(default_dtype()));
}
Value eye(int64_t n, std::optional<DType> dtype, std::optional<Device> device) {
  return eye(n, n, dtype, device);
}

}  // namespace tenon::values

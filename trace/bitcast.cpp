// Bits as another dtype. The primitive reinterprets one real number as another of its size; between
// sizes, integers are split or joined by shifts, the least significant part first.
#include <algorithm>

#include "trace/complex.h"
#include "trace/recorder.h"

namespace tenon::ops {
namespace {

DType unsigned_of(int64_t bytes) {
  return bytes == 1   ? DType::UInt8
         : bytes == 2 ? DType::UInt16
         : bytes == 4 ? DType::UInt32
                      : DType::UInt64;
}

int64_t bytes_of(DType dtype) { return static_cast<int64_t>(size_of(dtype)); }

Value reinterpret(Value x, DType dtype) {
  const Type& type = type_of(x);
  if (type.dtype == dtype) return x;
  const TypeId result = intern(dtype, type.device, type.dims(), type.strides());
  return append_masked(Op::Bitcast, result, {&x, 1}, {}, {}, 0);
}

Value with_last(Value x, std::initializer_list<int64_t> last, int replaced = 1) {
  Dims dims(tenon::dims(x).first(static_cast<size_t>(rank(x) - replaced)));
  for (int64_t extent : last) dims.push_back(extent);
  return reshape(x, dims);
}

// Unsigned integers along the last dimension as narrower ones.
Value split(Value bits, int64_t parts, DType narrow) {
  const int64_t n = dims(bits).back();
  const double width = 8.0 * static_cast<double>(bytes_of(narrow));
  const DeviceScope there(type_of(bits).device);
  const Value shifts = cast(iota({&parts, 1}, 0), dtype(bits)) * width;
  const Value shifted = binary(Op::ShiftRight, with_last(bits, {n, 1}), shifts);
  return with_last(cast(shifted, narrow), {n * parts}, 2);
}

// Unsigned integers along the last dimension as wider ones.
Value join(Value bits, int64_t parts, DType wide) {
  const double width = 8.0 * static_cast<double>(bytes_of(dtype(bits)));
  const int64_t n = dims(bits).back() / parts;
  const Value grouped = with_last(bits, {n, parts});
  Value joined;
  for (int64_t i = 0; i < parts; ++i) {
    Value part = cast(slice_axis(grouped, rank(grouped) - 1, i, 1), wide);
    if (i > 0) {
      part = binary(Op::ShiftLeft, part, literal_like(part, width * static_cast<double>(i)));
    }
    joined = joined ? joined | part : part;
  }
  return with_last(joined, {n}, 2);
}

}  // namespace

Value bitcast(Value x, DType to) {
  const DType from = dtype(x);
  if (from == to) return x;
  const DType unit_from = real_dtype(from), unit_to = real_dtype(to);
  const int64_t wide = std::max(bytes_of(from), bytes_of(to));
  if (unit_from == from && unit_to == to && bytes_of(from) == bytes_of(to)) {
    return reinterpret(x, to);
  }
  // Real numbers along a last dimension: all that make one element of the larger dtype.
  Value units = is_complex(from) ? view_as_real(x) : unsqueeze(x, rank(x));
  const int64_t joins = wide / bytes_of(from), splits = wide / bytes_of(to);
  if (joins > 1) {
    const int64_t n = dims(x).back(), parts = dims(units).back();
    units = with_last(units, {n / joins, joins * parts}, 2);
  }
  const DType integer = unsigned_of(bytes_of(unit_to));
  units = reinterpret(units, unsigned_of(bytes_of(unit_from)));
  if (bytes_of(unit_from) > bytes_of(unit_to)) {
    units = split(units, bytes_of(unit_from) / bytes_of(unit_to), integer);
  } else if (bytes_of(unit_from) < bytes_of(unit_to)) {
    units = join(units, bytes_of(unit_to) / bytes_of(unit_from), integer);
  }
  units = reinterpret(units, unit_to);
  const int64_t parts = is_complex(to) ? 2 : 1;
  if (splits > 1) units = with_last(units, {dims(x).back() * splits, parts}, 2);
  return parts == 2 ? view_as_complex(units) : with_last(units, {});
}

}  // namespace tenon::ops

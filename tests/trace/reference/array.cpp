#include "tests/trace/reference/array.h"

#include <cstring>
#include <type_traits>

#include "core/allocator.h"
#include "core/error.h"
#include "core/half.h"

namespace tenon::reference {
namespace {

template <class Visit>
void for_each_offset(const Type& type, int64_t offset, Visit&& visit) {
  size_t at = 0;
  for_each_index(type.dims(), [&](std::span<const int64_t> index) {
    int64_t place = offset;
    for (size_t d = 0; d < index.size(); ++d) place += index[d] * type.strides()[d];
    visit(at++, place);
  });
}

template <class T>
inline constexpr bool is_host_complex =
    std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>;

}  // namespace

int64_t Array::numel() const {
  int64_t n = 1;
  for (int64_t dim : dims) n *= dim;
  return n;
}

Array make_array(TypeId id) {
  const Type& type = type_of(id);
  check(!is_complex(type.dtype), ErrorKind::NotImplemented, "the reference has no complex numbers");
  Array array{type.dtype, Dims(type.dims()), {}, {}};
  array.resize();
  return array;
}

Array load(const Buffer& buffer) {
  Array array = make_array(buffer.type);
  visit_dtype(array.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (!is_host_complex<T>) {
      const auto* data = static_cast<const T*>(buffer.storage->data());
      for_each_offset(type_of(buffer.type), buffer.offset, [&](size_t at, int64_t place) {
        if constexpr (std::is_integral_v<T>) {
          array.whole[at] = static_cast<int64_t>(data[place]);
        } else {
          array.real[at] = static_cast<double>(data[place]);
        }
      });
    }
  });
  return array;
}

Buffer store(const Array& array, TypeId type) {
  Buffer buffer{allocate(array.numel() * size_of(array.dtype)), 0, type};
  visit_dtype(array.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (!is_host_complex<T>) {
      auto* data = static_cast<T*>(buffer.storage->data());
      for_each_offset(type_of(type), 0, [&](size_t at, int64_t place) {
        if constexpr (std::is_integral_v<T>) {
          data[place] = static_cast<T>(array.whole[at]);
        } else {
          data[place] = T(static_cast<std::conditional_t<std::is_same_v<T, double>, double, float>>(
              array.real[at]));
        }
      });
    }
  });
  return buffer;
}

double round_to(DType dtype, double value) {
  switch (dtype) {
    case DType::Float16:
      return float{float16(static_cast<float>(value))};
    case DType::BFloat16:
      return float{bfloat16(static_cast<float>(value))};
    case DType::Float32:
      return static_cast<float>(value);
    default:
      return value;
  }
}

int64_t round_to(DType dtype, int64_t value) {
  return visit_dtype(dtype, [&](auto tag) -> int64_t {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, bool>) {
      return value != 0;
    } else if constexpr (std::is_integral_v<T>) {
      return static_cast<int64_t>(static_cast<T>(value));
    } else {
      return value;
    }
  });
}

Dims strides_of(std::span<const int64_t> dims) {
  Dims strides(dims.size(), 1);
  for (size_t d = dims.size(); d-- > 1;) strides[d - 1] = strides[d] * dims[d];
  return strides;
}

}  // namespace tenon::reference

// Element types: their sizes, names, kinds, and PyTorch's promotion lattice.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/float8.h"
#include "core/half.h"

namespace tenon {

enum class DType : std::uint8_t {
  Bool,
  UInt8,
  Int8,
  Int16,
  Int32,
  Int64,
  UInt16,
  UInt32,
  UInt64,
  Float16,
  BFloat16,
  Float32,
  Float64,
  Complex64,
  Complex128,
  Float8_e4m3fn,
  Float8_e5m2,
  Float8_e4m3fnuz,
  Float8_e5m2fnuz,
  Float8_e8m0fnu,
};

inline constexpr int kDTypeCount = 20;

namespace detail {
struct DTypeInfo {
  std::string_view name;
  std::uint8_t size;
  bool is_floating, is_complex, is_integral, is_signed;  // is_integral: without bool
};
inline constexpr DTypeInfo kDTypes[kDTypeCount] = {
    {"bool", 1, false, false, false, false},
    {"uint8", 1, false, false, true, false},
    {"int8", 1, false, false, true, true},
    {"int16", 2, false, false, true, true},
    {"int32", 4, false, false, true, true},
    {"int64", 8, false, false, true, true},
    {"uint16", 2, false, false, true, false},
    {"uint32", 4, false, false, true, false},
    {"uint64", 8, false, false, true, false},
    {"float16", 2, true, false, false, true},
    {"bfloat16", 2, true, false, false, true},
    {"float32", 4, true, false, false, true},
    {"float64", 8, true, false, false, true},
    {"complex64", 8, false, true, false, true},
    {"complex128", 16, false, true, false, true},
    {"float8_e4m3fn", 1, true, false, false, true},
    {"float8_e5m2", 1, true, false, false, true},
    {"float8_e4m3fnuz", 1, true, false, false, true},
    {"float8_e5m2fnuz", 1, true, false, false, true},
    {"float8_e8m0fnu", 1, true, false, false, false},
};
constexpr const DTypeInfo& info(DType d) { return kDTypes[static_cast<int>(d)]; }
}  // namespace detail

// Bytes of one element.
constexpr std::size_t size_of(DType d) { return detail::info(d).size; }
constexpr std::string_view name_of(DType d) { return detail::info(d).name; }
std::optional<DType> dtype_from_name(std::string_view name);

constexpr bool is_floating(DType d) { return detail::info(d).is_floating; }
constexpr bool is_complex(DType d) { return detail::info(d).is_complex; }
constexpr bool is_integral(DType d, bool include_bool) {
  return detail::info(d).is_integral || (include_bool && d == DType::Bool);
}
constexpr bool is_signed(DType d) { return detail::info(d).is_signed; }
// float16 and bfloat16: computed in float32 and rounded after each public operation.
constexpr bool is_half(DType d) { return d == DType::Float16 || d == DType::BFloat16; }
// One byte, for storage and conversion: little arithmetic is defined on them (trace/float8.h).
constexpr bool is_float8(DType d) { return d >= DType::Float8_e4m3fn; }

// The real dtype of a complex dtype's parts, and the complex dtype whose parts are `d`.
DType real_dtype(DType d);
DType complex_dtype(DType d);

// torch.promote_types. Runtime error for the pairs PyTorch does not support (uint16, uint32 and
// uint64 with another integer, float8 with anything else).
DType promote(DType a, DType b);
bool can_promote(DType a, DType b);
// torch.can_cast: false from complex to real, floating to integral, and anything but bool to bool.
bool can_cast(DType from, DType to);

// The floating dtype of values made without one (PyTorch's get_default_dtype); process-wide.
DType default_dtype();
void set_default_dtype(DType d);

template <class T>
struct DTypeTag {
  using type = T;
};

// dtype_of<T>: the DType of a host type.
template <class T>
struct DTypeOf;
template <DType D>
struct DTypeConstant {
  static constexpr DType value = D;
};
template <>
struct DTypeOf<bool> : DTypeConstant<DType::Bool> {};
template <>
struct DTypeOf<std::uint8_t> : DTypeConstant<DType::UInt8> {};
template <>
struct DTypeOf<std::int8_t> : DTypeConstant<DType::Int8> {};
template <>
struct DTypeOf<std::int16_t> : DTypeConstant<DType::Int16> {};
template <>
struct DTypeOf<std::int32_t> : DTypeConstant<DType::Int32> {};
template <>
struct DTypeOf<std::int64_t> : DTypeConstant<DType::Int64> {};
template <>
struct DTypeOf<std::uint16_t> : DTypeConstant<DType::UInt16> {};
template <>
struct DTypeOf<std::uint32_t> : DTypeConstant<DType::UInt32> {};
template <>
struct DTypeOf<std::uint64_t> : DTypeConstant<DType::UInt64> {};
template <>
struct DTypeOf<float16> : DTypeConstant<DType::Float16> {};
template <>
struct DTypeOf<bfloat16> : DTypeConstant<DType::BFloat16> {};
template <>
struct DTypeOf<float> : DTypeConstant<DType::Float32> {};
template <>
struct DTypeOf<double> : DTypeConstant<DType::Float64> {};
template <>
struct DTypeOf<std::complex<float>> : DTypeConstant<DType::Complex64> {};
template <>
struct DTypeOf<std::complex<double>> : DTypeConstant<DType::Complex128> {};
template <>
struct DTypeOf<float8_e4m3fn> : DTypeConstant<DType::Float8_e4m3fn> {};
template <>
struct DTypeOf<float8_e5m2> : DTypeConstant<DType::Float8_e5m2> {};
template <>
struct DTypeOf<float8_e4m3fnuz> : DTypeConstant<DType::Float8_e4m3fnuz> {};
template <>
struct DTypeOf<float8_e5m2fnuz> : DTypeConstant<DType::Float8_e5m2fnuz> {};
template <>
struct DTypeOf<float8_e8m0fnu> : DTypeConstant<DType::Float8_e8m0fnu> {};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

// The format of a float8 dtype.
constexpr const Float8Format& float8_format(DType d) {
  constexpr const Float8Format* kFormats[] = {&kFloat8_e4m3fn, &kFloat8_e5m2, &kFloat8_e4m3fnuz,
                                              &kFloat8_e5m2fnuz, &kFloat8_e8m0fnu};
  return *kFormats[static_cast<int>(d) - static_cast<int>(DType::Float8_e4m3fn)];
}

// Calls fn(DTypeTag<T>{}) with the host type T of `d`: visit_dtype(d, [&](auto tag) {
// using T = typename decltype(tag)::type; ... }).
template <class F>
decltype(auto) visit_dtype(DType d, F&& fn) {
  switch (d) {
    case DType::Bool:
      return fn(DTypeTag<bool>{});
    case DType::UInt8:
      return fn(DTypeTag<std::uint8_t>{});
    case DType::Int8:
      return fn(DTypeTag<std::int8_t>{});
    case DType::Int16:
      return fn(DTypeTag<std::int16_t>{});
    case DType::Int32:
      return fn(DTypeTag<std::int32_t>{});
    case DType::Int64:
      return fn(DTypeTag<std::int64_t>{});
    case DType::UInt16:
      return fn(DTypeTag<std::uint16_t>{});
    case DType::UInt32:
      return fn(DTypeTag<std::uint32_t>{});
    case DType::UInt64:
      return fn(DTypeTag<std::uint64_t>{});
    case DType::Float16:
      return fn(DTypeTag<float16>{});
    case DType::BFloat16:
      return fn(DTypeTag<bfloat16>{});
    case DType::Float32:
      return fn(DTypeTag<float>{});
    case DType::Float64:
      return fn(DTypeTag<double>{});
    case DType::Complex64:
      return fn(DTypeTag<std::complex<float>>{});
    case DType::Complex128:
      return fn(DTypeTag<std::complex<double>>{});
    case DType::Float8_e4m3fn:
      return fn(DTypeTag<float8_e4m3fn>{});
    case DType::Float8_e5m2:
      return fn(DTypeTag<float8_e5m2>{});
    case DType::Float8_e4m3fnuz:
      return fn(DTypeTag<float8_e4m3fnuz>{});
    case DType::Float8_e5m2fnuz:
      return fn(DTypeTag<float8_e5m2fnuz>{});
    case DType::Float8_e8m0fnu:
      return fn(DTypeTag<float8_e8m0fnu>{});
  }
  __builtin_unreachable();
}

}  // namespace tenon

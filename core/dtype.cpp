#include "core/dtype.h"

#include <array>
#include <atomic>

#include "core/error.h"

namespace tenon {

namespace {

constexpr std::uint8_t kNone = 255;

// torch.promote_types of PyTorch 2.13; rows and columns in the order of DType, without float8.
constexpr int kOthers = static_cast<int>(DType::Float8_e4m3fn);
constexpr std::uint8_t kPromotion[kOthers][kOthers] = {
    {0, 1, 2, 3, 4, 5, kNone, kNone, kNone, 9, 10, 11, 12, 13, 14},
    {1, 1, 3, 3, 4, 5, kNone, kNone, kNone, 9, 10, 11, 12, 13, 14},
    {2, 3, 2, 3, 4, 5, kNone, kNone, kNone, 9, 10, 11, 12, 13, 14},
    {3, 3, 3, 3, 4, 5, kNone, kNone, kNone, 9, 10, 11, 12, 13, 14},
    {4, 4, 4, 4, 4, 5, kNone, kNone, kNone, 9, 10, 11, 12, 13, 14},
    {5, 5, 5, 5, 5, 5, kNone, kNone, kNone, 9, 10, 11, 12, 13, 14},
    {kNone, kNone, kNone, kNone, kNone, kNone, 6, kNone, kNone, 9, 10, 11, 12, kNone, kNone},
    {kNone, kNone, kNone, kNone, kNone, kNone, kNone, 7, kNone, 9, 10, 11, 12, kNone, kNone},
    {kNone, kNone, kNone, kNone, kNone, kNone, kNone, kNone, 8, 9, 10, 11, 12, kNone, kNone},
    {9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 11, 11, 12, 13, 14},
    {10, 10, 10, 10, 10, 10, 10, 10, 10, 11, 10, 11, 12, 13, 14},
    {11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 12, 13, 14},
    {12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 14, 14},
    {13, 13, 13, 13, 13, 13, kNone, kNone, kNone, 13, 13, 13, 14, 13, 14},
    {14, 14, 14, 14, 14, 14, kNone, kNone, kNone, 14, 14, 14, 14, 14, 14},
};

// float8 goes with itself alone.
std::uint8_t promotion_of(DType a, DType b) {
  if (is_float8(a) || is_float8(b)) return a == b ? static_cast<std::uint8_t>(a) : kNone;
  return kPromotion[static_cast<int>(a)][static_cast<int>(b)];
}

std::atomic<DType> g_default_dtype{DType::Float32};

// bool < integer < floating < complex.
int category(DType d) {
  if (d == DType::Bool) return 0;
  if (is_integral(d, false)) return 1;
  return is_floating(d) ? 2 : 3;
}

}  // namespace

std::optional<DType> dtype_from_name(std::string_view name) {
  for (int i = 0; i < kDTypeCount; ++i) {
    if (detail::kDTypes[i].name == name) return static_cast<DType>(i);
  }
  constexpr std::pair<std::string_view, DType> kAliases[] = {
      {"half", DType::Float16},     {"float", DType::Float32},      {"double", DType::Float64},
      {"short", DType::Int16},      {"int", DType::Int32},          {"long", DType::Int64},
      {"cfloat", DType::Complex64}, {"cdouble", DType::Complex128},
  };
  for (const auto& [alias, dtype] : kAliases) {
    if (alias == name) return dtype;
  }
  return std::nullopt;
}

DType real_dtype(DType d) {
  if (d == DType::Complex64) return DType::Float32;
  if (d == DType::Complex128) return DType::Float64;
  return d;
}

DType complex_dtype(DType d) {
  switch (d) {
    case DType::Float32:
    case DType::Complex64:
      return DType::Complex64;
    case DType::Float64:
    case DType::Complex128:
      return DType::Complex128;
    default:
      fail(ErrorKind::Type, "no complex dtype has parts of {}", name_of(d));
  }
}

bool can_promote(DType a, DType b) { return promotion_of(a, b) != kNone; }

DType promote(DType a, DType b) {
  const std::uint8_t result = promotion_of(a, b);
  check(result != kNone || !(is_float8(a) || is_float8(b)), ErrorKind::Runtime,
        "Promotion for Float8 Types is not supported, attempted to promote {} and {}: cast one of "
        "them first",
        name_of(a), name_of(b));
  check(result != kNone, ErrorKind::Runtime,
        "Promotion for uint16, uint32, uint64 types is not supported, attempted to promote {} and "
        "{}: cast one of them first",
        name_of(a), name_of(b));
  return static_cast<DType>(result);
}

bool can_cast(DType from, DType to) { return category(from) <= category(to); }

DType default_dtype() { return g_default_dtype.load(std::memory_order_relaxed); }

void set_default_dtype(DType d) {
  check(is_floating(d) && !is_float8(d), ErrorKind::Type,
        "only floating-point types are supported as the default type, got {}", name_of(d));
  g_default_dtype.store(d, std::memory_order_relaxed);
}

}  // namespace tenon

#include "core/dtype.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "tests/core/expect_error.h"

using namespace tenon;

namespace {
DType nth(int i) { return static_cast<DType>(i); }
}  // namespace

// Printed by PyTorch 2.13:
//   for a in dtypes: print(*[try_promote(a, b) for b in dtypes]), "-" where it raises.
constexpr const char* kTorch[kDTypeCount] = {
    "0 1 2 3 4 5 - - - 9 10 11 12 13 14 - - - - -",
    "1 1 3 3 4 5 - - - 9 10 11 12 13 14 - - - - -",
    "2 3 2 3 4 5 - - - 9 10 11 12 13 14 - - - - -",
    "3 3 3 3 4 5 - - - 9 10 11 12 13 14 - - - - -",
    "4 4 4 4 4 5 - - - 9 10 11 12 13 14 - - - - -",
    "5 5 5 5 5 5 - - - 9 10 11 12 13 14 - - - - -",
    "- - - - - - 6 - - 9 10 11 12 - - - - - - -",
    "- - - - - - - 7 - 9 10 11 12 - - - - - - -",
    "- - - - - - - - 8 9 10 11 12 - - - - - - -",
    "9 9 9 9 9 9 9 9 9 9 11 11 12 13 14 - - - - -",
    "10 10 10 10 10 10 10 10 10 11 10 11 12 13 14 - - - - -",
    "11 11 11 11 11 11 11 11 11 11 11 11 12 13 14 - - - - -",
    "12 12 12 12 12 12 12 12 12 12 12 12 12 14 14 - - - - -",
    "13 13 13 13 13 13 - - - 13 13 13 14 13 14 - - - - -",
    "14 14 14 14 14 14 - - - 14 14 14 14 14 14 - - - - -",
    "- - - - - - - - - - - - - - - 15 - - - -",
    "- - - - - - - - - - - - - - - - 16 - - -",
    "- - - - - - - - - - - - - - - - - 17 - -",
    "- - - - - - - - - - - - - - - - - - 18 -",
    "- - - - - - - - - - - - - - - - - - - 19"};

TEST_CASE("promotion is torch.promote_types") {
  for (int a = 0; a < kDTypeCount; ++a) {
    std::string row;
    for (int b = 0; b < kDTypeCount; ++b) {
      if (b) row += ' ';
      row += can_promote(nth(a), nth(b)) ? std::to_string(static_cast<int>(promote(nth(a), nth(b))))
                                         : "-";
    }
    CHECK(row == kTorch[a]);
  }
}

TEST_CASE("promotion that PyTorch does not support names both dtypes") {
  testing::expect_error(ErrorKind::Runtime, {"uint16", "int8"},
                        [] { promote(DType::UInt16, DType::Int8); });
  testing::expect_error(ErrorKind::Runtime, {"Float8", "float8_e5m2", "float32"},
                        [] { promote(DType::Float8_e5m2, DType::Float32); });
}

TEST_CASE("promotion is a commutative, idempotent upper bound") {
  for (int a = 0; a < kDTypeCount; ++a) {
    CHECK(promote(nth(a), nth(a)) == nth(a));
    for (int b = 0; b < kDTypeCount; ++b) {
      REQUIRE(can_promote(nth(a), nth(b)) == can_promote(nth(b), nth(a)));
      if (!can_promote(nth(a), nth(b))) continue;
      const DType c = promote(nth(a), nth(b));
      CHECK(c == promote(nth(b), nth(a)));
      CHECK(promote(c, nth(a)) == c);
      CHECK(can_cast(nth(a), c));
    }
  }
}

TEST_CASE("casting never goes down the categories") {
  CHECK(can_cast(DType::Int64, DType::UInt8));
  CHECK(can_cast(DType::Int64, DType::Float16));
  CHECK(can_cast(DType::Complex128, DType::Complex64));
  CHECK_FALSE(can_cast(DType::Int8, DType::Bool));
  CHECK_FALSE(can_cast(DType::Float32, DType::Int64));
  CHECK_FALSE(can_cast(DType::Complex64, DType::Float64));
}

TEST_CASE("names and sizes") {
  std::set<std::string_view> names;
  for (int i = 0; i < kDTypeCount; ++i) {
    CHECK(dtype_from_name(name_of(nth(i))) == nth(i));
    names.insert(name_of(nth(i)));
    visit_dtype(nth(i), [&]<class T>(DTypeTag<T>) {
      CHECK(sizeof(T) == size_of(nth(i)));
      CHECK(dtype_of<T> == nth(i));
    });
  }
  CHECK(names.size() == kDTypeCount);
  CHECK(dtype_from_name("half") == DType::Float16);
  CHECK(dtype_from_name("long") == DType::Int64);
  CHECK_FALSE(dtype_from_name("float8").has_value());
  CHECK_FALSE(dtype_from_name("").has_value());
}

TEST_CASE("each dtype is of one kind") {
  for (int i = 0; i < kDTypeCount; ++i) {
    const DType d = nth(i);
    CHECK(is_floating(d) + is_complex(d) + is_integral(d, true) == 1);
    CHECK(is_integral(d, false) == (is_integral(d, true) && d != DType::Bool));
  }
  CHECK(is_signed(DType::Int8));
  CHECK_FALSE(is_signed(DType::UInt64));
  CHECK_FALSE(is_signed(DType::Bool));
}

TEST_CASE("real and complex partners") {
  CHECK(real_dtype(DType::Complex64) == DType::Float32);
  CHECK(real_dtype(DType::Int8) == DType::Int8);
  CHECK(complex_dtype(DType::Float64) == DType::Complex128);
  CHECK(complex_dtype(DType::Complex64) == DType::Complex64);
  testing::expect_error(ErrorKind::Type, {"int32"}, [] { complex_dtype(DType::Int32); });
}

TEST_CASE("the default dtype is floating") {
  CHECK(default_dtype() == DType::Float32);
  set_default_dtype(DType::Float64);
  CHECK(default_dtype() == DType::Float64);
  testing::expect_error(ErrorKind::Type, {"int64"}, [] { set_default_dtype(DType::Int64); });
  CHECK(default_dtype() == DType::Float64);
  set_default_dtype(DType::Float32);
}

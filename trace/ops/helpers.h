// What the bodies of composed operations call: dimensions, promotion, constants.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include "trace/ops/types.h"
#include "trace/value.h"

namespace tenon::values {

// Dimensions, counted from the end when negative. IndexError beyond the rank (a 0-d tensor has the
// one dimension PyTorch grants it).
int64_t normalize_dim(int64_t dim, int64_t rank);
// Sorted; all of them for none or an empty list; RuntimeError for one given twice.
Dims normalize_dims(const std::optional<IntList>& dims, int64_t rank);
Dims all_dims(int64_t rank);
int64_t size_of_dim(Value x, int64_t dim);
int64_t extent_of(Value x, std::span<const int64_t> axes);  // product of their extents

// A user's number as a 0-d value of like's dtype.
Value scalar_like(Value like, const Scalar& number);
Value scalar_of(const Scalar& number, DType dtype);

// The dtype at which operands meet, as PyTorch decides: dimensioned tensors before 0-d ones.
DType result_type(Promotion kind, std::span<const Value> values);
// Casts all to that dtype; values that are none stay none.
void promote(Promotion kind, std::initializer_list<Value*> values);
// PyTorch's combination of a category of operands with a less important one.
DType combine_categories(std::optional<DType> higher, std::optional<DType> lower);

// Random bits of the generator's (by default the default one's) next call.
Value draw_bits(std::span<const int64_t> dims, Generator* generator);

Value apply(Value x, const Movements& movements);

}  // namespace tenon::values

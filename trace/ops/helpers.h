// What the bodies of composed operations call: dimensions, promotion, constants.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/error.h"
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

// Of operations that take indices: as int64, RuntimeError for what is no integer; RuntimeError
// unless the elements that are stored have the dtype of those that they join.
Value as_index(Value index);
void check_stored_dtype(Value input, Value source);

// Random bits of the generator's (by default the default one's) next call.
Value draw_bits(std::span<const int64_t> dims, Generator* generator);

Value apply_movements(Value x, const Movements& movements);

Value as_floating(Value x);      // integers and bools in the default dtype
double largest_of(DType dtype);  // largest finite value of a floating dtype
double epsilon_of(DType dtype);  // distance from 1 to the next value
// The next number of a half dtype after x in the direction of y.
Value next_half(Value x, Value y);
// Of operands that meet: fails with this kind where none is floating (or complex), where all are
// bool.
void check_floating(std::initializer_list<Value> values, ErrorKind kind);
void check_numbers(std::initializer_list<Value> values, ErrorKind kind);
Dims common_dims(Value a, Value b);                            // of both, broadcast
void check_not_empty(Value x, std::span<const int64_t> axes);  // for reductions without identity
void check_same_size(Value target, Value input);               // of losses
Value index_of_extreme(Value x, int64_t dim, bool largest);    // keeps the dimension, as size 1
Value matmul_transposed(Value input, Value other);             // input @ other.mT
Value pick(Value x, Value index, int64_t dim);                 // take_along, 0-d included
Value running(Value x, int64_t dim, std::string_view kind);    // "sum", "product", "max", "min"
// Where each element of a running extremum came from: the latest place that attains it (or is NaN).
Value running_index(Value x, Value extremum, int64_t dim);
Value reduce_loss(Value loss, std::string_view reduction);  // "none", "mean", "sum"
int64_t softmax_dim(int64_t rank);                          // PyTorch's choice where none is given
int64_t axis_of_three(Value x);                             // the first dimension of size 3
Dims other_axes(Value x, int64_t dim);                      // all but one
Dims trailing_axes(Value x, const IntList& normalized_shape);
Value in_groups(Value x, int64_t groups);          // [N, C, ...] as [N, groups, rest]
Value channel_vector(Value vector, int64_t rank);  // (C) as (1, C, 1, ...)
Dims feature_dims(Value x);                        // extents of a mask of features: (N, C, 1, ...)
// The first (second) row of each pair of n rows, in the order of pdist.
Value index_of_pairs(int64_t n, bool first);
Value fit_variance(Value variance, Value input);  // of gaussian_nll_loss: with the input's rank
// The permutation that leaves the first dimensions and goes on with `rest`.
Dims identity_then(int64_t first, std::span<const int64_t> rest);
// grid_sample with its modes by PyTorch's numbers.
Value grid_sample_by_number(Value input, Value grid, int64_t mode, int64_t padding,
                            bool align_corners);
// Of the masked operations. The mask may be none; it broadcasts to x's size.
// x with what the mask leaves out replaced: "zero", "one", "nan", or the "lowest" or "highest"
// number of its dtype.
Value fill_masked(Value x, Value mask, std::string_view fill);
Value count_kept(Value x, Value mask, std::span<const int64_t> axes, bool keepdim);  // int64
Value masked_variance(Value x, Value mask, std::span<const int64_t> axes, double correction,
                      bool keepdim, DType dtype);
Value linspace_between(Value start, Value end, int64_t steps, std::optional<DType> dtype);
Value arange_of(const Scalar& start, const Scalar& end, const Scalar& step,
                std::optional<DType> dtype);

// Random numbers of the generator's next call.
Value uniform01(std::span<const int64_t> dims, DType dtype, Generator* generator);  // [0, 1)
Value normal01(std::span<const int64_t> dims, DType dtype, Generator* generator);
Value random_integers(int64_t low, int64_t high, std::span<const int64_t> dims, DType dtype,
                      Generator* generator);

}  // namespace tenon::values

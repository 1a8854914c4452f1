// What the bodies of linear algebra call: checks in PyTorch's words, factors, and what needs loops.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "trace/ops/types.h"
#include "trace/routine.h"
#include "trace/value.h"

namespace tenon::values {

// RuntimeError unless these are matrices of float32, float64 or complex numbers; square ones.
void check_matrix(Value a, std::string_view name);
void check_square_matrix(Value a, std::string_view name);
void check_square(Value a, std::string_view name);  // of any dtype
void check_same_dtype(Value a, Value b);
Value broadcast_batch(Value x, Value like);    // x with the batch dimensions of both
Value matrix_identity(Value like, int64_t n);  // [batch of like..., n, n]
Value conjugate_transpose(Value a);
Value diagonal_of(Value a);              // of the last two dimensions
Value diagonal_from(Value d);            // matrices with that diagonal
Value lower_part(Value a, bool strict);  // zero elsewhere
Value upper_part(Value a);
Value joined(Value a, Value b, int64_t dim);  // one after the other
Value eye_of(Value like);                     // ones on the diagonal, like's size
Value mT_of(Value a);
Dims replaced_dims(Value like, int64_t rows, int64_t columns);

// Factors. `failure`: whose message a matrix gives that has none, or "" for info alone.
Value cholesky_factor(Value a, bool upper, std::string_view failure);
Value cholesky_failures(Value a, bool upper, std::string_view failure);
Value lu_factors(Value a, std::string_view failure);
Value lu_pivots(Value a, std::string_view failure);
Value lu_failures(Value a, std::string_view failure);
Value pivot_order(Value pivots, int64_t rows);  // int64 permutation
Value take_rows(Value x, Value order);
Value put_rows(Value x, Value order);                             // its inverse
Value permutation_matrix(Value order, Value like);                // p with a = p l u
Value qr_factor(Value a, bool complete, std::string_view which);  // "q", "r", "packed", "tau"
Value eigh_result(Value a, std::string_view uplo, bool vectors, std::string_view which);
Value eig_result(Value a, bool vectors, std::string_view which);
Value svd_result(Value a, std::string_view job, std::string_view which);
// x with a x = b where a is a triangle, batches broadcast; x a = b unless left.
Value triangle_solve(Value a, Value b, bool upper, bool left, bool unit);

// Whether b is a vector (or a batch of them) in a x = b.
bool is_vector_for(Value a, Value b);
// x with a x = b, or x a = b; from LU factors at hand, of a^H if asked.
Value lu_solution(Value a, Value b, bool left, std::string_view failure);
Value factored_solution(Value packed, Value pivots, Value b, bool left, bool adjoint);

// Of singular values of the matrices in two dimensions: "largest", "smallest" or their "sum".
Value spectral_norm(Value x, int64_t row, int64_t column, std::string_view which, bool keepdim);
Value named_matrix_norm(Value a, std::string_view name);  // "fro" or "nuc"
// The product of two norms, inf where a is singular.
Value condition_of(Value a, Value norm, Value norm_of_inverse);

int64_t first_of_size(Value x, int64_t extent);     // the first such dimension, or RuntimeError
Value powers_of(Value x, int64_t count);            // 0 to count - 1, along a new last dimension
Value permutation_sign(Value pivots, DType dtype);  // 1 or -1
Value matrix_exponential(Value a);
Value integer_power(Value a, int64_t n);  // n >= 0
Value chain_product(std::span<const Value> matrices);
// Householder's reflectors as the first columns of their product, [..., m, n] and [..., k] to
// [..., m, n], or applied to another matrix.
Value reflectors_product(Value a, Value tau);
Value reflectors_applied(Value a, Value tau, Value other, bool left, bool transposed);

}  // namespace tenon::values

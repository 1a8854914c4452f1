// Helpers of linear algebra (spec/ops/linalg.toml).
#include "trace/ops/linalg.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/complex.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

int64_t rows(Value x) { return dims(x)[rank(x) - 2]; }
int64_t columns(Value x) { return dims(x)[rank(x) - 1]; }
Value swapped(Value x) { return ops::move_axis(x, rank(x) - 1, rank(x) - 2); }
Dims batch_of(Value x) { return Dims(dims(x).first(rank(x) - 2)); }

Value in_triangle(Value x, Op keeps) {
  const Dims extents{rows(x), columns(x)};
  const Value inside = ops::binary(keeps, ops::iota(extents, 0), ops::iota(extents, 1));
  return ops::select(inside, x, ops::literal_like(x, 0));
}

ops::Failure failure_named(std::string_view name) {
  return name == "cholesky"    ? ops::Failure::Cholesky
         : name == "inv"       ? ops::Failure::Inverse
         : name == "solve"     ? ops::Failure::Solve
         : name == "lu_factor" ? ops::Failure::LuFactor
                               : ops::Failure::None;
}

Value on_diagonal(Value on, Value off) {
  const Dims extents{rows(off), columns(off)};
  return ops::select(ops::binary(Op::Eq, ops::iota(extents, 0), ops::iota(extents, 1)), on, off);
}

}  // namespace

void check_matrix(Value a, std::string_view name) {
  check(rank(a) >= 2, ErrorKind::Runtime, "{}: The input tensor A must have at least 2 dimensions.",
        name);
  const DType dtype = tenon::dtype(a);
  check(is_floating(dtype) || is_complex(dtype), ErrorKind::NotImplemented,
        "{}: Expected a floating point or complex tensor as input. Got {}", name, name_of(dtype));
  check(dtype != DType::Float16 && dtype != DType::BFloat16, ErrorKind::Runtime,
        "{}: Low precision dtypes not supported. Got {}", name, name_of(dtype));
}

void check_square_matrix(Value a, std::string_view name) {
  check_matrix(a, name);
  check_square(a, name);
}

void check_square(Value a, std::string_view name) {
  check(rank(a) >= 2, ErrorKind::Runtime, "{}: The input tensor A must have at least 2 dimensions.",
        name);
  check(rows(a) == columns(a), ErrorKind::Runtime,
        "{}: A must be batches of square matrices, but they are {} by {} matrices", name, rows(a),
        columns(a));
}

void check_same_dtype(Value a, Value b) {
  check(dtype(a) == dtype(b), ErrorKind::Runtime,
        "{}: Expected A and B to have the same dtype, but found A of type {} and B of type {} "
        "instead",
        current_operation(), name_of(dtype(a)), name_of(dtype(b)));
}

Value broadcast_batch(Value x, Value like) {
  Dims extents = broadcast_dims(dims(x).first(rank(x) - 2), dims(like).first(rank(like) - 2));
  extents.push_back(rows(x)), extents.push_back(columns(x));
  return ops::expand(x, extents);
}

Value matrix_identity(Value like, int64_t n) {
  Dims extents = batch_of(like);
  extents.push_back(n), extents.push_back(n);
  return on_diagonal(ops::literal_like(like, 1), ops::full(extents, ops::literal_like(like, 0)));
}

Value conjugate_transpose(Value a) { return ops::conj(swapped(a)); }

Value diagonal_of(Value a) {
  const int64_t k = std::min(rows(a), columns(a)), last = rank(a) - 1;
  const Value square = ops::slice_axis(ops::slice_axis(a, last - 1, 0, k), last, 0, k);
  return ops::reduce(Op::ReduceSum, on_diagonal(square, ops::zeros_like(square)), {&last, 1});
}

Value diagonal_from(Value d) {
  Dims extents(dims(d));
  extents.push_back(extents.back());
  const Value spread = ops::expand(ops::unsqueeze(d, rank(d) - 1), extents);
  return on_diagonal(spread, ops::zeros_like(spread));
}

Value lower_part(Value a, bool strict) { return in_triangle(a, strict ? Op::Gt : Op::Ge); }
Value upper_part(Value a) { return in_triangle(a, Op::Le); }
Value eye_of(Value like) { return on_diagonal(ops::literal_like(like, 1), ops::zeros_like(like)); }
Value joined(Value a, Value b, int64_t dim) {
  const Value parts[] = {a, b};
  return ops::concatenate(parts, normalize_dim(dim, rank(a)));
}
Value mT_of(Value a) { return swapped(a); }

Dims replaced_dims(Value like, int64_t rows, int64_t columns) {
  Dims extents = batch_of(like);
  extents.push_back(rows), extents.push_back(columns);
  return extents;
}

namespace {

// Of a Hermitian matrix given by its upper triangle. Derivatives are those of the whole matrix, in
// its own order, as where the lower one is read.
Value upper_triangle_as_lower(Value a) { return ops::redirect(conjugate_transpose(a), a); }

}  // namespace

Value cholesky_factor(Value a, bool upper, std::string_view failure) {
  if (!upper) return ops::cholesky(a, failure_named(failure));
  return conjugate_transpose(ops::cholesky(upper_triangle_as_lower(a), failure_named(failure)));
}

Value cholesky_failures(Value a, bool upper, std::string_view failure) {
  return ops::cholesky_info(upper ? conjugate_transpose(a) : a, failure_named(failure));
}

Value lu_factors(Value a, std::string_view failure) {
  return ops::lu(a, failure_named(failure), ops::LuResult::Packed);
}
Value lu_pivots(Value a, std::string_view failure) {
  return ops::lu(a, failure_named(failure), ops::LuResult::Pivots);
}
Value lu_failures(Value a, std::string_view failure) {
  return ops::lu(a, failure_named(failure), ops::LuResult::Info);
}
Value pivot_order(Value pivots, int64_t rows) { return ops::lu_permutation(pivots, rows); }

Value take_rows(Value x, Value order) {
  const Value index = ops::expand(ops::unsqueeze(order, rank(order)), dims(x));
  return ops::take_along(x, index, rank(x) - 2);
}

Value put_rows(Value x, Value order) {
  return take_rows(x, ops::argsort(order, rank(order) - 1, false));
}

Value permutation_matrix(Value order, Value like) {
  const int64_t m = dims(order)[rank(order) - 1];
  const Value row = ops::iota(Dims{m, 1}, 0);
  const Value is_one = ops::binary(Op::Eq, row, ops::unsqueeze(order, rank(order) - 1));
  return ops::cast(is_one, dtype(like));
}

Value qr_factor(Value a, bool complete, std::string_view which) {
  return ops::qr(a, complete,
                 which == "q"        ? ops::QrResult::Q
                 : which == "r"      ? ops::QrResult::R
                 : which == "packed" ? ops::QrResult::Packed
                                     : ops::QrResult::Tau);
}

Value eigh_result(Value a, std::string_view uplo, bool vectors, std::string_view which) {
  check(uplo == "L" || uplo == "U" || uplo == "l" || uplo == "u", ErrorKind::Runtime,
        "Expected UPLO argument to be 'L' or 'U', but got {}", uplo);
  const bool upper = uplo == "U" || uplo == "u";
  // The derivative is that of the mean of the matrix and its adjoint, whichever triangle is read.
  const Value adjoint = conjugate_transpose(a);
  const Value half = ops::cast(ops::literal(0.5, real_dtype(dtype(a))), dtype(a));
  const Value hermitian = ops::redirect(upper ? adjoint : a, (a + adjoint) * half);
  return ops::eigh(hermitian, vectors,
                   which == "values" ? ops::EigResult::Values : ops::EigResult::Vectors);
}

Value eig_result(Value a, bool vectors, std::string_view which) {
  return ops::eig(a, vectors, which == "values" ? ops::EigResult::Values : ops::EigResult::Vectors);
}

Value svd_result(Value a, std::string_view job, std::string_view which) {
  const bool full = job == "full" && rows(a) != columns(a);
  return ops::svd(a,
                  job == "values" ? ops::SvdJob::Values
                  : full          ? ops::SvdJob::Full
                                  : ops::SvdJob::Reduced,
                  which == "u"   ? ops::SvdResult::U
                  : which == "s" ? ops::SvdResult::S
                                 : ops::SvdResult::Vh);
}

Value triangle_solve(Value a, Value b, bool upper, bool left, bool unit) {
  if (!left) {
    return swapped(triangle_solve(swapped(a), swapped(b), !upper, true, unit));
  }
  return ops::triangular_solve(broadcast_batch(a, b), broadcast_batch(b, a), !upper, unit);
}

bool is_vector_for(Value a, Value b) {
  if (rank(b) == 1) return true;
  return rank(a) - 1 == rank(b) && std::ranges::equal(dims(b), dims(a).first(rank(a) - 1));
}

Value factored_solution(Value packed, Value pivots, Value b, bool left, bool adjoint) {
  if (!left) {
    return conjugate_transpose(
        factored_solution(packed, pivots, conjugate_transpose(b), true, !adjoint));
  }
  check(rows(b) == columns(packed), ErrorKind::Runtime,
        "{}: Incompatible shapes of A and B for the equation {} and {}", current_operation(),
        shown(dims(packed)), shown(dims(b)));
  const Value right = broadcast_batch(b, packed), factors = broadcast_batch(packed, b);
  Dims order_dims(dims(right).first(rank(right) - 1));
  const Value order = ops::expand(pivot_order(pivots, rows(packed)), order_dims);
  if (!adjoint) {
    const Value y = ops::triangular_solve(factors, take_rows(right, order), true, true);
    return ops::triangular_solve(factors, y, false, false);
  }
  const Value transposed = conjugate_transpose(factors);
  const Value y = ops::triangular_solve(transposed, right, true, false);
  return put_rows(ops::triangular_solve(transposed, y, false, true), order);
}

Value lu_solution(Value a, Value b, bool left, std::string_view failure) {
  return factored_solution(lu_factors(a, failure), lu_pivots(a, failure), b, left, false);
}

Value spectral_norm(Value x, int64_t row, int64_t column, std::string_view which, bool keepdim) {
  Dims order;
  for (int i = 0; i < rank(x); ++i) {
    if (i != row && i != column) order.push_back(i);
  }
  order.push_back(row), order.push_back(column);
  const Value s = svd_result(ops::permute(x, order), "values", "s");
  const int64_t last = rank(s) - 1;
  if (which != "sum") check_not_empty(s, {&last, 1});
  const Op op = which == "sum" ? Op::ReduceSum : which == "largest" ? Op::ReduceMax : Op::ReduceMin;
  const Value result = ops::reduce(op, s, {&last, 1});
  if (!keepdim) return result;
  Dims extents(dims(x));
  extents[row] = extents[column] = 1;
  return ops::reshape(result, extents);
}

Value named_matrix_norm(Value a, std::string_view name) {
  if (name == "nuc") return spectral_norm(a, rank(a) - 2, rank(a) - 1, "sum", false);
  return linalg_vector_norm(a, 2.0, IntList{-2, -1}, false);
}

Value condition_of(Value a, Value norm, Value norm_of_inverse) {
  const Value product = norm * norm_of_inverse, info = lu_failures(a, "");
  const Value singular = ops::binary(Op::Ne, info, ops::literal_like(info, 0));
  return ops::select(singular, ops::literal_like(product, HUGE_VAL), product);
}

Value linalg_tensorinv(Value a, int64_t ind) {
  check(ind > 0, ErrorKind::Runtime, "Expected a strictly positive integer for 'ind'");
  const auto extents = dims(a);
  check(ind < static_cast<int64_t>(extents.size()), ErrorKind::Runtime,
        "linalg.tensorinv: 'ind' must be less than the number of dimensions");
  const Dims front(extents.first(ind)), back(extents.subspan(ind));
  int64_t rows = 1, columns = 1;
  for (int64_t extent : front) rows *= extent;
  for (int64_t extent : back) columns *= extent;
  check(rows == columns, ErrorKind::Runtime,
        "Expected self to satisfy the requirement prod(self.shape[ind:]) == "
        "prod(self.shape[:ind]), but got {} != {}",
        columns, rows);
  Dims result(back);
  result.append(front.begin(), front.end());
  const int64_t matrix[] = {rows, rows};
  return ops::reshape(linalg_inv(ops::reshape(a, matrix)), result);
}

Value linalg_tensorsolve(Value a, Value b, const std::optional<IntList>& moved) {
  if (moved) {
    Dims order, last;
    for (int64_t dim : *moved) last.push_back(normalize_dim(dim, rank(a)));
    for (int i = 0; i < rank(a); ++i) {
      if (std::ranges::find(last, i) == last.end()) order.push_back(i);
    }
    order.append(last.begin(), last.end());
    a = ops::permute(a, order);
  }
  check(rank(a) >= rank(b), ErrorKind::Runtime,
        "Expected self.ndim to be at least other.ndim, but got {} and {}", rank(a), rank(b));
  const Dims result(dims(a).subspan(rank(b)));
  int64_t n = 1;
  for (int64_t extent : result) n *= extent;
  check(n == type_of(b).numel, ErrorKind::Runtime,
        "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
        "prod(self.shape[:other.ndim]), but got {} != {}",
        n, type_of(b).numel);
  const int64_t matrix[] = {n, n}, vector[] = {n};
  return ops::reshape(linalg_solve(ops::reshape(a, matrix), ops::reshape(b, vector)), result);
}

Value powers_of(Value x, int64_t count) {
  Dims extents(dims(x));
  extents.push_back(count);
  if (count == 0) return ops::full(extents, ops::literal_like(x, 0));
  const Value column = ops::unsqueeze(x, rank(x));
  extents.back() = count - 1;
  const Value parts[] = {ops::ones_like(column), ops::expand(column, extents)};
  const Value factors = ops::concatenate(parts, rank(x));
  return ops::cumulative(Op::Cumprod, factors, rank(x));
}

Value permutation_sign(Value pivots, DType dtype) {
  const int64_t last = rank(pivots) - 1, k = dims(pivots)[last];
  const Value own = ops::iota(Dims{k}, 0) + ops::literal(1, DType::Int64);
  const Value moved = ops::binary(Op::Ne, ops::cast(pivots, DType::Int64), own);
  const Value swaps = ops::reduce(Op::ReduceSum, ops::cast(moved, DType::Int64), {&last, 1});
  const Value odd = ops::binary(Op::BitwiseAnd, swaps, ops::literal(1, DType::Int64));
  return ops::select(ops::cast(odd, DType::Bool), ops::literal(-1, dtype), ops::literal(1, dtype));
}

// By Pade's approximant of order 13 of a / 2^s, squared s times (N. Higham, The scaling and
// squaring method for the matrix exponential revisited, 2005). The number of squarings is each
// matrix's own, of at most so many as the largest finite result may need.
Value matrix_exponential(Value a) {
  constexpr double kPade[] = {64764752532480000.,
                              32382376266240000.,
                              7771770303897600.,
                              1187353796428800.,
                              129060195264000.,
                              10559470521600.,
                              670442572800.,
                              33522128640.,
                              1323241920.,
                              40840800.,
                              960960.,
                              16380.,
                              182.,
                              1.};
  constexpr double kTheta = 5.371920351148152;
  const int64_t n = rows(a);
  if (type_of(a).numel == 0) return a;
  if (const DType own = dtype(a); own == DType::Float16 || own == DType::BFloat16) {
    return ops::cast(matrix_exponential(ops::cast(a, DType::Float32)), own);
  }
  const int64_t row = rank(a) - 2, column = rank(a) - 1;
  const DType real = real_dtype(dtype(a));
  const int most = real == DType::Float32 ? 12 : 16;
  Value norm = ops::reduce(Op::ReduceSum, ops::stop_gradient(ops::magnitude(a)), {&row, 1}, true);
  norm = ops::reduce(Op::ReduceMax, norm, {&column, 1}, true);
  Value squarings = ops::unary(Op::Ceil, ops::unary(Op::Log2, norm / kTheta));
  squarings = ops::binary(Op::Maximum, squarings, ops::literal(0, real));
  squarings = ops::binary(Op::Minimum, squarings, ops::literal(most, real));
  const Value x = a / ops::cast(ops::unary(Op::Exp2, squarings), dtype(a));
  const Value one = matrix_identity(a, n);
  const Value x2 = matmul(x, x), x4 = matmul(x2, x2), x6 = matmul(x2, x4);
  const auto series = [&](int first) {
    const auto term = [&](int k) { return kPade[first + k]; };
    const Value high = x6 * term(12) + x4 * term(10) + x2 * term(8);
    return matmul(x6, high) + x6 * term(6) + x4 * term(4) + x2 * term(2) + one * term(0);
  };
  // Odd coefficients begin at 1 and have one term less: b13 x6 + b11 x4 + b9 x2.
  const Value odd = matmul(x, series(1)), even = series(0);
  Value result = linalg_solve(even - odd, even + odd);
  for (int k = 0; k < most; ++k) {
    const Value more = squarings > static_cast<double>(k);
    result = ops::select(more, matmul(result, result), result);
  }
  return result;
}

Value integer_power(Value a, int64_t n) {
  if (n == 0) return matrix_identity(a, rows(a));
  Value result, square = a;
  for (; n > 0; n /= 2) {
    if (n % 2 != 0) result = result ? matmul(result, square) : square;
    if (n > 1) square = matmul(square, square);
  }
  return result;
}

// The order with the fewest operations (T. Cormen et al., Introduction to Algorithms, 14.2).
Value chain_product(std::span<const Value> matrices) {
  const size_t n = matrices.size();
  check(n >= 2, ErrorKind::Runtime, "multi_dot(): expected at least 2 tensors but got {}", n);
  std::vector<Value> chain(matrices.begin(), matrices.end());
  const bool starts_with_vector = rank(chain[0]) == 1, ends_with_vector = rank(chain[n - 1]) == 1;
  if (starts_with_vector) chain[0] = ops::unsqueeze(chain[0], 0);
  if (ends_with_vector) chain[n - 1] = ops::unsqueeze(chain[n - 1], 1);
  std::vector<double> extents;
  for (size_t i = 0; i < n; ++i) {
    check(rank(chain[i]) == 2, ErrorKind::Runtime, "multi_dot(): tensor {} must be 2D but got {}D",
          i, rank(chain[i]));
    check(i == 0 || columns(chain[i - 1]) == rows(chain[i]), ErrorKind::Runtime,
          "multi_dot(): tensors {} and {} with shapes {} and {} cannot be multiplied", i - 1, i,
          shown(dims(chain[i - 1])), shown(dims(chain[i])));
    extents.push_back(static_cast<double>(rows(chain[i])));
  }
  extents.push_back(static_cast<double>(columns(chain[n - 1])));
  std::vector<std::vector<double>> cost(n, std::vector<double>(n, 0));
  std::vector<std::vector<size_t>> split(n, std::vector<size_t>(n, 0));
  for (size_t length = 1; length < n; ++length) {
    for (size_t i = 0; i + length < n; ++i) {
      const size_t j = i + length;
      cost[i][j] = HUGE_VAL;
      for (size_t k = i; k < j; ++k) {
        const double here =
            cost[i][k] + cost[k + 1][j] + extents[i] * extents[k + 1] * extents[j + 1];
        if (here < cost[i][j]) cost[i][j] = here, split[i][j] = k;
      }
    }
  }
  const auto multiply = [&](auto&& self, size_t i, size_t j) -> Value {
    if (i == j) return chain[i];
    const Value left = self(self, i, split[i][j]);
    return matmul(left, self(self, split[i][j] + 1, j));
  };
  Value result = multiply(multiply, 0, n - 1);
  if (starts_with_vector) result = ops::reshape(result, dims(result).subspan(1));
  if (ends_with_vector) result = ops::reshape(result, dims(result).first(rank(result) - 1));
  return result;
}

namespace {

// V and T of I - V T V^H, the product of reflectors I - tau v v^H: T = D (I + striu(V^H V) D)^-1
// with D = diag(tau) (C. Puglisi, Modification of the Householder method based on the compact WY
// representation, 1992).
struct CompactWy {
  Value v, t;
};

CompactWy compact_of(Value a, Value tau) {
  const int64_t m = rows(a), k = dims(tau)[rank(tau) - 1];
  check(k <= columns(a) && k <= m, ErrorKind::Runtime,
        "{}: tau.shape[-1] must be at most input.shape[-1] and input.shape[-2]",
        current_operation());
  check_same_dtype(a, tau);
  const Value below = lower_part(ops::slice_axis(a, rank(a) - 1, 0, k), true);
  const Value v = on_diagonal(ops::literal_like(a, 1), below);
  const Value gram = matmul(conjugate_transpose(v), v);
  const Value by_columns = ops::unsqueeze(tau, rank(tau) - 1);
  const Value strict = in_triangle(gram, Op::Lt) * by_columns;
  const Value unit = strict + matrix_identity(strict, k);
  const Value t = triangle_solve(unit, diagonal_from(tau), true, false, true);
  return {v, t};
}

}  // namespace

Value reflectors_product(Value a, Value tau) {
  check(columns(a) <= rows(a), ErrorKind::Runtime,
        "{}: input.shape[-1] must be at most input.shape[-2]", current_operation());
  const CompactWy wy = compact_of(a, tau);
  const Value top = ops::slice_axis(conjugate_transpose(wy.v), rank(a) - 1, 0, columns(a));
  const Value product = matmul(wy.v, matmul(wy.t, top));
  return on_diagonal(ops::literal_like(a, 1), ops::zeros_like(product)) - product;
}

Value reflectors_applied(Value a, Value tau, Value other, bool left, bool transposed) {
  const CompactWy wy = compact_of(a, tau);
  const Value t = transposed ? conjugate_transpose(wy.t) : wy.t;
  const Value vh = conjugate_transpose(wy.v);
  if (left) return other - matmul(wy.v, matmul(t, matmul(vh, other)));
  return other - matmul(matmul(matmul(other, wy.v), t), vh);
}

}  // namespace tenon::values

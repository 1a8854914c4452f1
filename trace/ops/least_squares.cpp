// Ranks, pseudo-inverses and least squares, by singular values.
#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "generated/functions.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/linalg.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

int64_t matrix_rows(Value x) { return dims(x)[rank(x) - 2]; }
int64_t matrix_columns(Value x) { return dims(x)[rank(x) - 1]; }

// Singular values, or of Hermitian matrices the magnitudes of eigenvalues.
Value singular_magnitudes(Value a, bool hermitian) {
  if (!hermitian) return svd_result(a, "values", "s");
  return ops::unary(Op::Abs, eigh_result(a, "L", false, "values"));
}

// Tolerances, 0-d or one a matrix; none where not given.
struct Tolerances {
  Value absolute, relative;
};

// max(absolute, relative * the largest), along the last dimension of s.
Value threshold_of(Value a, Value s, const Tolerances& given) {
  const int64_t last = rank(s) - 1;
  const DType type = dtype(s);
  const Value zero = ops::literal(0, type);
  const auto a_matrix = [&](Value x) {
    const Value number = ops::cast(x, type);
    return rank(number) == 0 ? number : ops::unsqueeze(number, rank(number));
  };
  const Value absolute = given.absolute ? a_matrix(given.absolute) : zero;
  Value relative;
  if (given.relative) {
    relative = a_matrix(given.relative);
  } else {
    const double own =
        epsilon_of(type) * static_cast<double>(std::max(matrix_rows(a), matrix_columns(a)));
    relative = ops::select(absolute > 0.0, zero, ops::scalar(own, type));
  }
  const Value largest = ops::reduce(Op::ReduceMax, s, {&last, 1}, true);
  return ops::binary(Op::Maximum, largest * relative, absolute);
}

Value matrix_rank_of(Value a, bool hermitian, const Tolerances& tolerances) {
  if (hermitian) {
    check_square_matrix(a, "linalg.matrix_rank");
  } else {
    check_matrix(a, "linalg.matrix_rank");
  }
  const Value s = singular_magnitudes(a, hermitian);
  const int64_t last = rank(s) - 1;
  if (dims(s)[last] == 0)
    return ops::full(dims(a).first(rank(a) - 2), ops::literal(0, DType::Int64));
  const Value counted = ops::cast(s > threshold_of(a, s, tolerances), DType::Int64);
  return ops::reduce(Op::ReduceSum, counted, {&last, 1});
}

// Of matrices of constant rank, what has the derivatives of the pseudo-inverse, of every order.
// With the singular vectors that count, U and V, as constants, A = Y M^-1 Z' for Y = A V, Z = A' U
// and M = U' A V, so that pinv(A) = pinv(Z') M pinv(Y). Vectors that don't count are columns of
// zeros, and the Gram matrices have ones on the diagonal there.
Value pinv_through_factors(Value a, Value u, Value v, Value kept) {
  const auto columns_kept = [&](Value vectors) {
    return ops::stop_gradient(vectors) * ops::cast(ops::unsqueeze(kept, rank(kept) - 1), dtype(a));
  };
  const Value left = columns_kept(u), right = columns_kept(v);
  const Value y = matmul(a, right), z = matmul(conjugate_transpose(a), left);
  const Value filler =
      diagonal_from(ops::select(kept, ops::literal(0, dtype(a)), ops::literal(1, dtype(a))));
  const auto gram = [&](Value x) { return matmul(conjugate_transpose(x), x) + filler; };
  const Value m = matmul(conjugate_transpose(left), y);
  const Value middle = matmul(linalg_inv(gram(z)), matmul(m, linalg_inv(gram(y))));
  return matmul(z, matmul(middle, conjugate_transpose(y)));
}

Value pinv_of(Value a, bool hermitian, const Tolerances& tolerances) {
  if (hermitian) {
    check_square_matrix(a, "linalg.pinv");
  } else {
    check_matrix(a, "linalg.pinv");
  }
  if (type_of(a).numel == 0) {
    return ops::full(replaced_dims(a, matrix_columns(a), matrix_rows(a)), ops::literal_like(a, 0));
  }
  const Value plain = ops::stop_gradient(a);
  Value u, s, v;
  if (hermitian) {
    v = eigh_result(plain, "L", true, "vectors");
    s = eigh_result(plain, "L", true, "values");
    u = v;
  } else {
    u = svd_result(plain, "reduced", "u");
    s = svd_result(plain, "reduced", "s");
    v = conjugate_transpose(svd_result(plain, "reduced", "vh"));
  }
  const Value magnitudes = hermitian ? ops::unary(Op::Abs, s) : s;
  const Value threshold = threshold_of(a, magnitudes, tolerances);
  const Value kept = magnitudes > threshold, one = ops::literal_like(s, 1);
  const Value inverse = ops::select(kept, one / ops::select(kept, s, one), ops::literal_like(s, 0));
  const Value scale = ops::cast(ops::unsqueeze(inverse, rank(inverse) - 1), dtype(a));
  const Value result = matmul(v * scale, conjugate_transpose(u));
  return ops::redirect(result, pinv_through_factors(a, u, v, kept));
}

}  // namespace

Value linalg_matrix_rank(Value a, Value tol, bool hermitian, Value atol, Value rtol) {
  if (!tol) return matrix_rank_of(a, hermitian, {atol, rtol});
  return matrix_rank_of(a, hermitian, {tol, ops::literal_like(tol, 0)});
}

Value linalg_pinv(Value a, Value rcond, bool hermitian, Value atol, Value rtol) {
  return pinv_of(a, hermitian, {atol, rtol ? rtol : rcond});
}

}  // namespace tenon::values

namespace tenon {

// By the pseudo-inverse, or by QR where full rank is promised.
std::array<Tensor, 4> linalg_lstsq(const Tensor& a, const Tensor& b, std::optional<double> rcond,
                                   std::optional<std::string_view> driver) {
  const std::string_view name = driver.value_or("gelsy");
  check(name == "gels" || name == "gelsy" || name == "gelsd" || name == "gelss", ErrorKind::Runtime,
        "linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)");
  const bool is_vector = a.rank() - 1 == b.rank() && a.rank() >= 2 &&
                         std::ranges::equal(b.dims(), a.dims().first(a.rank() - 1));
  const Tensor right = is_vector ? unsqueeze(b, -1) : b;
  check(a.rank() >= 2 && right.rank() >= 2, ErrorKind::Runtime,
        "linalg.lstsq: input must have at least 2 dimensions, and other at least 1");
  const int64_t m = a.size(-2), n = a.size(-1);
  check(right.size(-2) == m, ErrorKind::Runtime,
        "linalg.lstsq: input.size(-2) should match other.size(-2)");
  check(a.dtype() == b.dtype(), ErrorKind::Runtime,
        "linalg.lstsq: Expected input and other to have the same dtype, but got input's dtype {} "
        "and other's dtype {}",
        name_of(a.dtype()), name_of(b.dtype()));
  const Tensor none = new_empty(a, {0});
  const DType real = real_dtype(a.dtype());
  const double least =
      rcond.value_or(values::epsilon_of(real) * static_cast<double>(std::max(m, n)));
  Tensor solution, rank = new_empty(a, {0}, DType::Int64), singular = empty({0}, real);
  bool is_full_rank = true;
  if (name == "gels" && m >= n) {
    const auto [q, r] = linalg_qr(a);
    solution = linalg_solve_triangular(r, matmul(adjoint(q), right), true);
  } else {
    solution = matmul(linalg_pinv(a, least), right);
  }
  if (name != "gels") {
    rank = linalg_matrix_rank(a, {}, false, {}, least);
    is_full_rank = name != "gelsy" && m > n && all(eq(rank, Scalar(n))).item<bool>();
    if (name != "gelsy") singular = linalg_svdvals(a);
  }
  Tensor residuals = empty({0}, real);
  if (m > n && is_full_rank) {
    const Tensor magnitude = abs(sub(matmul(a, solution), right));
    residuals = sum(mul(magnitude, magnitude), IntList{-2});
  }
  if (is_vector) solution = squeeze(solution, IntList{-1});
  return {solution, residuals, rank, singular};
}

}  // namespace tenon

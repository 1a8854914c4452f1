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

// max(atol, rtol * the largest), along the last dimension of s.
Value tolerance_of(Value a, Value s, std::optional<double> atol, std::optional<double> rtol) {
  const int64_t last = rank(s) - 1;
  const double own = epsilon_of(real_dtype(dtype(a))) *
                     static_cast<double>(std::max(matrix_rows(a), matrix_columns(a)));
  const double relative = rtol ? *rtol : atol.value_or(0.0) > 0 ? 0.0 : own;
  const Value largest = ops::reduce(Op::ReduceMax, s, {&last, 1}, true);
  return ops::binary(Op::Maximum, largest * ops::scalar(relative, dtype(s)),
                     ops::scalar(atol.value_or(0.0), dtype(s)));
}

}  // namespace

Value linalg_matrix_rank(Value a, std::optional<double> tol, bool hermitian,
                         std::optional<double> atol, std::optional<double> rtol) {
  if (hermitian) {
    check_square_matrix(a, "linalg.matrix_rank");
  } else {
    check_matrix(a, "linalg.matrix_rank");
  }
  if (tol) atol = tol, rtol = 0.0;
  const Value s = singular_magnitudes(a, hermitian);
  const int64_t last = rank(s) - 1;
  if (dims(s)[last] == 0)
    return ops::full(dims(a).first(rank(a) - 2), ops::literal(0, DType::Int64));
  const Value counted = ops::cast(s > tolerance_of(a, s, atol, rtol), DType::Int64);
  return ops::reduce(Op::ReduceSum, counted, {&last, 1});
}

Value linalg_pinv(Value a, std::optional<double> rcond, bool hermitian, std::optional<double> atol,
                  std::optional<double> rtol) {
  if (hermitian) {
    check_square_matrix(a, "linalg.pinv");
  } else {
    check_matrix(a, "linalg.pinv");
  }
  if (type_of(a).numel == 0) {
    return ops::full(replaced_dims(a, matrix_columns(a), matrix_rows(a)), ops::literal_like(a, 0));
  }
  if (!rtol) rtol = rcond;
  const auto inverted = [&](Value s, Value magnitudes) {
    const Value kept = magnitudes > tolerance_of(a, magnitudes, atol, rtol);
    const Value one = ops::literal_like(s, 1);
    const Value inverse = ops::select(kept, one / ops::select(kept, s, one), ops::zeros_like(s));
    return ops::cast(ops::unsqueeze(inverse, rank(inverse) - 1), dtype(a));
  };
  if (hermitian) {
    const Value w = eigh_result(a, "L", true, "values"), v = eigh_result(a, "L", true, "vectors");
    return matmul(v * inverted(w, ops::unary(Op::Abs, w)), conjugate_transpose(v));
  }
  const Value s = svd_result(a, "reduced", "s");
  const Value v = conjugate_transpose(svd_result(a, "reduced", "vh"));
  return matmul(v * inverted(s, s), conjugate_transpose(svd_result(a, "reduced", "u")));
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
    rank = linalg_matrix_rank(a, std::nullopt, false, std::nullopt, least);
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

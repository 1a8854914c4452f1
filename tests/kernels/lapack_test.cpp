// Factorizations: their product is the matrix. Values of each dtype against PyTorch are in
// tests/python/test_linalg.py.
#include "kernels/lapack.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace tenon;
using kernels::MatrixBatch;

namespace {

using Matrix = std::vector<double>;

Matrix product(const Matrix& a, const Matrix& b, int m, int k, int n) {
  Matrix c(static_cast<std::size_t>(m * n), 0.0);
  for (int i = 0; i < m; ++i) {
    for (int p = 0; p < k; ++p) {
      for (int j = 0; j < n; ++j) c[i * n + j] += a[i * k + p] * b[p * n + j];
    }
  }
  return c;
}

Matrix transposed(const Matrix& a, int m, int n) {
  Matrix t(a.size());
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) t[j * m + i] = a[i * n + j];
  }
  return t;
}

Matrix sample(int m, int n) {
  Matrix a;
  for (int i = 0; i < m * n; ++i) a.push_back(std::sin(1.7 * i * i + 0.3));
  return a;
}

void check_close(const Matrix& a, const Matrix& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i] == doctest::Approx(b[i]).epsilon(1e-12));
}

}  // namespace

TEST_CASE("cholesky: L L^T, zero above the diagonal, info of what is not positive-definite") {
  constexpr int n = 5;
  const Matrix half = sample(n, n);
  Matrix a = product(half, transposed(half, n, n), n, n, n);
  for (int i = 0; i < n; ++i) a[i * n + i] += 1;
  Matrix l(a.size());
  std::int32_t info = -1;
  kernels::cholesky({DType::Float64, 1, n, n}, a.data(), l.data(), &info);
  CHECK(info == 0);
  for (int i = 0; i < n; ++i) {
    for (int j = i + 1; j < n; ++j) CHECK(l[i * n + j] == 0);
  }
  check_close(product(l, transposed(l, n, n), n, n, n), a);
  a[0] = -1;
  kernels::cholesky({DType::Float64, 1, n, n}, a.data(), nullptr, &info);
  CHECK(info == 1);
}

TEST_CASE("lu: rows in the order of the pivots are L U") {
  constexpr int m = 5, n = 4;
  const Matrix a = sample(m, n);
  Matrix packed(a.size());
  std::int32_t pivots[n], info = -1;
  kernels::lu({DType::Float64, 1, m, n}, a.data(), packed.data(), pivots, &info);
  CHECK(info == 0);
  std::int64_t order[m];
  kernels::lu_permutation(1, m, n, pivots, order, &info);
  CHECK(info == 0);
  Matrix l(m * n, 0.0), u(n * n, 0.0), permuted;
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      if (j < i) l[i * n + j] = packed[i * n + j];
      if (j == i) l[i * n + j] = 1;
      if (j >= i) u[i * n + j] = packed[i * n + j];
      permuted.push_back(a[static_cast<std::size_t>(order[i]) * n + j]);
    }
  }
  check_close(product(l, u, m, n, n), permuted);
  pivots[2] = m + 1;
  kernels::lu_permutation(1, m, n, pivots, order, &info);
  CHECK(info == m + 1);
}

TEST_CASE("qr and svd: products of their factors") {
  constexpr int m = 6, n = 3;
  const Matrix a = sample(m, n);
  Matrix q(m * n), r(n * n), u(m * n), s(n), vh(n * n);
  kernels::qr({DType::Float64, 1, m, n}, a.data(), false, q.data(), r.data(), nullptr, nullptr);
  check_close(product(q, r, m, n, n), a);
  std::int32_t info = -1;
  kernels::svd({DType::Float64, 1, m, n}, a.data(), kernels::SvdJob::Reduced, u.data(), s.data(),
               vh.data(), &info);
  CHECK(info == 0);
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) u[i * n + j] *= s[j];
  }
  check_close(product(u, vh, m, n, n), a);
  Matrix bad = a;
  bad[4] = std::nan("");
  kernels::svd({DType::Float64, 1, m, n}, bad.data(), kernels::SvdJob::Values, nullptr, s.data(),
               nullptr, &info);
  CHECK(info == kernels::kNotFinite);
}

TEST_CASE("triangular_solve: each triangle, with and without a diagonal of ones") {
  constexpr int n = 4, k = 3;
  Matrix a = sample(n, n);
  for (int i = 0; i < n; ++i) a[i * n + i] += 3;
  const Matrix b = sample(n, k);
  for (bool lower : {false, true}) {
    for (bool unit : {false, true}) {
      Matrix x(b.size()), read(a.size(), 0.0);
      kernels::triangular_solve({DType::Float64, 1, n, k}, a.data(), b.data(), lower, unit,
                                x.data());
      for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) {
          if (lower ? j < i : j > i) read[i * n + j] = a[i * n + j];
          if (i == j) read[i * n + j] = unit ? 1 : a[i * n + j];
        }
      }
      check_close(product(read, x, n, n, k), b);
    }
  }
}

// Fourier transforms against their definition, in long double.
#include "kernels/fft.h"

#include <doctest/doctest.h>

#include <cmath>
#include <complex>
#include <numbers>
#include <vector>

using namespace tenon;

namespace {

using Exact = std::complex<long double>;

std::vector<Exact> definition(const std::vector<std::complex<double>>& x, bool inverse) {
  const std::size_t n = x.size();
  std::vector<Exact> y(n);
  for (std::size_t k = 0; k < n; ++k) {
    for (std::size_t j = 0; j < n; ++j) {
      const long double turn = static_cast<long double>(j * k % n) / static_cast<long double>(n);
      const long double angle = 2 * std::numbers::pi_v<long double> * turn;
      y[k] += Exact(x[j]) * std::polar(1.0L, inverse ? angle : -angle);
    }
  }
  return y;
}

std::vector<std::complex<double>> signal(std::size_t n) {
  std::vector<std::complex<double>> x(n);
  for (std::size_t j = 0; j < n; ++j) {
    x[j] = {std::sin(0.7 * static_cast<double>(j * j)), std::cos(1.3 * static_cast<double>(j) + 1)};
  }
  return x;
}

}  // namespace

TEST_CASE("fft: every length up to 70, and larger primes") {
  std::vector<std::size_t> lengths{97, 127, 128, 169, 211, 257, 360};
  for (std::size_t n = 1; n <= 70; ++n) lengths.push_back(n);
  for (std::size_t n : lengths) {
    for (bool inverse : {false, true}) {
      CAPTURE(n);
      const auto x = signal(n);
      const auto expected = definition(x, inverse);
      std::vector<std::complex<double>> y(n);
      kernels::fft(DType::Float64, x.data(), y.data(), 1, static_cast<std::int64_t>(n), inverse);
      const std::vector<std::complex<float>> single(x.begin(), x.end());
      std::vector<std::complex<float>> z(n);
      kernels::fft(DType::Float32, single.data(), z.data(), 1, static_cast<std::int64_t>(n),
                   inverse);
      for (std::size_t k = 0; k < n; ++k) {
        CHECK(std::abs(Exact(y[k]) - expected[k]) <
              1e-12L * std::sqrt(static_cast<long double>(n)));
        CHECK(std::abs(Exact(z[k]) - expected[k]) < 1e-5L * std::sqrt(static_cast<long double>(n)));
      }
    }
  }
}

TEST_CASE("fft: a row's bits don't depend on the rows beside it") {
  constexpr std::int64_t kRows = 19;
  for (std::int64_t n : {12, 64, 101}) {
    const auto row = signal(static_cast<std::size_t>(n));
    std::vector<std::complex<double>> x, alone(row.size());
    for (int r = 0; r < kRows; ++r) x.insert(x.end(), row.begin(), row.end());
    std::vector<std::complex<double>> y(x.size());
    kernels::fft(DType::Float64, x.data(), y.data(), kRows, n, false);
    kernels::fft(DType::Float64, row.data(), alone.data(), 1, n, false);
    for (std::size_t i = 0; i < y.size(); ++i) CHECK(y[i] == alone[i % alone.size()]);
  }
}

// Stockham's autosort algorithm for lengths of small prime factors (C. Van Loan, Computational
// Frameworks for the Fast Fourier Transform, 1992, section 1.7), Bluestein's for others: a
// convolution with a chirp (L. Bluestein, A linear filtering approach to the computation of the
// discrete Fourier transform, 1970).
//
// Several rows are transformed side by side, real and imaginary parts apart: the innermost loop
// runs over them, so that it is long and without strides from the first pass on.
#include "kernels/fft.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <numbers>
#include <vector>

#include "core/error.h"
#include "core/threads.h"

namespace tenon::kernels {
namespace {

constexpr int kLargestFactor = 13;
constexpr std::int64_t kSide = 8;  // rows side by side

template <class T>
struct Numbers {  // complex, parts apart
  std::vector<T> re, im;
  void resize(std::int64_t n) {
    re.resize(static_cast<std::size_t>(n));
    im.resize(static_cast<std::size_t>(n));
  }
};

// exp(-2 pi i k / n), by the octant in which it lies, so that nothing is lost for large k.
std::array<double, 2> root_of_unity(std::int64_t k, std::int64_t n) {
  k %= n;
  const bool conjugate = 2 * k > n;
  if (conjugate) k = n - k;
  const bool beyond_quarter = 4 * k > n;
  const double turn = 2 * std::numbers::pi / static_cast<double>(n);
  double re, im;
  if (beyond_quarter) {  // from the half turn back
    const double angle = turn * static_cast<double>(n - 2 * k) / 2;
    re = -std::cos(angle), im = std::sin(angle);
  } else {
    const double angle = turn * static_cast<double>(k);
    re = std::cos(angle), im = std::sin(angle);
  }
  return {re, conjugate ? im : -im};
}

// Factors of the passes, fours first; empty where a prime is too large.
std::vector<int> factors_of(std::int64_t n) {
  std::vector<int> factors;
  for (int factor : {4, 2, 3, 5, 7, 11, 13}) {
    for (; n % factor == 0; n /= factor) factors.push_back(factor);
  }
  if (n != 1) factors.clear();
  return factors;
}

template <class T>
struct Pass {
  int radix;
  std::int64_t length;  // what is left to transform, this factor included
  Numbers<T> twiddles;  // [length / radix, radix]
  Numbers<T> roots;     // [radix]
};

template <class T>
struct StockhamPlan {
  std::int64_t n;
  std::vector<Pass<T>> passes;

  explicit StockhamPlan(std::int64_t n) : n(n) {
    std::int64_t length = n;
    for (int radix : factors_of(n)) {
      Pass<T> pass{radix, length, {}, {}};
      pass.twiddles.resize(length);
      pass.roots.resize(radix);
      for (std::int64_t p = 0; p < length / radix; ++p) {
        for (int j = 0; j < radix; ++j) {
          const auto [re, im] = root_of_unity(p * j, length);
          pass.twiddles.re[p * radix + j] = static_cast<T>(re);
          pass.twiddles.im[p * radix + j] = static_cast<T>(im);
        }
      }
      for (int j = 0; j < radix; ++j) {
        const auto [re, im] = root_of_unity(j, radix);
        pass.roots.re[j] = static_cast<T>(re), pass.roots.im[j] = static_cast<T>(im);
      }
      passes.push_back(std::move(pass));
      length /= radix;
    }
  }
};

// One butterfly of each kind over `s` numbers side by side. a: the inputs, `step` apart; y: the
// outputs, s apart; each output but the first is multiplied by its twiddle.
template <class T>
void butterfly2(const T* __restrict ar, const T* __restrict ai, std::int64_t step, T* __restrict yr,
                T* __restrict yi, std::int64_t s, const T* wr, const T* wi) {
  const T cr = wr[1], ci = wi[1];
  for (std::int64_t q = 0; q < s; ++q) {
    const T xr = ar[q], xi = ai[q], zr = ar[q + step], zi = ai[q + step];
    const T dr = xr - zr, di = xi - zi;
    yr[q] = xr + zr, yi[q] = xi + zi;
    yr[q + s] = dr * cr - di * ci, yi[q + s] = dr * ci + di * cr;
  }
}

template <class T>
void butterfly4(const T* __restrict ar, const T* __restrict ai, std::int64_t step, T* __restrict yr,
                T* __restrict yi, std::int64_t s, const T* wr, const T* wi) {
  const T c1r = wr[1], c1i = wi[1], c2r = wr[2], c2i = wi[2], c3r = wr[3], c3i = wi[3];
  for (std::int64_t q = 0; q < s; ++q) {
    const T a0r = ar[q], a0i = ai[q], a1r = ar[q + step], a1i = ai[q + step];
    const T a2r = ar[q + 2 * step], a2i = ai[q + 2 * step];
    const T a3r = ar[q + 3 * step], a3i = ai[q + 3 * step];
    const T sr = a0r + a2r, si = a0i + a2i, dr = a0r - a2r, di = a0i - a2i;
    const T ur = a1r + a3r, ui = a1i + a3i, vr = a1i - a3i, vi = a3r - a1r;  // -i (a1 - a3)
    yr[q] = sr + ur, yi[q] = si + ui;
    const T b1r = dr + vr, b1i = di + vi, b2r = sr - ur, b2i = si - ui;
    const T b3r = dr - vr, b3i = di - vi;
    yr[q + s] = b1r * c1r - b1i * c1i, yi[q + s] = b1r * c1i + b1i * c1r;
    yr[q + 2 * s] = b2r * c2r - b2i * c2i, yi[q + 2 * s] = b2r * c2i + b2i * c2r;
    yr[q + 3 * s] = b3r * c3r - b3i * c3i, yi[q + 3 * s] = b3r * c3i + b3i * c3r;
  }
}

// Any odd radix, by pairs j and radix - j, which share their sums.
template <class T>
void butterfly(const Pass<T>& pass, const T* __restrict ar, const T* __restrict ai,
               std::int64_t step, T* __restrict yr, T* __restrict yi, std::int64_t s, const T* wr,
               const T* wi) {
  const int radix = pass.radix, half = (radix - 1) / 2;
  for (std::int64_t q = 0; q < s; ++q) {
    T pr[kLargestFactor / 2], pi[kLargestFactor / 2], mr[kLargestFactor / 2],
        mi[kLargestFactor / 2];
    T sum_r = ar[q], sum_i = ai[q];
    for (int k = 0; k < half; ++k) {
      const std::int64_t x = q + (k + 1) * step, z = q + (radix - 1 - k) * step;
      pr[k] = ar[x] + ar[z], pi[k] = ai[x] + ai[z];
      mr[k] = ar[x] - ar[z], mi[k] = ai[x] - ai[z];
      sum_r += pr[k], sum_i += pi[k];
    }
    yr[q] = sum_r, yi[q] = sum_i;
    for (int j = 1; j <= half; ++j) {
      T er = ar[q], ei = ai[q], or_ = 0, oi = 0;
      for (int k = 0, at = j; k < half; ++k, at = (at + j) % radix) {
        const T c = pass.roots.re[at], d = pass.roots.im[at];
        er += pr[k] * c, ei += pi[k] * c;
        or_ -= mi[k] * d, oi += mr[k] * d;
      }
      const T fr = er + or_, fi = ei + oi, gr = er - or_, gi = ei - oi;
      const int other = radix - j;
      yr[q + j * s] = fr * wr[j] - fi * wi[j], yi[q + j * s] = fr * wi[j] + fi * wr[j];
      yr[q + other * s] = gr * wr[other] - gi * wi[other];
      yi[q + other * s] = gr * wi[other] + gi * wr[other];
    }
  }
}

// Transforms [n, side] in x, with y for work space; returns the one that holds the result.
template <class T>
Numbers<T>* run_stockham(const StockhamPlan<T>& plan, Numbers<T>* x, Numbers<T>* y,
                         std::int64_t side) {
  std::int64_t s = side;
  for (const Pass<T>& pass : plan.passes) {
    const std::int64_t m = pass.length / pass.radix, step = m * s;
    for (std::int64_t p = 0; p < m; ++p) {
      const T *ar = x->re.data() + p * s, *ai = x->im.data() + p * s;
      T *yr = y->re.data() + p * pass.radix * s, *yi = y->im.data() + p * pass.radix * s;
      const T* wr = pass.twiddles.re.data() + p * pass.radix;
      const T* wi = pass.twiddles.im.data() + p * pass.radix;
      if (pass.radix == 4) {
        butterfly4(ar, ai, step, yr, yi, s, wr, wi);
      } else if (pass.radix == 2) {
        butterfly2(ar, ai, step, yr, yi, s, wr, wi);
      } else {
        butterfly(pass, ar, ai, step, yr, yi, s, wr, wi);
      }
    }
    std::swap(x, y);
    s *= pass.radix;
  }
  return x;
}

// The least length of at least that many with factors 2, 3 and 5.
std::int64_t next_smooth(std::int64_t least) {
  for (std::int64_t n = least;; ++n) {
    std::int64_t rest = n;
    for (int factor : {2, 3, 5}) {
      while (rest % factor == 0) rest /= factor;
    }
    if (rest == 1) return n;
  }
}

// x_j chirp_j convolved with conj(chirp), times chirp: jk = (j^2 + k^2 - (k - j)^2) / 2.
struct BluesteinPlan {
  std::int64_t n;
  StockhamPlan<double> inner;
  Numbers<double> chirp;   // exp(-pi i j^2 / n)
  Numbers<double> kernel;  // the transform of its conjugate, divided by the inner length

  explicit BluesteinPlan(std::int64_t n) : n(n), inner(next_smooth(2 * n - 1)) {
    chirp.resize(n);
    Numbers<double> x, y;
    x.resize(inner.n), y.resize(inner.n);
    std::int64_t square = 0;  // j^2 modulo 2n, which a product may not hold
    for (std::int64_t j = 0; j < n; ++j) {
      const auto [re, im] = root_of_unity(square, 2 * n);
      chirp.re[j] = re, chirp.im[j] = im;
      x.re[j] = re, x.im[j] = -im;
      if (j > 0) x.re[inner.n - j] = re, x.im[inner.n - j] = -im;
      square = (square + 2 * j + 1) % (2 * n);
    }
    kernel = *run_stockham(inner, &x, &y, 1);
    for (double& value : kernel.re) value /= static_cast<double>(inner.n);
    for (double& value : kernel.im) value /= static_cast<double>(inner.n);
  }
};

// Plans of a length, kept: few lengths come again and again.
template <class Plan>
std::shared_ptr<const Plan> plan_of(std::int64_t n) {
  constexpr std::size_t kMostPlans = 64;
  static std::mutex& mutex = *new std::mutex;
  static auto& plans = *new std::map<std::int64_t, std::shared_ptr<const Plan>>;
  {
    const std::lock_guard lock(mutex);
    if (const auto found = plans.find(n); found != plans.end()) return found->second;
  }
  auto plan = std::make_shared<const Plan>(n);
  const std::lock_guard lock(mutex);
  if (plans.size() >= kMostPlans) plans.clear();
  return plans.try_emplace(n, std::move(plan)).first->second;
}

// Rows [side, n], interleaved, as [n, side] with parts apart, and back. The inverse transform is
// the transform with the parts exchanged, before and after.
template <class T, class Part>
void gather_rows(const Part* rows, std::int64_t side, std::int64_t n, bool exchange,
                 Numbers<T>& to) {
  T *re = exchange ? to.im.data() : to.re.data(), *im = exchange ? to.re.data() : to.im.data();
  for (std::int64_t r = 0; r < side; ++r) {
    for (std::int64_t j = 0; j < n; ++j) {
      re[j * side + r] = rows[2 * (r * n + j)];
      im[j * side + r] = rows[2 * (r * n + j) + 1];
    }
  }
}
template <class T, class Part>
void scatter_rows(const Numbers<T>& from, std::int64_t side, std::int64_t n, bool exchange,
                  Part* rows) {
  const T *re = exchange ? from.im.data() : from.re.data(),
          *im = exchange ? from.re.data() : from.im.data();
  for (std::int64_t r = 0; r < side; ++r) {
    for (std::int64_t j = 0; j < n; ++j) {
      rows[2 * (r * n + j)] = static_cast<Part>(re[j * side + r]);
      rows[2 * (r * n + j) + 1] = static_cast<Part>(im[j * side + r]);
    }
  }
}

template <class Part>
void run_rows(const StockhamPlan<Part>& plan, const Part* x, Part* y, std::int64_t side,
              bool inverse, Numbers<Part>& a, Numbers<Part>& b) {
  a.resize(plan.n * side), b.resize(plan.n * side);
  gather_rows(x, side, plan.n, inverse, a);
  scatter_rows(*run_stockham(plan, &a, &b, side), side, plan.n, inverse, y);
}

void multiply(const Numbers<double>& factors, std::int64_t count, std::int64_t side, bool conjugate,
              Numbers<double>& x) {
  for (std::int64_t j = 0; j < count; ++j) {
    const double cr = factors.re[j], ci = factors.im[j];
    for (std::int64_t r = j * side; r < (j + 1) * side; ++r) {
      const double re = x.re[r] * cr - x.im[r] * ci, im = x.re[r] * ci + x.im[r] * cr;
      x.re[r] = re, x.im[r] = conjugate ? -im : im;
    }
  }
}

template <class Part>
void run_rows(const BluesteinPlan& plan, const Part* x, Part* y, std::int64_t side, bool inverse,
              Numbers<double>& a, Numbers<double>& b) {
  const std::int64_t m = plan.inner.n;
  a.resize(m * side), b.resize(m * side);
  gather_rows(x, side, plan.n, inverse, a);
  multiply(plan.chirp, plan.n, side, false, a);
  std::fill(a.re.begin() + plan.n * side, a.re.begin() + m * side, 0.0);
  std::fill(a.im.begin() + plan.n * side, a.im.begin() + m * side, 0.0);
  Numbers<double>* product = run_stockham(plan.inner, &a, &b, side);
  multiply(plan.kernel, m, side, true, *product);  // conjugates around a transform invert it
  Numbers<double>* result = run_stockham(plan.inner, product, product == &a ? &b : &a, side);
  for (std::int64_t r = 0; r < plan.n * side; ++r) result->im[r] = -result->im[r];
  multiply(plan.chirp, plan.n, side, false, *result);
  scatter_rows(*result, side, plan.n, inverse, y);
}

template <class Part, class Plan, class Inner>
void run_all(const Plan& plan, const Part* x, Part* y, std::int64_t rows, bool inverse) {
  const std::int64_t n = plan.n, groups = (rows + kSide - 1) / kSide;
  const double work = 5.0 * kSide * static_cast<double>(n) * std::log2(static_cast<double>(n) + 1);
  const auto grain = static_cast<std::int64_t>(std::max(1.0, 65536 / work));
  parallel_for(groups, grain, [&](std::int64_t begin, std::int64_t end) {
    Numbers<Inner> a, b;
    for (std::int64_t group = begin; group < end; ++group) {
      const std::int64_t first = group * kSide, side = std::min(kSide, rows - first);
      run_rows(plan, x + 2 * first * n, y + 2 * first * n, side, inverse, a, b);
    }
  });
}

template <class Part>
void transform(const Part* x, Part* y, std::int64_t rows, std::int64_t n, bool inverse) {
  if (n == 1) {
    std::copy_n(x, 2 * rows, y);
  } else if (!factors_of(n).empty()) {
    run_all<Part, StockhamPlan<Part>, Part>(*plan_of<StockhamPlan<Part>>(n), x, y, rows, inverse);
  } else {
    run_all<Part, BluesteinPlan, double>(*plan_of<BluesteinPlan>(n), x, y, rows, inverse);
  }
}

}  // namespace

void fft(DType part, const void* x, void* y, std::int64_t rows, std::int64_t n, bool inverse) {
  if (rows == 0 || n == 0) return;
  if (part == DType::Float32) {
    transform(static_cast<const float*>(x), static_cast<float*>(y), rows, n, inverse);
  } else {
    check(part == DType::Float64, ErrorKind::Internal, "fft of {}", name_of(part));
    transform(static_cast<const double*>(x), static_cast<double*>(y), rows, n, inverse);
  }
}

}  // namespace tenon::kernels

#include "kernels/lapack.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/threads.h"
#include "kernels/lapack_calls.h"
#if TENON_HAVE_OPENBLAS
#include <cblas.h>
#endif

namespace tenon::kernels {
namespace {

using fortran::Int;

template <class T>
struct RealOf {
  using type = T;
};
template <class R>
struct RealOf<std::complex<R>> {
  using type = R;
};
template <class T>
using Real = typename RealOf<T>::type;
template <class T>
constexpr bool is_complex_type = !std::is_same_v<T, Real<T>>;

void make_serial() {
#if TENON_HAVE_OPENBLAS
  static const bool once = (openblas_set_num_threads(1), true);
  (void)once;
#endif
}

// Calls body(T{}, begin, end) on stretches of the matrices; `work` is that of one, in operations.
template <class Body>
void for_each_stretch(const MatrixBatch& batch, double work, Body body) {
  make_serial();
  const std::int64_t largest = std::max(batch.rows, batch.columns);
  check(largest <= std::numeric_limits<Int>::max() / 16, ErrorKind::Runtime,
        "a matrix of {} x {} is too large for LAPACK", batch.rows, batch.columns);
  const auto grain = static_cast<std::int64_t>(std::max(1.0, 65536 / std::max(work, 1.0)));
  const auto run = [&]<class T>(T) {
    parallel_for(batch.count, grain,
                 [&](std::int64_t begin, std::int64_t end) { body(T{}, begin, end); });
  };
  switch (batch.dtype) {
    case DType::Float32:
      return run(float{});
    case DType::Float64:
      return run(double{});
    case DType::Complex64:
      return run(std::complex<float>{});
    case DType::Complex128:
      return run(std::complex<double>{});
    default:
      fail(ErrorKind::Internal, "LAPACK has no routines for {}", name_of(batch.dtype));
  }
}

double cube(const MatrixBatch& batch) {
  return static_cast<double>(batch.rows) * static_cast<double>(batch.columns) *
         static_cast<double>(std::min(batch.rows, batch.columns));
}

// The matrix [rows, columns], one kind of row- and column-major, as the other.
template <class T>
void transpose(const T* from, std::int64_t rows, std::int64_t columns, T* to) {
  constexpr std::int64_t kBlock = 16;
  for (std::int64_t i0 = 0; i0 < rows; i0 += kBlock) {
    for (std::int64_t j0 = 0; j0 < columns; j0 += kBlock) {
      for (std::int64_t i = i0; i < std::min(i0 + kBlock, rows); ++i) {
        for (std::int64_t j = j0; j < std::min(j0 + kBlock, columns); ++j) {
          to[j * rows + i] = from[i * columns + j];
        }
      }
    }
  }
}

template <class T>
bool is_finite(const T* a, std::int64_t n) {
  return std::all_of(a, a + n, [](const T& x) {
    if constexpr (is_complex_type<T>) {
      return std::isfinite(x.real()) && std::isfinite(x.imag());
    } else {
      return std::isfinite(x);
    }
  });
}

template <class T>
void write_identity(T* a, std::int64_t n) {
  std::fill(a, a + n * n, T(0));
  for (std::int64_t i = 0; i < n; ++i) a[i * n + i] = T(1);
}

// The size that a query put into the first element of a work space.
template <class T>
Int size_in(const T& work) {
  return std::max<Int>(1, static_cast<Int>(std::ceil(std::real(work))));
}

template <class T>
T* at(void* data, std::int64_t index, std::int64_t size) {
  return data == nullptr ? nullptr : static_cast<T*>(data) + index * size;
}
template <class T>
const T* at(const void* data, std::int64_t index, std::int64_t size) {
  return static_cast<const T*>(data) + index * size;
}

// A row-major lower triangle is, to Fortran, the upper one of the transpose: a^T = U^H U has
// U = L^T, which lies as L does.
template <class T>
Int cholesky_one(const T* a, Int n, T* lower) {
  std::copy(a, a + std::int64_t{n} * n, lower);
  Int info = 0;
  if (n > 0) fortran::potrf('U', n, lower, n, info);
  for (std::int64_t i = 0; i < n; ++i) std::fill(lower + i * n + i + 1, lower + (i + 1) * n, T(0));
  return info;
}

template <class T>
void upper_rows(const T* packed, std::int64_t m, std::int64_t n, std::int64_t rows, T* r) {
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < n; ++j) r[i * n + j] = j < i ? T(0) : packed[j * m + i];
  }
}

template <class T>
class QrWork {
 public:
  QrWork(std::int64_t m, std::int64_t n, std::int64_t q_columns)
      : m_(m), n_(n), k_(std::min(m, n)), q_columns_(q_columns) {
    packed_.resize(static_cast<std::size_t>(m * std::max(n, q_columns)));
    tau_.resize(static_cast<std::size_t>(std::max<std::int64_t>(k_, 1)));
    T factor{}, generate{};
    const Int lead = std::max<Int>(1, static_cast<Int>(m));
    fortran::geqrf(static_cast<Int>(m), static_cast<Int>(n), nullptr, lead, nullptr, &factor, -1);
    fortran::orgqr(static_cast<Int>(m), static_cast<Int>(q_columns), static_cast<Int>(k_), nullptr,
                   lead, nullptr, &generate, -1);
    work_.resize(static_cast<std::size_t>(std::max(size_in(factor), size_in(generate))));
  }

  void run(const T* a, T* q, T* r, T* packed, T* tau) {
    const auto m = static_cast<Int>(m_), n = static_cast<Int>(n_), k = static_cast<Int>(k_);
    const Int lwork = static_cast<Int>(work_.size());
    transpose(a, m_, n_, packed_.data());
    if (k > 0) fortran::geqrf(m, n, packed_.data(), m, tau_.data(), work_.data(), lwork);
    if (tau) std::copy_n(tau_.begin(), k_, tau);
    if (packed) transpose(packed_.data(), n_, m_, packed);
    if (r) upper_rows(packed_.data(), m_, n_, q_columns_, r);
    if (!q) return;
    if (k == 0) return write_identity(q, q_columns_);  // no columns, or all are free
    fortran::orgqr(m, static_cast<Int>(q_columns_), k, packed_.data(), m, tau_.data(), work_.data(),
                   lwork);
    transpose(packed_.data(), q_columns_, m_, q);
  }

 private:
  std::int64_t m_, n_, k_, q_columns_;
  std::vector<T> packed_, tau_, work_;
};

template <class T>
Int eigh_one(const T* a, Int n, bool with_vectors, Real<T>* values, T* vectors) {
  using R = Real<T>;
  const std::int64_t size = std::int64_t{n} * n;
  if (!is_finite(a, size)) return kNotFinite;
  // To Fortran this is the conjugate of a: its eigenvectors are conjugates of those wanted.
  std::vector<T> copy(a, a + size);
  std::vector<R> w(static_cast<std::size_t>(n));
  const char job = with_vectors ? 'V' : 'N';
  Int info = 0, integers = 1;
  T wanted{};
  R reals{};
  fortran::syevd(job, n, copy.data(), w.data(), &wanted, -1, &reals, -1, &integers, -1, info);
  std::vector<T> work(static_cast<std::size_t>(size_in(wanted)));
  std::vector<R> rwork(static_cast<std::size_t>(is_complex_type<T> ? size_in(reals) : 1));
  std::vector<Int> iwork(static_cast<std::size_t>(std::max(integers, 1)));
  fortran::syevd(job, n, copy.data(), w.data(), work.data(), static_cast<Int>(work.size()),
                 rwork.data(), static_cast<Int>(rwork.size()), iwork.data(),
                 static_cast<Int>(iwork.size()), info);
  if (values) std::copy(w.begin(), w.end(), values);
  if (vectors) {
    transpose(copy.data(), n, n, vectors);
    if constexpr (is_complex_type<T>) {
      for (std::int64_t i = 0; i < size; ++i) vectors[i] = std::conj(vectors[i]);
    }
  }
  return info;
}

// Pairs of conjugate eigenvalues come with the parts of one vector in two columns.
template <class R>
void write_pairs(const std::vector<R>& v, const std::vector<R>& wi, std::int64_t n,
                 std::complex<R>* to) {
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) {
      if (wi[static_cast<std::size_t>(j)] > 0) {
        const std::complex<R> z(v[static_cast<std::size_t>(j * n + i)],
                                v[static_cast<std::size_t>((j + 1) * n + i)]);
        to[i * n + j] = z;
        to[i * n + j + 1] = std::conj(z);
      } else if (wi[static_cast<std::size_t>(j)] == 0) {
        to[i * n + j] = v[static_cast<std::size_t>(j * n + i)];
      }
    }
  }
}

template <class T>
Int eig_one(const T* a, Int n, bool with_vectors, std::complex<Real<T>>* values,
            std::complex<Real<T>>* vectors) {
  const std::int64_t size = std::int64_t{n} * n;
  if (!is_finite(a, size)) return kNotFinite;
  const auto count = static_cast<std::size_t>(n);
  std::vector<T> copy(static_cast<std::size_t>(size)), first(count), second(count);
  std::vector<T> v(with_vectors ? static_cast<std::size_t>(size) : 1);
  std::vector<Real<T>> rwork(2 * count);
  transpose(a, n, n, copy.data());
  const char job = with_vectors ? 'V' : 'N';
  Int info = 0;
  T wanted{};
  fortran::geev(job, n, copy.data(), first.data(), second.data(), v.data(), &wanted, -1,
                rwork.data(), info);
  std::vector<T> work(static_cast<std::size_t>(size_in(wanted)));
  fortran::geev(job, n, copy.data(), first.data(), second.data(), v.data(), work.data(),
                static_cast<Int>(work.size()), rwork.data(), info);
  if constexpr (is_complex_type<T>) {
    if (values) std::copy(first.begin(), first.end(), values);
    if (vectors) transpose(v.data(), n, n, vectors);
  } else {
    for (std::size_t i = 0; values && i < count; ++i) values[i] = {first[i], second[i]};
    if (vectors) write_pairs(v, second, n, vectors);
  }
  return info;
}

template <class T>
Int svd_one(const T* a, std::int64_t rows, std::int64_t columns, SvdJob job, T* u, Real<T>* s,
            T* vh) {
  using R = Real<T>;
  const std::int64_t least = std::min(rows, columns), most = std::max(rows, columns);
  if (least == 0) {
    if (u && job == SvdJob::Full) write_identity(u, rows);
    if (vh && job == SvdJob::Full) write_identity(vh, columns);
    return 0;
  }
  if (!is_finite(a, rows * columns)) return kNotFinite;
  const auto m = static_cast<Int>(rows), n = static_cast<Int>(columns);
  const char letter = job == SvdJob::Values ? 'N' : job == SvdJob::Reduced ? 'S' : 'A';
  const std::int64_t left = job == SvdJob::Full ? rows : least,
                     right = job == SvdJob::Full ? columns : least;
  const bool vectors = job != SvdJob::Values;
  std::vector<T> copy(static_cast<std::size_t>(rows * columns));
  std::vector<T> uc(vectors ? static_cast<std::size_t>(rows * left) : 1);
  std::vector<T> vc(vectors ? static_cast<std::size_t>(columns * right) : 1);
  std::vector<R> sc(static_cast<std::size_t>(least));
  std::vector<Int> iwork(8 * static_cast<std::size_t>(least));
  // As LAPACK's documentation of cgesdd has it; real routines want none.
  const std::int64_t reals = !is_complex_type<T> ? 1
                             : !vectors          ? 7 * least
                                                 : std::max(5 * least * least + 7 * least,
                                                            2 * most * least + 2 * least * least + least);
  std::vector<R> rwork(static_cast<std::size_t>(reals));
  transpose(a, rows, columns, copy.data());
  const Int ldvt = vectors ? static_cast<Int>(right) : 1;
  Int info = 0;
  T wanted{};
  fortran::gesdd(letter, m, n, copy.data(), sc.data(), uc.data(), vc.data(), ldvt, &wanted, -1,
                 rwork.data(), iwork.data(), info);
  std::vector<T> work(static_cast<std::size_t>(size_in(wanted)));
  fortran::gesdd(letter, m, n, copy.data(), sc.data(), uc.data(), vc.data(), ldvt, work.data(),
                 static_cast<Int>(work.size()), rwork.data(), iwork.data(), info);
  if (s) std::copy(sc.begin(), sc.end(), s);
  if (u) transpose(uc.data(), left, rows, u);
  if (vh) transpose(vc.data(), columns, right, vh);
  return info;
}

}  // namespace

void cholesky(const MatrixBatch& batch, const void* a, void* lower, std::int32_t* info) {
  const std::int64_t n = batch.rows;
  for_each_stretch(batch, cube(batch), [&]<class T>(T, std::int64_t begin, std::int64_t end) {
    std::vector<T> unasked(lower ? 0 : static_cast<std::size_t>(n * n));
    for (std::int64_t i = begin; i < end; ++i) {
      T* to = lower ? at<T>(lower, i, n * n) : unasked.data();
      info[i] = cholesky_one(at<T>(a, i, n * n), static_cast<Int>(n), to);
    }
  });
}

void lu_permutation(std::int64_t count, std::int64_t rows, std::int64_t pivots_each,
                    const std::int32_t* pivots, std::int64_t* permutation, std::int32_t* info) {
  for (std::int64_t matrix = 0; matrix < count; ++matrix) {
    const std::int32_t* swaps = pivots + matrix * pivots_each;
    std::int64_t* order = permutation + matrix * rows;
    info[matrix] = 0;
    for (std::int64_t i = 0; i < rows; ++i) order[i] = i;
    for (std::int64_t i = 0; i < pivots_each; ++i) {
      if (swaps[i] < 1 || swaps[i] > rows) {
        info[matrix] = swaps[i] == 0 ? std::numeric_limits<std::int32_t>::min() : swaps[i];
        break;
      }
      std::swap(order[i], order[swaps[i] - 1]);
    }
  }
}

void lu(const MatrixBatch& batch, const void* a, void* packed, std::int32_t* pivots,
        std::int32_t* info) {
  const std::int64_t m = batch.rows, n = batch.columns, k = std::min(m, n);
  for_each_stretch(batch, cube(batch), [&]<class T>(T, std::int64_t begin, std::int64_t end) {
    std::vector<T> copy(static_cast<std::size_t>(m * n));
    std::vector<Int> swaps(static_cast<std::size_t>(k));
    for (std::int64_t i = begin; i < end; ++i) {
      transpose(at<T>(a, i, m * n), m, n, copy.data());
      info[i] = 0;
      if (k > 0) {
        fortran::getrf(static_cast<Int>(m), static_cast<Int>(n), copy.data(), static_cast<Int>(m),
                       swaps.data(), info[i]);
      }
      if (packed) transpose(copy.data(), n, m, at<T>(packed, i, m * n));
      if (pivots) std::copy(swaps.begin(), swaps.end(), pivots + i * k);
    }
  });
}

void qr(const MatrixBatch& batch, const void* a, bool complete, void* q, void* r, void* packed,
        void* tau) {
  const std::int64_t m = batch.rows, n = batch.columns, k = std::min(m, n);
  const std::int64_t columns = complete ? m : k;
  for_each_stretch(batch, 2 * cube(batch), [&]<class T>(T, std::int64_t begin, std::int64_t end) {
    QrWork<T> work(m, n, columns);
    for (std::int64_t i = begin; i < end; ++i) {
      work.run(at<T>(a, i, m * n), at<T>(q, i, m * columns), at<T>(r, i, columns * n),
               at<T>(packed, i, m * n), at<T>(tau, i, k));
    }
  });
}

void eigh(const MatrixBatch& batch, const void* a, bool with_vectors, void* values, void* vectors,
          std::int32_t* info) {
  const std::int64_t n = batch.rows;
  for_each_stretch(batch, 9 * cube(batch), [&]<class T>(T, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      info[i] = eigh_one(at<T>(a, i, n * n), static_cast<Int>(n), with_vectors,
                         at<Real<T>>(values, i, n), at<T>(vectors, i, n * n));
    }
  });
}

void eig(const MatrixBatch& batch, const void* a, bool with_vectors, void* values, void* vectors,
         std::int32_t* info) {
  const std::int64_t n = batch.rows;
  for_each_stretch(batch, 25 * cube(batch), [&]<class T>(T, std::int64_t begin, std::int64_t end) {
    using C = std::complex<Real<T>>;
    for (std::int64_t i = begin; i < end; ++i) {
      info[i] = eig_one(at<T>(a, i, n * n), static_cast<Int>(n), with_vectors, at<C>(values, i, n),
                        at<C>(vectors, i, n * n));
    }
  });
}

void svd(const MatrixBatch& batch, const void* a, SvdJob job, void* u, void* s, void* vh,
         std::int32_t* info) {
  const std::int64_t m = batch.rows, n = batch.columns, k = std::min(m, n);
  const std::int64_t left = job == SvdJob::Full ? m : k, right = job == SvdJob::Full ? n : k;
  for_each_stretch(batch, 20 * cube(batch), [&]<class T>(T, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      info[i] = svd_one(at<T>(a, i, m * n), m, n, job, at<T>(u, i, m * left), at<Real<T>>(s, i, k),
                        at<T>(vh, i, right * n));
    }
  });
}

// To Fortran x^T a^T = b^T: from the right, by the other triangle.
void triangular_solve(const MatrixBatch& batch, const void* a, const void* b, bool lower, bool unit,
                      void* x) {
  const std::int64_t n = batch.rows, k = batch.columns;
  const double work = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(k);
  for_each_stretch(batch, work, [&]<class T>(T, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      T* to = at<T>(x, i, n * k);
      std::copy_n(at<T>(b, i, n * k), n * k, to);
      if (n * k == 0) continue;
      fortran::trsm('R', lower ? 'U' : 'L', 'N', unit ? 'U' : 'N', static_cast<Int>(k),
                    static_cast<Int>(n), at<T>(a, i, n * n), static_cast<Int>(n), to,
                    static_cast<Int>(k));
    }
  });
}

}  // namespace tenon::kernels

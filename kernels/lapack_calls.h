// LAPACK's and BLAS's Fortran routines, overloaded by element type. Lengths of character arguments
// follow the others, as gfortran passes them.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>

// scipy-openblas names its symbols apart from the system's.
#ifdef BLAS_SYMBOL_PREFIX
#define TENON_FORTRAN_JOIN2(a, b) a##b
#define TENON_FORTRAN_JOIN(a, b) TENON_FORTRAN_JOIN2(a, b)
#define TENON_FORTRAN(name) TENON_FORTRAN_JOIN(BLAS_SYMBOL_PREFIX, name)
#else
#define TENON_FORTRAN(name) name
#endif

namespace tenon::kernels::fortran {

using Int = std::int32_t;
using C64 = std::complex<float>;
using C128 = std::complex<double>;

// NOLINTBEGIN(bugprone-macro-parentheses): the arguments are letters of names, and types
#define TENON_DECLARE(letter, T)                                                                   \
  extern "C" {                                                                                     \
  void TENON_FORTRAN(letter##potrf_)(const char*, const Int*, T*, const Int*, Int*, std::size_t);  \
  void TENON_FORTRAN(letter##getrf_)(const Int*, const Int*, T*, const Int*, Int*, Int*);          \
  void TENON_FORTRAN(letter##geqrf_)(const Int*, const Int*, T*, const Int*, T*, T*, const Int*,   \
                                     Int*);                                                        \
  void TENON_FORTRAN(letter##trsm_)(const char*, const char*, const char*, const char*,            \
                                    const Int*, const Int*, const T*, const T*, const Int*, T*,    \
                                    const Int*, std::size_t, std::size_t, std::size_t,             \
                                    std::size_t);                                                  \
  }                                                                                                \
  inline void potrf(char uplo, Int n, T* a, Int lda, Int& info) {                                  \
    TENON_FORTRAN(letter##potrf_)(&uplo, &n, a, &lda, &info, 1);                                   \
  }                                                                                                \
  inline void getrf(Int m, Int n, T* a, Int lda, Int* pivots, Int& info) {                         \
    TENON_FORTRAN(letter##getrf_)(&m, &n, a, &lda, pivots, &info);                                 \
  }                                                                                                \
  inline void geqrf(Int m, Int n, T* a, Int lda, T* tau, T* work, Int lwork) {                     \
    Int info = 0;                                                                                  \
    TENON_FORTRAN(letter##geqrf_)(&m, &n, a, &lda, tau, work, &lwork, &info);                      \
  }                                                                                                \
  inline void trsm(char side, char uplo, char transposed, char diagonal, Int m, Int n, const T* a, \
                   Int lda, T* b, Int ldb) {                                                       \
    const T one(1);                                                                                \
    TENON_FORTRAN(letter##trsm_)(&side, &uplo, &transposed, &diagonal, &m, &n, &one, a, &lda, b,   \
                                 &ldb, 1, 1, 1, 1);                                                \
  }
TENON_DECLARE(s, float)
TENON_DECLARE(d, double)
TENON_DECLARE(c, C64)
TENON_DECLARE(z, C128)
#undef TENON_DECLARE

// What differs between real and complex routines but in name: orgqr is ungqr, syevd heevd, and
// complex ones want real work space.
#define TENON_DECLARE_REAL(letter, T)                                                              \
  extern "C" {                                                                                     \
  void TENON_FORTRAN(letter##orgqr_)(const Int*, const Int*, const Int*, T*, const Int*, const T*, \
                                     T*, const Int*, Int*);                                        \
  void TENON_FORTRAN(letter##syevd_)(const char*, const char*, const Int*, T*, const Int*, T*, T*, \
                                     const Int*, Int*, const Int*, Int*, std::size_t,              \
                                     std::size_t);                                                 \
  void TENON_FORTRAN(letter##geev_)(const char*, const char*, const Int*, T*, const Int*, T*, T*,  \
                                    T*, const Int*, T*, const Int*, T*, const Int*, Int*,          \
                                    std::size_t, std::size_t);                                     \
  void TENON_FORTRAN(letter##gesdd_)(const char*, const Int*, const Int*, T*, const Int*, T*, T*,  \
                                     const Int*, T*, const Int*, T*, const Int*, Int*, Int*,       \
                                     std::size_t);                                                 \
  }                                                                                                \
  inline void orgqr(Int m, Int n, Int k, T* a, Int lda, const T* tau, T* work, Int lwork) {        \
    Int info = 0;                                                                                  \
    TENON_FORTRAN(letter##orgqr_)(&m, &n, &k, a, &lda, tau, work, &lwork, &info);                  \
  }                                                                                                \
  inline void syevd(char job, Int n, T* a, T* w, T* work, Int lwork, T*, Int, Int* iwork,          \
                    Int liwork, Int& info) {                                                       \
    const char uplo = 'U';                                                                         \
    TENON_FORTRAN(letter##syevd_)(&job, &uplo, &n, a, &n, w, work, &lwork, iwork, &liwork, &info,  \
                                  1, 1);                                                           \
  }                                                                                                \
  inline void geev(char job, Int n, T* a, T* wr, T* wi, T* vectors, T* work, Int lwork, T*,        \
                   Int& info) {                                                                    \
    const char none = 'N';                                                                         \
    const Int one = 1;                                                                             \
    TENON_FORTRAN(letter##geev_)(&none, &job, &n, a, &n, wr, wi, nullptr, &one, vectors, &n, work, \
                                 &lwork, &info, 1, 1);                                             \
  }                                                                                                \
  inline void gesdd(char job, Int m, Int n, T* a, T* s, T* u, T* vt, Int ldvt, T* work, Int lwork, \
                    T*, Int* iwork, Int& info) {                                                   \
    TENON_FORTRAN(letter##gesdd_)(&job, &m, &n, a, &m, s, u, &m, vt, &ldvt, work, &lwork, iwork,   \
                                  &info, 1);                                                       \
  }
TENON_DECLARE_REAL(s, float)
TENON_DECLARE_REAL(d, double)
#undef TENON_DECLARE_REAL

#define TENON_DECLARE_COMPLEX(letter, T, R)                                                        \
  extern "C" {                                                                                     \
  void TENON_FORTRAN(letter##ungqr_)(const Int*, const Int*, const Int*, T*, const Int*, const T*, \
                                     T*, const Int*, Int*);                                        \
  void TENON_FORTRAN(letter##heevd_)(const char*, const char*, const Int*, T*, const Int*, R*, T*, \
                                     const Int*, R*, const Int*, Int*, const Int*, Int*,           \
                                     std::size_t, std::size_t);                                    \
  void TENON_FORTRAN(letter##geev_)(const char*, const char*, const Int*, T*, const Int*, T*, T*,  \
                                    const Int*, T*, const Int*, T*, const Int*, R*, Int*,          \
                                    std::size_t, std::size_t);                                     \
  void TENON_FORTRAN(letter##gesdd_)(const char*, const Int*, const Int*, T*, const Int*, R*, T*,  \
                                     const Int*, T*, const Int*, T*, const Int*, R*, Int*, Int*,   \
                                     std::size_t);                                                 \
  }                                                                                                \
  inline void orgqr(Int m, Int n, Int k, T* a, Int lda, const T* tau, T* work, Int lwork) {        \
    Int info = 0;                                                                                  \
    TENON_FORTRAN(letter##ungqr_)(&m, &n, &k, a, &lda, tau, work, &lwork, &info);                  \
  }                                                                                                \
  inline void syevd(char job, Int n, T* a, R* w, T* work, Int lwork, R* rwork, Int lrwork,         \
                    Int* iwork, Int liwork, Int& info) {                                           \
    const char uplo = 'U';                                                                         \
    TENON_FORTRAN(letter##heevd_)(&job, &uplo, &n, a, &n, w, work, &lwork, rwork, &lrwork, iwork,  \
                                  &liwork, &info, 1, 1);                                           \
  }                                                                                                \
  inline void geev(char job, Int n, T* a, T* w, T*, T* vectors, T* work, Int lwork, R* rwork,      \
                   Int& info) {                                                                    \
    const char none = 'N';                                                                         \
    const Int one = 1;                                                                             \
    TENON_FORTRAN(letter##geev_)(&none, &job, &n, a, &n, w, nullptr, &one, vectors, &n, work,      \
                                 &lwork, rwork, &info, 1, 1);                                      \
  }                                                                                                \
  inline void gesdd(char job, Int m, Int n, T* a, R* s, T* u, T* vt, Int ldvt, T* work, Int lwork, \
                    R* rwork, Int* iwork, Int& info) {                                             \
    TENON_FORTRAN(letter##gesdd_)(&job, &m, &n, a, &m, s, u, &m, vt, &ldvt, work, &lwork, rwork,   \
                                  iwork, &info, 1);                                                \
  }
TENON_DECLARE_COMPLEX(c, C64, float)
TENON_DECLARE_COMPLEX(z, C128, double)
#undef TENON_DECLARE_COMPLEX
// NOLINTEND(bugprone-macro-parentheses)

}  // namespace tenon::kernels::fortran

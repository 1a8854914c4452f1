// Matrix times vector for one instruction set: compiled once for each (see meson.build), so it uses
// no inline function of any header, of which the linker would keep one copy for all.
//
// A product with one row has no reuse: what counts is that the matrix streams. The order of every
// sum is a function of k alone, whatever rows or columns a call covers.
#include "kernels/gemv_kernel.h"

namespace tenon::kernels {

namespace {

constexpr long kBytes = 64;  // a vector: two registers of AVX2, one of AVX-512

template <class T>
struct Vector {
  static constexpr long lanes = kBytes / sizeof(T);
  using type __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias)) = T;
};

template <class T>
inline typename Vector<T>::type load(const T* from) {
  return *reinterpret_cast<const typename Vector<T>::type*>(from);
}

template <class T>
inline typename Vector<T>::type load_some(const T* from, long count) {
  typename Vector<T>::type value = {};
  for (long i = 0; i < count; ++i) value[i] = from[i];
  return value;
}

template <class T>
inline T sum_of(typename Vector<T>::type v) {
  T lanes[Vector<T>::lanes];
  for (long i = 0; i < Vector<T>::lanes; ++i) lanes[i] = v[i];
  for (long half = Vector<T>::lanes / 2; half > 0; half /= 2) {
    for (long i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

// How far ahead of a row memory is asked for: the processor's own prefetching stops at pages.
constexpr long kAhead = 4096;

// One row after the other, so that the matrix is one stream; four sums of vectors.
template <class T>
inline T dot(const T* w, const T* x, long k) {
  using V = typename Vector<T>::type;
  constexpr long lanes = Vector<T>::lanes;
  V sums[4] = {};
  long i = 0;
  for (; i + 4 * lanes <= k; i += 4 * lanes) {
    for (int v = 0; v < 4; ++v) {
      __builtin_prefetch(reinterpret_cast<const char*>(w + i + v * lanes) + kAhead);
      sums[v] += load(w + i + v * lanes) * load(x + i + v * lanes);
    }
  }
  for (; i + lanes <= k; i += lanes) sums[0] += load(w + i) * load(x + i);
  if (i < k) sums[1] += load_some(w + i, k - i) * load_some(x + i, k - i);
  return sum_of<T>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <class T>
inline void rows(const T* w, long ld, const T* x, T* y, long count, long k) {
  for (long r = 0; r < count; ++r) y[r] = dot(w + r * ld, x, k);
}

// Sums of 256 products, then sums of those: the error grows with the parts, not with k.
constexpr long kPart = 256;

template <class T, int Vectors>
inline void columns_of(const T* w, long ld, const T* x, T* y, long k) {
  using V = typename Vector<T>::type;
  constexpr long lanes = Vector<T>::lanes;
  V total[Vectors] = {};
  for (long from = 0; from < k; from += kPart) {
    const long to = from + kPart < k ? from + kPart : k;
    V part[Vectors] = {};
    for (long i = from; i < to; ++i) {
      const V factor = x[i] - V{};
      for (int j = 0; j < Vectors; ++j) part[j] += load(w + i * ld + j * lanes) * factor;
    }
    for (int j = 0; j < Vectors; ++j) total[j] += part[j];
  }
  for (int j = 0; j < Vectors; ++j) {
    *reinterpret_cast<V*>(y + j * lanes) = total[j];
  }
}

template <class T>
inline void some_columns(const T* w, long ld, const T* x, T* y, long count, long k) {
  using V = typename Vector<T>::type;
  V total = {};
  for (long from = 0; from < k; from += kPart) {
    const long to = from + kPart < k ? from + kPart : k;
    V part = {};
    for (long i = from; i < to; ++i) part += load_some(w + i * ld, count) * (x[i] - V{});
    total += part;
  }
  for (long j = 0; j < count; ++j) y[j] = total[j];
}

template <class T>
inline void columns(const T* w, long ld, const T* x, T* y, long count, long k) {
  constexpr long lanes = Vector<T>::lanes;
  long j = 0;
  for (; j + 8 * lanes <= count; j += 8 * lanes) columns_of<T, 8>(w + j, ld, x, y + j, k);
  for (; j + lanes <= count; j += lanes) columns_of<T, 1>(w + j, ld, x, y + j, k);
  if (j < count) some_columns(w + j, ld, x, y + j, count - j, k);
}

}  // namespace

#define TENON_JOIN(a, b) a##_##b
#define TENON_NAME(a, b) TENON_JOIN(a, b)

extern const GemvKernels TENON_NAME(gemv, TENON_GEMV_FOR);
const GemvKernels TENON_NAME(gemv, TENON_GEMV_FOR) = {
    rows<float>,
    columns<float>,
    rows<double>,
    columns<double>,
};

}  // namespace tenon::kernels

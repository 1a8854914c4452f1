// Vectors of one instruction set. For files that are compiled once for each (see meson.build):
// everything has internal linkage, lest the linker keep one instruction set's copy for all.
#pragma once

namespace tenon::kernels {

namespace {

#if defined(__AVX512F__)
constexpr long kBytes = 64;  // of a vector
#elif defined(__AVX2__)
constexpr long kBytes = 32;
#else
constexpr long kBytes = 16;
#endif

template <class T>
struct Vector {
  static constexpr long lanes = kBytes / sizeof(T);
  using type __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias)) = T;
};

template <class T>
using V = typename Vector<T>::type;

template <class T>
inline V<T> load(const T* from) {
  return *reinterpret_cast<const V<T>*>(from);
}

template <class T>
inline void store(T* to, V<T> value) {
  *reinterpret_cast<V<T>*>(to) = value;
}

inline long min_of(long a, long b) { return a < b ? a : b; }
inline long max_of(long a, long b) { return a < b ? b : a; }

template <class T>
inline long whole_vectors(long count) {
  return (count + Vector<T>::lanes - 1) / Vector<T>::lanes * Vector<T>::lanes;
}

template <class T>
struct Exponential;

// 2^f = 1 + f q(f) for |f| <= 1/2, q interpolated at the zeros of a Chebyshev polynomial: relative
// error 5.1e-9 (float), 8.5e-18 (double).
template <>
struct Exponential<float> {
  using Bits __attribute__((vector_size(kBytes))) = int;
  static constexpr int mantissa = 23;
  // Adding it rounds to an integer n and leaves n + 127 in the lowest bits.
  static constexpr float round = 12582912.0f + 127;
  static constexpr float lowest = -127;  // where n + 127, so the result too, is 0
  static constexpr float highest = 127;
  static constexpr float coefficients[] = {0.693147188026228781f,   0.240226507605681269f,
                                           0.0555035711421907782f,  0.00961808255727785149f,
                                           0.00133908633646712344f, 0.000154531629451206902f};
};

template <>
struct Exponential<double> {
  using Bits __attribute__((vector_size(kBytes))) = long long;
  static constexpr int mantissa = 52;
  static constexpr double round = 6755399441055744.0 + 1023;
  static constexpr double lowest = -1023;
  static constexpr double highest = 1023;
  static constexpr double coefficients[] = {
      0.6931471805599453094,     0.2402265069591009822,   0.05550410866482159434,
      0.009618129107606888527,   0.001333355814641693531, 0.0001540353044173605015,
      0.00001525273382983611839, 1.321544258792168965e-6, 1.017806244584577352e-7,
      7.0725859492692237e-9,     4.454960598186518394e-10};
};

constexpr double kLog2E = 1.44269504088896340736;

// 2^x for x up to Exponential::highest; below about -126 (-1022) it is 0.
template <class T>
inline V<T> exp2_of(V<T> x) {
  using E = Exponential<T>;
  using Bits = typename E::Bits;
  constexpr int degree = sizeof(E::coefficients) / sizeof(T);
  const V<T> lowest = E::lowest - V<T>{};
  x = lowest > x ? lowest : x;  // in this order a NaN stays
  const V<T> shifted = x + E::round;
  const V<T> fraction = x - (shifted - E::round);
  V<T> q = E::coefficients[degree - 1] - V<T>{};
#pragma GCC unroll 16
  for (int i = degree - 2; i >= 0; --i) q = q * fraction + E::coefficients[i];
  return (q * fraction + T{1}) * (V<T>)((Bits)shifted << E::mantissa);
}

template <class T>
constexpr T kLow = -static_cast<T>(__builtin_inf());

// Shuffles of a vector's lanes, which the compiler wants to be spelled out.
template <class T, int Left, int... Lanes>
struct Shuffles : Shuffles<T, Left - 1, Left - 1, Lanes...> {};
template <class T, int... Lanes>
struct Shuffles<T, 0, Lanes...> {
  static constexpr int count = sizeof...(Lanes);
  // Lanes `distance` apart (a power of 2) exchanged.
  template <int distance>
  static V<T> exchange(V<T> v) {
    return __builtin_shufflevector(v, v, (Lanes ^ distance)...);
  }
  // Lanes of two vectors in turn: of their lower halves, of their upper halves.
  static V<T> lower(V<T> a, V<T> b) {
    return __builtin_shufflevector(a, b, (Lanes / 2 + Lanes % 2 * count)...);
  }
  static V<T> upper(V<T> a, V<T> b) {
    return __builtin_shufflevector(a, b, (Lanes / 2 + count / 2 + Lanes % 2 * count)...);
  }
};
template <class T>
using Shuffle = Shuffles<T, Vector<T>::lanes>;

// As many vectors as each has lanes, as a matrix, become its transpose: a perfect shuffle of the
// elements, as often as there are bits in a lane's number.
template <class T>
inline void transpose_vectors(V<T>* v) {
  constexpr long lanes = Vector<T>::lanes;
  V<T> turned[lanes];
#pragma GCC unroll 4
  for (long stage = 1; stage < lanes; stage *= 2) {
#pragma GCC unroll 8
    for (long r = 0; r < lanes / 2; ++r) {
      turned[2 * r] = Shuffle<T>::lower(v[r], v[r + lanes / 2]);
      turned[2 * r + 1] = Shuffle<T>::upper(v[r], v[r + lanes / 2]);
    }
#pragma GCC unroll 16
    for (long r = 0; r < lanes; ++r) v[r] = turned[r];
  }
}

template <class T, int distance = Vector<T>::lanes / 2>
inline T sum_of(V<T> v) {
  v += Shuffle<T>::template exchange<distance>(v);
  if constexpr (distance > 1) return sum_of<T, distance / 2>(v);
  return v[0];
}

template <class T, int distance = Vector<T>::lanes / 2>
inline T max_of(V<T> v) {
  const V<T> other = Shuffle<T>::template exchange<distance>(v);
  v = v > other ? v : other;
  if constexpr (distance > 1) return max_of<T, distance / 2>(v);
  return v[0];
}

}  // namespace

}  // namespace tenon::kernels

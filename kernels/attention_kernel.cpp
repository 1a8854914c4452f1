// Tiles of attention for one instruction set: compiled once for each (see meson.build), so it uses
// no inline function of any header, of which the linker would keep one copy for all.
//
// The time is in products of tiles. A micro-tile of C, some rows by some vectors, stays in
// registers while rows of B stream from the first-level cache and elements of A are broadcast. The
// order of every sum is a function of the shape alone.
#include "kernels/attention_kernel.h"

#include "kernels/vector.h"

namespace tenon::kernels {

namespace {

// A micro-tile's vectors across: its sums and a row of B take most registers.
#if defined(__AVX512F__)
constexpr int kVectors = 4;  // 24 sums of 32 registers
#else
constexpr int kVectors = 2;  // 12 of 16
#endif
constexpr int kRows = 6;      // of a micro-tile
constexpr long kTerms = 128;  // of B, so that a panel of it stays in the first-level cache

// ---- products ----

template <class T>
struct MicroTile {
  const T* a;
  long a_row, a_step;
  const T* b;
  long b_row;
  T* c;
  long c_row;
  long terms;
  bool add;
};

template <class T, int Rows, int Vectors>
void multiply_micro(const MicroTile<T>& t) {
  constexpr long lanes = Vector<T>::lanes;
  V<T> sums[Rows][Vectors] = {};
  const T* a = t.a;
  const T* b = t.b;
  const long a_row = t.a_row, a_step = t.a_step, b_row = t.b_row;
  for (long left = t.terms; left > 0; --left) {
    V<T> row[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) row[v] = load(b + v * lanes);
#pragma GCC unroll 6
    for (int i = 0; i < Rows; ++i) {
      const V<T> factor = a[i * a_row] - V<T>{};
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sums[i][v] += factor * row[v];
    }
    a += a_step;
    b += b_row;
  }
  T* c = t.c;
  const long c_row = t.c_row;
  if (t.add) {
#pragma GCC unroll 6
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sums[i][v] += load(c + i * c_row + v * lanes);
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) store(c + i * c_row + v * lanes, sums[i][v]);
  }
}

template <class T, int Rows = kRows, int Vectors = kVectors>
void multiply_tile(const MicroTile<T>& tile, long rows, long vectors) {
  if constexpr (Vectors > 1) {
    if (vectors < Vectors) return multiply_tile<T, Rows, Vectors - 1>(tile, rows, vectors);
  }
  if constexpr (Rows > 1) {
    if (rows < Rows) return multiply_tile<T, Rows - 1, Vectors>(tile, rows, vectors);
  }
  multiply_micro<T, Rows, Vectors>(tile);
}

template <class T>
void multiply(const TileProduct<T>& p) {
  constexpr long lanes = Vector<T>::lanes, panel = kVectors * lanes;
  const long padded = whole_vectors<T>(p.columns);
  for (long from = 0; from == 0 || from < p.terms; from += kTerms) {
    const long to = min_of(from + kTerms, p.terms);
    for (long column = 0; column < padded; column += panel) {
      const long b_row = min_of(panel, padded - column);
      const T* b = p.b + column / panel * p.b_panel;
      for (long i = 0; i < p.rows; i += kRows) {
        const long rows = min_of(kRows, p.rows - i);
        const long seen = p.visible + i + rows - 1;
        long width = b_row, begin = from, end = to;
        if (p.causality == Causality::Columns)
          width = min_of(b_row, whole_vectors<T>(max_of(seen - column, 0)));
        if (p.causality == Causality::LastTerms) end = min_of(to, seen);
        if (p.causality == Causality::FirstTerms) begin = max_of(from, i - p.visible + 1);
        if (width <= 0 || (p.add && begin >= end)) continue;
        multiply_tile<T>({p.a + i * p.a_row + begin * p.a_step, p.a_row, p.a_step,
                          b + (p.b_first + begin) * b_row, b_row, p.c + i * p.c_row + column,
                          p.c_row, max_of(end - begin, 0), p.add || from > 0},
                         rows, width / lanes);
      }
    }
  }
}

// ---- weights ----

// The keys that a row sees, and up to where products of the tile may read it, in whole vectors.
struct RowEnd {
  long seen, read;
};

template <class T>
inline RowEnd row_end(const ScoreTile<T>& tile, long r) {
  if (!tile.causal) return {tile.columns, whole_vectors<T>(tile.columns)};
  const long seen = max_of(min_of(tile.visible + r, tile.columns), 0);
  return {seen, whole_vectors<T>(min_of(seen + kRows, tile.columns))};
}

template <class T>
inline T largest_of(const T* scores, long count) {
  constexpr long lanes = Vector<T>::lanes;
  V<T> largest[2] = {kLow<T> - V<T>{}, kLow<T> - V<T>{}};
  for (long j = 0; j < count; j += 2 * lanes) {
    for (int v = 0; v < 2 && j + v * lanes < count; ++v) {
      const V<T> x = load(scores + j + v * lanes);
      largest[v] = x > largest[v] ? x : largest[v];  // passes over NaN, which the sum will be
    }
  }
  return max_of<T>(largest[0] > largest[1] ? largest[0] : largest[1]);
}

template <class T>
void softmax_step(const SoftmaxStep<T>& step) {
  constexpr long lanes = Vector<T>::lanes;
  const ScoreTile<T>& tile = step.tile;
  for (long r = 0; r < tile.rows; ++r) {
    T* s = tile.scores + r * tile.row;
    const RowEnd end = row_end(tile, r);
    for (long j = end.seen; j < end.read; ++j) s[j] = kLow<T>;
    step.rescale[r] = largest_of<T>(s, end.read) * tile.factor;
  }
  // Old maxima become factors to the new ones. Where nothing was seen yet, the maximum is -inf and
  // all weights 0.
  const V<T> low = kLow<T> - V<T>{};
  for (long r = 0; r < tile.rows; r += lanes) {
    const V<T> before = load(step.maximum + r), here = load(step.rescale + r);
    const V<T> now = here > before ? here : before;
    store(step.maximum + r, now);
    store(step.rescale + r, exp2_of<T>(before - (now == low ? V<T>{} : now)));
  }
  for (long r = 0; r < tile.rows; ++r) {
    T* s = tile.scores + r * tile.row;
    const long read = row_end(tile, r).read;
    const T maximum = step.maximum[r] == kLow<T> ? T{0} : step.maximum[r], factor = tile.factor;
    V<T> sum = {};
    for (long j = 0; j < read; j += lanes) {
      const V<T> weight = exp2_of<T>(load(s + j) * factor - maximum);
      store(s + j, weight);
      sum += weight;
    }
    const T rescale = step.rescale[r];
    step.sum[r] = step.sum[r] * rescale + sum_of<T>(sum);
    if (rescale == T{1}) continue;
    T* out = step.out + r * step.out_row;
    for (long i = 0; i < step.width; i += lanes) store(out + i, load(out + i) * rescale);
  }
}

template <class T, bool Gradients>
void gradient_rows(const GradientStep<T>& step) {
  constexpr long lanes = Vector<T>::lanes;
  const ScoreTile<T>& tile = step.tile;
  const T factor = tile.factor, scale = step.scale;
  const V<T> highest = Exponential<T>::highest - V<T>{};
  for (long r = 0; r < tile.rows; ++r) {
    T* s = tile.scores + r * tile.row;
    T* g = Gradients ? step.gradients + r * tile.row : nullptr;
    const RowEnd end = row_end(tile, r);
    const T normalizer = step.normalizer[r] * static_cast<T>(kLog2E);
    const T delta = Gradients ? step.delta[r] : T{0};
    for (long j = 0; j < end.read; j += lanes) {
      const V<T> x = load(s + j) * factor - normalizer;
      // What exceeds 0 are rounding errors, large ones of huge scores.
      const V<T> weight = exp2_of<T>(highest < x ? highest : x);
      store(s + j, weight);
      if constexpr (Gradients) store(g + j, weight * (load(g + j) - delta) * scale);
    }
    for (long j = end.seen; j < end.read; ++j) {
      s[j] = 0;
      if constexpr (Gradients) g[j] = 0;
    }
  }
}

template <class T>
void gradient_step(const GradientStep<T>& step) {
  step.gradients == nullptr ? gradient_rows<T, false>(step) : gradient_rows<T, true>(step);
}

// ---- operands ----

template <class To, class From>
inline To bits_of(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}

struct Float16 {
  unsigned short bits;
};
struct BFloat16 {
  unsigned short bits;
};

// As core/half.h does it, but without branches, so that loops become vectors.
inline float to_float(Float16 x) {
  const unsigned sign = (x.bits & 0x8000u) << 16, magnitude = x.bits & 0x7fffu;
  const unsigned special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  const float scaled = bits_of<float>(magnitude << 13) * 0x1p112f;  // exponent bias 15 -> 127
  return bits_of<float>(sign | special | bits_of<unsigned>(scaled));
}

inline float to_float(BFloat16 x) { return bits_of<float>(static_cast<unsigned>(x.bits) << 16); }

inline void from_float(float value, Float16& to) {
  const unsigned x = bits_of<unsigned>(value), magnitude = x & 0x7fffffffu;
  const unsigned denormal = bits_of<unsigned>(bits_of<float>(magnitude) + 0.5f) - 0x3f000000u;
  const unsigned normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  unsigned bits = magnitude < 0x38800000u ? denormal : normal;
  bits = magnitude >= 0x477ff000u ? 0x7c00u : bits;
  bits = magnitude > 0x7f800000u ? 0x7e00u | ((magnitude >> 13) & 0x1ffu) : bits;
  to.bits = static_cast<unsigned short>((x >> 16 & 0x8000u) | bits);
}

inline void from_float(float value, BFloat16& to) {
  const unsigned x = bits_of<unsigned>(value);
  const unsigned rounded = (x + 0x7fffu + ((x >> 16) & 1u)) >> 16;
  to.bits =
      static_cast<unsigned short>((x & 0x7fffffffu) > 0x7f800000u ? (x >> 16) | 0x40u : rounded);
}

inline float to_float(float x) { return x; }
inline double to_float(double x) { return x; }
inline void from_float(float value, float& to) { to = value; }
inline void from_float(double value, double& to) { to = value; }

template <class From, class T>
inline void widen_from(const void* from, long stride, long count, T* to) {
  const From* x = static_cast<const From*>(from);
  if (stride == 1) {
    for (long i = 0; i < count; ++i) to[i] = to_float(x[i]);
  } else {
    for (long i = 0; i < count; ++i) to[i] = to_float(x[i * stride]);
  }
}

template <class T>
void widen(Element kind, const void* from, long stride, long count, T* to) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (kind == Element::Float16) return widen_from<Float16>(from, stride, count, to);
    if (kind == Element::BFloat16) return widen_from<BFloat16>(from, stride, count, to);
  }
  widen_from<T>(from, stride, count, to);
}

template <class To, class T>
inline void divide_to(const T* from, T divisor, long count, void* to) {
  To* y = static_cast<To*>(to);
  for (long i = 0; i < count; ++i) from_float(from[i] / divisor, y[i]);
}

template <class T>
void divide(const T* from, T divisor, long count, Element kind, void* to) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (kind == Element::Float16) return divide_to<Float16>(from, divisor, count, to);
    if (kind == Element::BFloat16) return divide_to<BFloat16>(from, divisor, count, to);
  }
  divide_to<T>(from, divisor, count, to);
}

template <class Mask, class T>
inline void add_mask_of(T* scores, long count, T factor, const void* mask, long stride) {
  const Mask* m = static_cast<const Mask*>(mask);
  const T log2e = static_cast<T>(kLog2E);
  if (stride == 1) {
    for (long j = 0; j < count; ++j) scores[j] = scores[j] * factor + to_float(m[j]) * log2e;
  } else {
    for (long j = 0; j < count; ++j) {
      scores[j] = scores[j] * factor + to_float(m[j * stride]) * log2e;
    }
  }
}

template <class T>
void add_mask(T* scores, long count, T factor, Element kind, const void* mask, long stride) {
  if (mask == nullptr) {
    for (long j = 0; j < count; ++j) scores[j] *= factor;
    return;
  }
  if (kind == Element::Bool) {
    const unsigned char* m = static_cast<const unsigned char*>(mask);
    for (long j = 0; j < count; ++j) scores[j] = m[j * stride] ? scores[j] * factor : kLow<T>;
    return;
  }
  if constexpr (sizeof(T) == sizeof(float)) {
    if (kind == Element::Float16) return add_mask_of<Float16>(scores, count, factor, mask, stride);
    if (kind == Element::BFloat16) {
      return add_mask_of<BFloat16>(scores, count, factor, mask, stride);
    }
  }
  add_mask_of<T>(scores, count, factor, mask, stride);
}

// A block of as many rows and columns as a vector has lanes, of which `rows` and `columns` are
// there; as many rows of the transpose.
template <class T, bool Whole>
inline void transpose_block(const T* from, long row, long rows, long columns, T* to, long to_row) {
  constexpr long lanes = Vector<T>::lanes;
  V<T> v[lanes];
#pragma GCC unroll 16
  for (long r = 0; r < lanes; ++r) {
    if constexpr (Whole) {
      v[r] = load(from + r * row);
    } else {
      v[r] = V<T>{};
      for (long c = 0; r < rows && c < columns; ++c) v[r][c] = from[r * row + c];
    }
  }
  transpose_vectors<T>(v);
#pragma GCC unroll 16
  for (long c = 0; c < lanes; ++c) {
    if (Whole || c < columns) store(to + c * to_row, v[c]);
  }
}

template <class T>
void transpose(const T* from, long row, long rows, long columns, T* to) {
  constexpr long lanes = Vector<T>::lanes, panel = kVectors * lanes;
  const long padded = whole_vectors<T>(rows);
  for (long i = 0; i < padded; i += lanes) {
    const long first = i / panel * panel, to_row = min_of(panel, padded - first);
    for (long j = 0; j < columns; j += lanes) {
      const T* block = from + i * row + j;
      T* turned = to + first * columns + j * to_row + (i - first);
      // The next rows, which are as many streams: more than the processor itself follows.
      for (long r = i + lanes; r < min_of(i + 2 * lanes, rows); ++r) {
        __builtin_prefetch(from + r * row + j);
      }
      if (i + lanes <= rows && j + lanes <= columns) {
        transpose_block<T, true>(block, row, lanes, lanes, turned, to_row);
      } else {
        transpose_block<T, false>(block, row, rows - i, min_of(columns - j, lanes), turned, to_row);
      }
    }
  }
}

template <class T>
T dot(const T* a, const T* b, long count) {
  constexpr long lanes = Vector<T>::lanes;
  V<T> sums = {};
  long i = 0;
  for (; i + lanes <= count; i += lanes) sums += load(a + i) * load(b + i);
  T rest = 0;
  for (; i < count; ++i) rest += a[i] * b[i];
  return sum_of<T>(sums) + rest;
}

template <class T>
constexpr AttentionTable<T> kTable = {
    Vector<T>::lanes, kVectors* Vector<T>::lanes,
    multiply<T>,      add_mask<T>,
    softmax_step<T>,  gradient_step<T>,
    transpose<T>,     widen<T>,
    divide<T>,        dot<T>,
};

}  // namespace

#define TENON_JOIN(a, b) a##_##b
#define TENON_NAME(a, b) TENON_JOIN(a, b)

extern const AttentionKernels TENON_NAME(attention, TENON_ATTENTION_FOR);
const AttentionKernels TENON_NAME(attention, TENON_ATTENTION_FOR) = {kTable<float>, kTable<double>};

}  // namespace tenon::kernels

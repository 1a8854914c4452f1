// What Tenon's kernels are written in: types, and the operations of the loop IR (jit/loop/ir.h)
// that C++ has no operator for. Compiled with --fmad=false: nothing is contracted.

typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
typedef unsigned short f16;   // its bits; arithmetic is done in f32
typedef unsigned short bf16;  // its bits
typedef float f32;
typedef double f64;

// The first failure of a launch, by site and then by index.
struct ErrorSlot {
  i64 index, value;
  u32 site, code, lock;
};

// NVRTC has no headers for what is the device's own: conversions of f16, and memory of a block.
#ifdef __CUDACC_RTC__
inline f32 f32_of_f16(f16 x) {
  f32 result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(x));
  return result;
}

inline f16 f16_of(f32 x) {
  f16 result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result) : "f"(x));
  return result;
}

extern __shared__ __align__(64) u8 shared_scratch[];
#endif

// ---- lanes: a vector's 16 are 16 neighbouring threads ----

struct Lanes {
  i32 lane;
  u32 mask;  // of the group, in its warp
};

inline Lanes my_lanes() {
  return {i32(threadIdx.x & 15u), 0xffffu << (threadIdx.x & 16u)};
}

// The threads of the group meet, and see what the others stored before.
inline void meet(Lanes lanes) { __syncwarp(lanes.mask); }

template <class T>
inline T from_lane(Lanes lanes, T x, i32 lane) {
  if constexpr (sizeof(T) < 4) {
    return T(__shfl_sync(lanes.mask, i32(x), lane, 16));
  } else {
    return __shfl_sync(lanes.mask, x, lane, 16);
  }
}

// Lane i with lane i + half, halves of 8, 4, 2, 1; the result in every lane.
template <class T, class Combine>
inline T reduce(Lanes lanes, T x, Combine combine) {
  for (i32 half = 8; half > 0; half /= 2) {
    x = combine(x, from_lane(lanes, x, lanes.lane + half));
  }
  return from_lane(lanes, x, 0);
}

// Of the lanes that store to one element the last one wins.
inline bool stores_last(Lanes lanes, i64 index, bool stores) {
  const u32 storing = __ballot_sync(lanes.mask, stores);
  const u32 same = __match_any_sync(lanes.mask, u64(index)) & storing;
  return stores && (threadIdx.x & 31u) == 31u - __clz(i32(same));
}

// The lock is let go inside the loop, so that threads of one warp that want it don't wait for each
// other.
inline void report(ErrorSlot* slot, u32 code, u32 site, i64 index, i64 value) {
  for (bool is_done = false; !is_done;) {
    if (atomicExch(&slot->lock, 1u) != 0u) continue;
    __threadfence();
    volatile ErrorSlot* first = slot;
    if (first->code == 0u || site < first->site || (site == first->site && index < first->index)) {
      first->index = index;
      first->value = value;
      first->site = site;
      first->code = code;
    }
    __threadfence();
    atomicExch(&slot->lock, 0u);
    is_done = true;
  }
}

// ---- the parallel range, in chunks that groups take in turn ----

struct Chunk {
  i64 begin, end;
};

struct Chunks {
  i64 first, last, chunk;
  i64 row, across;  // indices of a row, and its chunks
  i64 count;

  // Eight rows at a time, which are the eight groups of a block: the first chunk of each, then the
  // second ... What a row gathers lies beside what the next row gathers, and is in the cache.
  Chunk get(i64 turn) const {
    const i64 eight = turn / (8 * across), rest = turn % (8 * across);
    const i64 start = first + (8 * eight + rest % 8) * row;
    const i64 begin = start + rest / 8 * chunk;
    i64 end = begin + chunk < start + row ? begin + chunk : start + row;
    return {begin, end < last ? end : last};  // empty past the end
  }
};

inline Chunks chunks_of_rows(i64 first, i64 last, i64 chunk, i64 row) {
  const i64 length = row > 0 ? row : last - first;
  const i64 rows = (last - first + length - 1) / length, across = (length + chunk - 1) / chunk;
  return {first, last, chunk, length, across, (rows + 7) / 8 * 8 * across};
}

// ---- integers: they wrap, and every input has a result ----

template <class T> struct Unsigned { typedef T type; };
template <> struct Unsigned<i8> { typedef u8 type; };
template <> struct Unsigned<i16> { typedef u16 type; };
template <> struct Unsigned<i32> { typedef u32 type; };
template <> struct Unsigned<i64> { typedef u64 type; };
template <class T>
using Wrapping = typename Unsigned<T>::type;

// Small types would be promoted to int, whose overflow is undefined: + 0u keeps them unsigned.
template <class T> inline T add(T x, T y) { return T(Wrapping<T>(x) + 0u + Wrapping<T>(y)); }
template <class T> inline T sub(T x, T y) { return T(Wrapping<T>(x) + 0u - Wrapping<T>(y)); }
template <class T> inline T mul(T x, T y) { return T((Wrapping<T>(x) + 0u) * Wrapping<T>(y)); }
template <class T> inline T negate(T x) { return sub(T(0), x); }
template <class T> inline T absolute(T x) { return x < T(0) ? negate(x) : x; }

template <class T>
inline T divide(T x, T y) {
  if (y == T(0)) return T(0);
  if (T(-1) < T(0) && y == T(-1)) return negate(x);
  return T(x / y);
}

template <class T>
inline T modulo(T x, T y) {  // the sign of x
  if (y == T(0)) return x;
  if (T(-1) < T(0) && y == T(-1)) return T(0);
  return T(x % y);
}

template <class T>
inline T shift_left(T x, T y) {
  const bool fits = Wrapping<T>(y) < 8 * sizeof(T);
  return fits ? T((Wrapping<T>(x) + 0u) << Wrapping<T>(y)) : T(0);
}

template <class T>
inline T shift_right(T x, T y) {
  const bool fits = Wrapping<T>(y) < 8 * sizeof(T);
  return fits ? T(x >> Wrapping<T>(y)) : T(x < T(0) ? -1 : 0);
}

// ---- maximum and minimum: a NaN stays ----

template <class T> inline T maximum(T x, T y) { return x != x || x > y ? x : y; }
template <class T> inline T minimum(T x, T y) { return x != x || x < y ? x : y; }

// ---- floating numbers ----

inline f32 square_root(f32 x) { return __fsqrt_rn(x); }
inline f64 square_root(f64 x) { return __dsqrt_rn(x); }
inline f32 fused_multiply_add(f32 x, f32 y, f32 z) { return __fmaf_rn(x, y, z); }
inline f64 fused_multiply_add(f64 x, f64 y, f64 z) { return __fma_rn(x, y, z); }

inline f64 power_of_two(i64 n) { return __longlong_as_double((n + 1023) << 52); }

// x * 2^y, rounded once; y whole, |y| <= 250. The product is exact in f64.
inline f32 scale(f32 x, f32 y) {
  return y != y ? y : f32(f64(x) * power_of_two(i64(y)));
}

// The same for |y| <= 2000, in steps that lose nothing before the last one: 2^-969 leaves 53 bits
// above the denormals.
inline f64 scale(f64 x, f64 y) {
  if (y != y) return y;
  i64 n = i64(y);
  for (i32 step = 0; step < 2; ++step) {
    if (n > 1023) {
      x *= 0x1p1023;
      n -= 1023;
    } else if (n < -1022) {
      x *= 0x1p-969;
      n += 969;
    }
  }
  return x * power_of_two(n < -1022 ? -1022 : n);
}

// ---- conversions ----

inline f32 f32_of_bf16(bf16 x) { return __uint_as_float(u32(x) << 16); }

inline bf16 bf16_of(f32 x) {  // to nearest even; a NaN becomes quiet
  const u32 bits = __float_as_uint(x);
  const u32 rounded = x != x ? bits | 0x400000u : bits + 0x7fffu + ((bits >> 16) & 1u);
  return bf16(rounded >> 16);
}

// Truncation; NaN and what does not fit give the least value of the signed type of that width.
inline i32 truncate_i32(f32 x) { return x >= -0x1p31f && x < 0x1p31f ? i32(x) : i32(0x80000000u); }
inline i32 truncate_i32(f64 x) {
  return x > -0x1p31 - 1 && x < 0x1p31 ? i32(x) : i32(0x80000000u);
}
inline u32 truncate_u32(f32 x) {
  return x >= -0x1p31f && x < 0x1p32f ? u32(i64(x)) : 0x80000000u;
}
inline u32 truncate_u32(f64 x) {
  return x > -0x1p31 - 1 && x < 0x1p32 ? u32(i64(x)) : 0x80000000u;
}
template <class F>
inline i64 truncate_i64(F x) {
  return x >= F(-0x1p63) && x < F(0x1p63) ? i64(x) : i64(0x8000000000000000ull);
}
template <class F>
inline u64 truncate_u64(F x) {
  if (!(x >= F(-0x1p63) && x < F(0x1p64))) return 0x8000000000000000ull;
  return x < F(0) ? u64(i64(x)) : u64(x);
}

// ---- functions that are not expanded in the loop IR (jit/loop/host_math.cpp) ----

inline f64 call_exp(f64 x) { return exp(x); }
inline f64 call_exp2(f64 x) { return exp2(x); }
inline f64 call_expm1(f64 x) { return expm1(x); }
inline f64 call_log(f64 x) { return log(x); }
inline f64 call_log2(f64 x) { return log2(x); }
inline f64 call_log10(f64 x) { return log10(x); }
inline f64 call_log1p(f64 x) { return log1p(x); }
inline f64 call_sin(f64 x) { return sin(x); }
inline f64 call_cos(f64 x) { return cos(x); }
inline f64 call_tan(f64 x) { return tan(x); }
inline f64 call_asin(f64 x) { return asin(x); }
inline f64 call_acos(f64 x) { return acos(x); }
inline f64 call_atan(f64 x) { return atan(x); }
inline f64 call_sinh(f64 x) { return sinh(x); }
inline f64 call_cosh(f64 x) { return cosh(x); }
inline f64 call_tanh(f64 x) { return tanh(x); }
inline f64 call_asinh(f64 x) { return asinh(x); }
inline f64 call_acosh(f64 x) { return acosh(x); }
inline f64 call_atanh(f64 x) { return atanh(x); }
inline f64 call_erf(f64 x) { return erf(x); }
inline f64 call_erfc(f64 x) { return erfc(x); }
inline f64 call_lgamma(f64 x) { return lgamma(x); }
inline f64 call_pow(f64 x, f64 y) { return pow(x, y); }
inline f64 call_atan2(f64 y, f64 x) { return atan2(y, x); }
inline f64 call_fmod(f64 x, f64 y) { return fmod(x, y); }
inline f64 call_rsqrt(f64 x) { return 1 / __dsqrt_rn(x); }
inline f64 call_digamma(f64 x) { return tenon::scalar_formulas::digamma(x); }
inline f64 call_erfinv(f64 x) { return tenon::scalar_formulas::erfinv(x); }
inline f64 call_remainder(f64 x, f64 y) { return tenon::scalar_formulas::remainder_of(x, y); }
inline f64 call_floor_div(f64 x, f64 y) { return tenon::scalar_formulas::floor_divide(x, y); }

// The 8-bit floating types for host code: storage plus exact conversions. Each is one byte; a
// conversion goes through float and rounds to nearest, ties to even.
//
// Source: P. Micikevicius et al., FP8 Formats for Deep Learning, arXiv:2209.05433 (e4m3fn, e5m2);
// B. Noune et al., 8-bit Numerical Formats for Deep Neural Networks, arXiv:2206.02915 (fnuz);
// OCP Microscaling Formats (MX) 1.0 (e8m0fnu). What is too large becomes infinity in e5m2, the
// largest number in e4m3fn, and NaN in the others, as in PyTorch.
#pragma once

#include <cstdint>

namespace tenon {

enum class Float8Specials : std::uint8_t {
  Infinities,    // as IEEE 754: the largest exponent holds infinity and NaN
  OneNan,        // no infinity; all ones is NaN (fn)
  UnsignedZero,  // no infinity, one zero; the code of -0 is NaN (fnuz)
  PowersOfTwo,   // an exponent alone, no sign, no zero; all ones is NaN
};

struct Float8Format {
  int mantissa_bits;
  int bias;
  Float8Specials specials;

  constexpr std::uint32_t quiet_nan() const {
    return specials == Float8Specials::UnsignedZero  ? 0x80u
           : specials == Float8Specials::PowersOfTwo ? 0xffu
                                                     : 0x7fu;
  }
  // The code of magnitudes beyond the largest number.
  constexpr std::uint32_t overflow() const {
    return specials == Float8Specials::Infinities ? 0x7cu
           : specials == Float8Specials::OneNan   ? 0x7eu
                                                  : quiet_nan();
  }
  // The largest code of a magnitude that is a number or infinity.
  constexpr std::uint32_t largest() const {
    return specials == Float8Specials::UnsignedZero ? 0x7fu : overflow();
  }
  // The bits of the float whose last place is the smallest denormal's: adding it aligns and rounds
  // a number below the smallest normal one.
  constexpr std::uint32_t denormal_aligner() const {
    return static_cast<std::uint32_t>(127 + 24 - bias - mantissa_bits) << 23;
  }
};

inline constexpr Float8Format kFloat8_e4m3fn{3, 7, Float8Specials::OneNan};
inline constexpr Float8Format kFloat8_e5m2{2, 15, Float8Specials::Infinities};
inline constexpr Float8Format kFloat8_e4m3fnuz{3, 8, Float8Specials::UnsignedZero};
inline constexpr Float8Format kFloat8_e5m2fnuz{2, 16, Float8Specials::UnsignedZero};
inline constexpr Float8Format kFloat8_e8m0fnu{0, 127, Float8Specials::PowersOfTwo};

namespace detail {
std::uint8_t float_to_float8_bits(float value, const Float8Format& format);
float float8_bits_to_float(std::uint8_t bits, const Float8Format& format);
}  // namespace detail

template <const Float8Format& kFormat>
struct Float8 {
  static constexpr const Float8Format& format = kFormat;
  std::uint8_t bits = 0;

  constexpr Float8() = default;
  Float8(float value) : bits(detail::float_to_float8_bits(value, kFormat)) {}
  operator float() const { return detail::float8_bits_to_float(bits, kFormat); }
  static constexpr Float8 from_bits(std::uint8_t bits) {
    Float8 x;
    x.bits = bits;
    return x;
  }
};

using float8_e4m3fn = Float8<kFloat8_e4m3fn>;
using float8_e5m2 = Float8<kFloat8_e5m2>;
using float8_e4m3fnuz = Float8<kFloat8_e4m3fnuz>;
using float8_e5m2fnuz = Float8<kFloat8_e5m2fnuz>;
using float8_e8m0fnu = Float8<kFloat8_e8m0fnu>;

static_assert(sizeof(float8_e4m3fn) == 1 && sizeof(float8_e8m0fnu) == 1);

}  // namespace tenon

#include "core/float8.h"

#include <bit>
#include <limits>

namespace tenon::detail {

std::uint8_t float_to_float8_bits(float value, const Float8Format& format) {
  const std::uint32_t x = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = x & 0x7fffffffu;
  if (format.specials == Float8Specials::PowersOfTwo) {
    const std::uint32_t exponent = magnitude >> 23, fraction = magnitude & 0x7fffffu;
    if (exponent == 0xff) return 0xff;
    // Half way goes up: the number above is the even one wherever there is a choice.
    const bool goes_up = fraction + (exponent > 0 ? 1 : 0) > 0x400000u;
    return static_cast<std::uint8_t>(exponent + (goes_up ? 1 : 0));
  }
  const std::uint32_t sign = (x >> 24) & 0x80u;
  const int dropped = 23 - format.mantissa_bits;
  std::uint32_t code;
  if (magnitude > 0x7f800000u) {
    code = format.quiet_nan();
  } else if (magnitude < static_cast<std::uint32_t>(128 - format.bias) << 23) {
    const float aligned =
        std::bit_cast<float>(magnitude) + std::bit_cast<float>(format.denormal_aligner());
    code = std::bit_cast<std::uint32_t>(aligned) - format.denormal_aligner();
  } else {
    const std::uint32_t odd = (magnitude >> dropped) & 1u;
    const std::uint32_t rebased = magnitude - (static_cast<std::uint32_t>(127 - format.bias) << 23);
    code = (rebased + (1u << (dropped - 1)) - 1 + odd) >> dropped;
    if (code > format.largest()) code = format.overflow();
  }
  if (format.specials == Float8Specials::UnsignedZero && (code == 0 || code == 0x80u)) {
    return static_cast<std::uint8_t>(code);
  }
  return static_cast<std::uint8_t>(code | sign);
}

float float8_bits_to_float(std::uint8_t bits, const Float8Format& format) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const std::uint32_t code = bits;
  if (format.specials == Float8Specials::PowersOfTwo) {
    if (code == 0xffu) return kNan;
    return std::bit_cast<float>(code == 0 ? 0x400000u : code << 23);
  }
  const std::uint32_t magnitude = code & 0x7fu;
  if (format.specials == Float8Specials::UnsignedZero && code == 0x80u) return kNan;
  if (format.specials == Float8Specials::OneNan && magnitude == 0x7fu) return kNan;
  if (format.specials == Float8Specials::Infinities && magnitude > 0x7cu) return kNan;
  const std::uint32_t sign = (code & 0x80u) << 24;
  if (format.specials == Float8Specials::Infinities && magnitude == 0x7cu) {
    return std::bit_cast<float>(sign | 0x7f800000u);
  }
  const std::uint32_t shifted = magnitude << (23 - format.mantissa_bits);
  if (magnitude < 1u << format.mantissa_bits) {  // denormal, or zero
    const auto unit = std::bit_cast<float>(
        static_cast<std::uint32_t>(128 - format.bias - format.mantissa_bits) << 23);
    return std::bit_cast<float>(sign |
                                std::bit_cast<std::uint32_t>(static_cast<float>(magnitude) * unit));
  }
  return std::bit_cast<float>(sign |
                              (shifted + (static_cast<std::uint32_t>(127 - format.bias) << 23)));
}

}  // namespace tenon::detail

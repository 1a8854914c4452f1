// The allocator's capacities: eight classes between powers of two, so at most one eighth of a block
// is wasted.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>

namespace tenon {

inline constexpr std::size_t kAlignment = 64;  // of a block, and the least capacity
inline constexpr int kAlignmentBits = 6;
inline constexpr int kStepBits = 3;
inline constexpr std::size_t kSizeClasses = (57 - kAlignmentBits) << kStepBits;

// The capacity of a block for so many bytes.
inline std::size_t class_bytes(std::size_t bytes) {
  if (bytes <= kAlignment) return kAlignment;
  const int shift =
      std::max(kAlignmentBits, static_cast<int>(std::bit_width(bytes - 1)) - 1 - kStepBits);
  const std::size_t unit = std::size_t{1} << shift;
  return (bytes + unit - 1) & ~(unit - 1);
}

// A distinct small number for each value of class_bytes, in order.
constexpr std::size_t class_index(std::size_t capacity) {
  const int shift =
      std::max(kAlignmentBits, static_cast<int>(std::bit_width(capacity)) - 1 - kStepBits);
  return (static_cast<std::size_t>(shift - kAlignmentBits) << kStepBits) + (capacity >> shift);
}

// The inverse.
constexpr std::size_t class_capacity(std::size_t index) {
  const std::size_t shift = index >> kStepBits ? (index >> kStepBits) - 1 : 0;
  return (index - (shift << kStepBits)) << (shift + kAlignmentBits);
}

}  // namespace tenon

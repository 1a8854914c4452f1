// 128-bit hashes (xxHash3) for keys that are compared by hash alone: plans, kernels, disk entries.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace tenon {

struct Hash128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;

  constexpr auto operator<=>(const Hash128&) const = default;
};

Hash128 hash128(std::span<const std::byte> bytes);
Hash128 hash128(std::string_view text);
template <class T>
  requires std::is_trivially_copyable_v<T>
Hash128 hash128_of(std::span<const T> values) {
  return hash128(std::as_bytes(values));
}
std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed = 0);
// Depends on the order of its arguments.
Hash128 combine(Hash128 a, Hash128 b);
// 32 hexadecimal digits, high word first.
std::string to_hex(Hash128 hash);

}  // namespace tenon

template <>
struct std::hash<tenon::Hash128> {
  std::size_t operator()(const tenon::Hash128& hash) const noexcept { return hash.low; }
};

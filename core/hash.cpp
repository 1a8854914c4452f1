#include "core/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace tenon {

namespace {
Hash128 convert(XXH128_hash_t hash) { return {hash.low64, hash.high64}; }
}  // namespace

Hash128 hash128(std::span<const std::byte> bytes) {
  return convert(XXH3_128bits(bytes.data(), bytes.size()));
}

Hash128 hash128(std::string_view text) { return convert(XXH3_128bits(text.data(), text.size())); }

std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

Hash128 combine(Hash128 a, Hash128 b) {
  const std::uint64_t words[4] = {a.low, a.high, b.low, b.high};
  return convert(XXH3_128bits(words, sizeof(words)));
}

std::string to_hex(Hash128 hash) { return fmt::format("{:016x}{:016x}", hash.high, hash.low); }

}  // namespace tenon

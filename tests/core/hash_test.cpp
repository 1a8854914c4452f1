#include "core/hash.h"

#include <doctest/doctest.h>

#include <array>
#include <set>
#include <vector>

using namespace tenon;

TEST_CASE("XXH3-128 of known inputs") {
  // From the xxHash project's `xxhsum -H2`.
  CHECK(to_hex(hash128(std::string_view())) == "99aa06d3014798d86001c324468d497f");
  CHECK(to_hex(hash128("abc")) == "06b05ab6733a618578af5f94892f3950");
}

TEST_CASE("hashes differ and repeat") {
  std::set<Hash128> seen;
  std::array<std::int64_t, 4> key{};
  for (std::int64_t i = 0; i < 1000; ++i) {
    key[static_cast<std::size_t>(i % 4)] = i;
    const Hash128 hash = hash128_of(std::span<const std::int64_t>(key));
    CHECK(hash == hash128(std::as_bytes(std::span(key))));
    seen.insert(hash);
  }
  CHECK(seen.size() >= 999);
  const Hash128 a = hash128("a");
  const Hash128 b = hash128("b");
  CHECK(combine(a, b) != combine(b, a));
  CHECK(combine(a, b) == combine(a, b));
  CHECK(to_hex({0x1, 0xab}) == "00000000000000ab0000000000000001");
}

// Environment values. A bad value gives one warning, naming what is allowed, and the default.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tenon {

// The raw value; nothing if unset or empty.
std::optional<std::string> env_value(const char* name);
std::string env_string(const char* name, std::string_view fallback);
// 1/true/yes/on or 0/false/no/off.
bool env_flag(const char* name, bool fallback);
std::int64_t env_int(const char* name, std::int64_t fallback, std::int64_t low, std::int64_t high);
// A byte count with an optional suffix K, M, G or T (powers of 1024): "512M".
std::int64_t env_bytes(const char* name, std::int64_t fallback);
// The index of the value in `choices`.
int env_choice(const char* name, std::span<const std::string_view> choices, int fallback);
// A comma-separated set of `choices`, as bits; "all" sets each.
std::uint64_t env_set(const char* name, std::span<const std::string_view> choices,
                      std::uint64_t fallback);

}  // namespace tenon

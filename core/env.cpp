#include "core/env.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <set>

#include "core/log.h"

namespace tenon {

namespace {

// One warning a variable, however often it is read.
void warn_once(const char* name, std::string_view value, std::string_view expected,
               std::string_view fallback) {
  static std::mutex mutex;
  static auto* warned = new std::set<std::string>;  // outlives static destruction
  {
    const std::lock_guard lock(mutex);
    if (!warned->insert(fmt::format("{}={}", name, value)).second) return;
  }
  warn("{}='{}' is not valid (expected {}); using {}", name, value, expected, fallback);
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return result;
}

std::optional<std::int64_t> parse_int(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> parse_bytes(std::string_view text) {
  int shift = 0;
  if (!text.empty()) {
    switch (text.back()) {
      case 'K':
      case 'k':
        shift = 10;
        break;
      case 'M':
      case 'm':
        shift = 20;
        break;
      case 'G':
      case 'g':
        shift = 30;
        break;
      case 'T':
      case 't':
        shift = 40;
        break;
      default:
        break;
    }
  }
  if (shift) text.remove_suffix(1);
  const auto value = parse_int(text);
  if (!value || *value < 0 || *value > (std::numeric_limits<std::int64_t>::max() >> shift)) {
    return std::nullopt;
  }
  return *value << shift;
}

}  // namespace

std::optional<std::string> env_value(const char* name) {
  const char* value = std::getenv(name);
  if (!value || !*value) return std::nullopt;
  return std::string(value);
}

std::string env_string(const char* name, std::string_view fallback) {
  return env_value(name).value_or(std::string(fallback));
}

bool env_flag(const char* name, bool fallback) {
  const auto value = env_value(name);
  if (!value) return fallback;
  const std::string text = lower(*value);
  if (text == "1" || text == "true" || text == "yes" || text == "on") return true;
  if (text == "0" || text == "false" || text == "no" || text == "off") return false;
  warn_once(name, *value, "1 or 0", fallback ? "1" : "0");
  return fallback;
}

std::int64_t env_int(const char* name, std::int64_t fallback, std::int64_t low, std::int64_t high) {
  const auto value = env_value(name);
  if (!value) return fallback;
  const auto number = parse_int(*value);
  if (number && *number >= low && *number <= high) return *number;
  warn_once(name, *value, fmt::format("a whole number in {}..{}", low, high),
            std::to_string(fallback));
  return fallback;
}

std::int64_t env_bytes(const char* name, std::int64_t fallback) {
  const auto value = env_value(name);
  if (!value) return fallback;
  if (const auto bytes = parse_bytes(*value)) return *bytes;
  warn_once(name, *value, "bytes, such as 1048576, 512M or 4G", fmt::format("{}", fallback));
  return fallback;
}

int env_choice(const char* name, std::span<const std::string_view> choices, int fallback) {
  const auto value = env_value(name);
  if (!value) return fallback;
  const auto found = std::ranges::find(choices, std::string_view(*value));
  if (found != choices.end()) return static_cast<int>(found - choices.begin());
  warn_once(name, *value, fmt::format("one of {}", fmt::join(choices, ", ")), choices[fallback]);
  return fallback;
}

std::uint64_t env_set(const char* name, std::span<const std::string_view> choices,
                      std::uint64_t fallback) {
  const auto value = env_value(name);
  if (!value) return fallback;
  std::uint64_t bits = 0;
  std::string_view rest = *value;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    const auto found = std::ranges::find(choices, item);
    if (item == "all") {
      bits |= (std::uint64_t{1} << choices.size()) - 1;
    } else if (found != choices.end()) {
      bits |= std::uint64_t{1} << (found - choices.begin());
    } else {
      warn_once(name, *value, fmt::format("all, or a list of {}", fmt::join(choices, ",")),
                "the default");
      return fallback;
    }
  }
  return bits;
}

}  // namespace tenon

// What the system does, told on stderr, by category: TENON_LOGS="flush,plan" (or "all").
#pragma once

#include <fmt/core.h>

#include <atomic>
#include <cstdint>
#include <string_view>

namespace tenon {

enum class Category : std::uint8_t { Trace, Flush, Plan, Kernels, Cache, Passes, Tune, Memory };
inline constexpr int kCategoryCount = 8;

namespace detail {
extern std::atomic<std::uint32_t> log_mask;  // bit of a category; bit 31: environment not yet read
bool read_log_mask(Category category);
void write_log(Category category, fmt::string_view format, fmt::format_args args);
void write_warning(fmt::string_view format, fmt::format_args args);
}  // namespace detail

inline bool log_enabled(Category category) {
  const std::uint32_t mask = detail::log_mask.load(std::memory_order_relaxed);
  if (mask & 0x80000000u) [[unlikely]]
    return detail::read_log_mask(category);
  return (mask >> static_cast<int>(category)) & 1u;
}

// One line "[tenon:plan] ..." if the category is enabled; arguments are formatted only then.
template <class... Args>
void log(Category category, fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(category)) [[unlikely]] {
    detail::write_log(category, format, fmt::make_format_args(args...));
  }
}

// Replaces the categories ("plan,cache", "all", ""). Value error for an unknown one.
void set_logs(std::string_view categories);

// A warning to the user; stderr unless a handler (Python's warnings module) has been set.
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  detail::write_warning(format, fmt::make_format_args(args...));
}
using WarningHandler = void (*)(std::string_view message);
void set_warning_handler(WarningHandler handler);  // nullptr: stderr

}  // namespace tenon

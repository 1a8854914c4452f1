#include "core/log.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "core/env.h"
#include "core/error.h"

namespace tenon {

namespace {

constexpr std::uint32_t kUnread = 0x80000000u;
constexpr std::string_view kNames[kCategoryCount] = {"trace", "flush",  "plan", "kernels",
                                                     "cache", "passes", "tune", "memory"};

std::atomic<WarningHandler> g_warning_handler{nullptr};

void write_line(const std::string& line) {
  // One call, so that lines of several threads don't mix.
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

namespace detail {

std::atomic<std::uint32_t> log_mask{kUnread};

bool read_log_mask(Category category) {
  std::uint32_t unread = kUnread;
  // If another thread was faster, or set_logs() came first, that stands.
  log_mask.compare_exchange_strong(unread, env_set("TENON_LOGS", kNames, 0));
  return (log_mask.load() >> static_cast<int>(category)) & 1u;
}

void write_log(Category category, fmt::string_view format, fmt::format_args args) {
  write_line(fmt::format("[tenon:{}] {}\n", kNames[static_cast<int>(category)],
                         fmt::vformat(format, args)));
}

void write_warning(fmt::string_view format, fmt::format_args args) {
  const std::string message = fmt::vformat(format, args);
  if (WarningHandler handler = g_warning_handler.load()) {
    handler(message);
  } else {
    write_line(fmt::format("tenon: warning: {}\n", message));
  }
}

}  // namespace detail

void set_logs(std::string_view categories) {
  std::uint32_t mask = 0;
  while (!categories.empty()) {
    const std::size_t comma = categories.find(',');
    const std::string_view name = categories.substr(0, comma);
    categories.remove_prefix(comma == std::string_view::npos ? categories.size() : comma + 1);
    std::uint32_t bits = name == "all" ? (1u << kCategoryCount) - 1 : 0;
    for (int i = 0; i < kCategoryCount; ++i) {
      if (kNames[i] == name) bits = 1u << i;
    }
    check(bits != 0, ErrorKind::Value, "unknown log category '{}': expected all or one of {}", name,
          fmt::join(kNames, ", "));
    mask |= bits;
  }
  detail::log_mask.store(mask);
}

void set_warning_handler(WarningHandler handler) { g_warning_handler.store(handler); }

}  // namespace tenon

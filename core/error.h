// The one exception type. A message names the operation, the shapes and the remedy; the kind
// decides which Python exception it becomes.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

namespace tenon {

enum class ErrorKind : std::uint8_t {
  Runtime,
  Value,
  Type,
  Index,
  ZeroDivision,     // in Python both a RuntimeError and a ZeroDivisionError
  IndexOutOfRange,  // in Python both a RuntimeError and an IndexError
  OutOfMemory,
  NotImplemented,
  Internal,
  Interrupted,
  Buffer,
  LinAlg,
  Key,
  OS,
};

std::string_view name_of(ErrorKind kind);

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message);
  ~Error() override;

  ErrorKind kind() const noexcept { return kind_; }
  const char* what() const noexcept override { return message_.c_str(); }
  // Puts `prefix` before the message: where an error passes through someone who knows more (the
  // user's line, the name of the layer).
  void prepend(std::string_view prefix) { message_.insert(0, prefix); }
  // Adds a sentence after the message.
  void append(std::string_view suffix) { message_.append(suffix); }

 private:
  ErrorKind kind_;
  std::string message_;
};

namespace detail {
[[noreturn]] void throw_error(ErrorKind kind, fmt::string_view format, fmt::format_args args);
}  // namespace detail

template <class... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  detail::throw_error(kind, format, fmt::make_format_args(args...));
}

// Fails unless `condition` holds.
template <class... Args>
inline void check(bool condition, ErrorKind kind, fmt::format_string<Args...> format,
                  Args&&... args) {
  if (!condition) [[unlikely]] {
    detail::throw_error(kind, format, fmt::make_format_args(args...));
  }
}

}  // namespace tenon

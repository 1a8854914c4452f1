#include "core/error.h"

#include <fmt/format.h>

#include <utility>

namespace tenon {

Error::Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}

// Out of line, so that the class' type information lives in one object file and an Error thrown in
// one shared library can be caught in another.
Error::~Error() = default;

std::string_view name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Runtime:
      return "RuntimeError";
    case ErrorKind::Value:
      return "ValueError";
    case ErrorKind::Type:
      return "TypeError";
    case ErrorKind::Index:
      return "IndexError";
    case ErrorKind::IndexOutOfRange:
      return "IndexError";
    case ErrorKind::ZeroDivision:
      return "ZeroDivisionError";
    case ErrorKind::OutOfMemory:
      return "OutOfMemoryError";
    case ErrorKind::NotImplemented:
      return "NotImplementedError";
    case ErrorKind::Internal:
      return "InternalError";
    case ErrorKind::Interrupted:
      return "Interrupted";
    case ErrorKind::Buffer:
      return "BufferError";
    case ErrorKind::LinAlg:
      return "LinAlgError";
    case ErrorKind::Key:
      return "KeyError";
    case ErrorKind::OS:
      return "OSError";
  }
  return "Error";
}

namespace detail {

void throw_error(ErrorKind kind, fmt::string_view format, fmt::format_args args) {
  throw Error(kind, fmt::vformat(format, args));
}

}  // namespace detail

}  // namespace tenon

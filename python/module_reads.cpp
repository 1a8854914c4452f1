#include "python/module_reads.h"

#include <array>

namespace tenon::python {
namespace {

// As many as modules of a large model, so that few share an entry.
constexpr std::size_t kCalls = 512, kMembers = 1024;

}  // namespace

KnownMember& known_member(std::uint64_t fields, PyObject* name) {
  static std::array<KnownMember, kMembers> all;
  return all[(fields * 7 + reinterpret_cast<std::uintptr_t>(name) / 16) % kMembers];
}

KnownCall& known_call(std::uint64_t fields) {
  static std::array<KnownCall, kCalls> all;
  return all[fields % kCalls];
}

}  // namespace tenon::python

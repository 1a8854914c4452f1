#include "trace/shared_memory.h"

#include <cstring>

#include "core/error.h"
#include "core/shared_memory.h"
#include "trace/recorder.h"

namespace tenon {

void share_memory(const Tensor& x) {
  TraceLock lock;
  check(x.device().is_cpu(), ErrorKind::Runtime, "share_memory_: not on {}", to_string(x.device()));
  Cell& root = x.cell()->root();
  evaluate(root);
  check(!root.segment, ErrorKind::Runtime, "share_memory_: not inside of a transform");
  if (is_in_shared_memory(x) || root.buffer.storage->bytes() == 0) return;
  Storage& from = *root.buffer.storage;
  Ref<Storage> to = allocate_shared(from.bytes());
  std::memcpy(to->data(), from.data(), from.bytes());
  root.buffer.storage = std::move(to);
  root.cached_sequence = 0;
}

bool is_in_shared_memory(const Tensor& x) {
  TraceLock lock;
  const Cell& root = x.cell()->root();
  // What is pending lies nowhere yet; a write to shared memory is complete when its call returns.
  return !root.segment && root.buffer.storage && is_shared(*root.buffer.storage);
}

}  // namespace tenon

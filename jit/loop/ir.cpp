#include "jit/loop/ir.h"

#include <atomic>

namespace tenon::loop {

namespace {

struct ScalarInfo {
  const char* name;
  int bytes;
};
constexpr ScalarInfo kScalars[] = {{"i1", 1},   {"u8", 1},  {"i8", 1},  {"u16", 2}, {"i16", 2},
                                   {"u32", 4},  {"i32", 4}, {"u64", 8}, {"i64", 8}, {"f16", 2},
                                   {"bf16", 2}, {"f32", 4}, {"f64", 8}};

}  // namespace

int size_of(Scalar s) { return kScalars[static_cast<int>(s)].bytes; }
const char* name_of(Scalar s) { return kScalars[static_cast<int>(s)].name; }

int64_t ScratchSize::bytes(const int64_t* ints) const {
  int64_t total = constant;
  for (const Term& term : terms) total += term.factor * ints[term.param];
  return total;
}

void report_failure(ErrorSlot& slot, CheckCode code, uint32_t site, int64_t index, int64_t value) {
  std::atomic_ref<uint32_t> lock(slot.lock);
  while (lock.exchange(1, std::memory_order_acquire) != 0) {
  }
  const bool is_first =
      slot.code == 0 || site < slot.site || (site == slot.site && index < slot.index);
  if (is_first) {
    slot.index = index;
    slot.value = value;
    slot.site = site;
    slot.code = static_cast<uint32_t>(code);
  }
  lock.store(0, std::memory_order_release);
}

}  // namespace tenon::loop

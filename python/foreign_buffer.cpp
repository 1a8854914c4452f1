#include "python/foreign_buffer.h"

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

namespace tenon::python {
namespace {

struct HandedOver {
  std::atomic<bool> any = false;
  std::mutex mutex;
  std::vector<Py_buffer*> buffers;
};
HandedOver& handed_over = *new HandedOver;  // threads may outlive static variables

int release_pending(void*) {
  release_foreign_buffers();
  return 0;
}

}  // namespace

void hand_over(Py_buffer* buffer) noexcept {
  if (!Py_IsInitialized()) return;  // or finalizing: the memory goes with the process
  {
    std::lock_guard guard(handed_over.mutex);
    handed_over.buffers.push_back(buffer);
    handed_over.any.store(true, std::memory_order_release);
  }
  Py_AddPendingCall(release_pending, nullptr);  // if there is no room, a later call releases it too
}

void release_foreign_buffers() noexcept {
  if (!handed_over.any.load(std::memory_order_acquire)) return;
  std::vector<Py_buffer*> buffers;
  {
    std::lock_guard guard(handed_over.mutex);
    buffers.swap(handed_over.buffers);
    handed_over.any.store(false, std::memory_order_release);
  }
  for (Py_buffer* buffer : buffers) {
    PyBuffer_Release(buffer);
    delete buffer;
  }
}

}  // namespace tenon::python

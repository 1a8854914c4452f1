#include "python/deferred_release.h"

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include "core/fork.h"

namespace tenon::python {
namespace {

struct Deferred {
  std::atomic<bool> any = false;
  std::mutex mutex;
  std::vector<Py_buffer*> buffers;
  std::vector<PyObject*> objects;
  std::vector<Lent> lent;
};
Deferred& deferred = *new Deferred;  // threads may outlive static variables
[[maybe_unused]] const bool fork_safe = (lock_around_fork(deferred.mutex), true);

int release_pending(void*) {
  release_deferred();
  return 0;
}

template <class T>
void defer(std::vector<T>& list, T item) noexcept {
  if (!Py_IsInitialized()) return;  // or finalizing: it goes with the process
  {
    std::lock_guard guard(deferred.mutex);
    list.push_back(item);
    deferred.any.store(true, std::memory_order_release);
  }
  Py_AddPendingCall(release_pending, nullptr);  // if there is no room, a later call releases it too
}

}  // namespace

void release_later(Py_buffer* buffer) noexcept { defer(deferred.buffers, buffer); }
void release_later(PyObject* object) noexcept { defer(deferred.objects, object); }

void release_later(Lent lent) noexcept { defer(deferred.lent, lent); }

void release_deferred() noexcept {
  if (!deferred.any.load(std::memory_order_acquire)) return;
  std::vector<Py_buffer*> buffers;
  std::vector<PyObject*> objects;
  std::vector<Lent> lent;
  {
    std::lock_guard guard(deferred.mutex);
    buffers.swap(deferred.buffers);
    objects.swap(deferred.objects);
    lent.swap(deferred.lent);
    deferred.any.store(false, std::memory_order_release);
  }
  for (Py_buffer* buffer : buffers) {
    PyBuffer_Release(buffer);
    delete buffer;
  }
  for (PyObject* object : objects) Py_DECREF(object);
  for (const Lent& each : lent) each.release(each.what);
}

}  // namespace tenon::python

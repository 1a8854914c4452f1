#include "core/shared_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <unordered_set>

#include "core/error.h"

namespace tenon {
namespace {

struct Regions {
  std::mutex mutex;
  std::unordered_set<const void*> starts;
};

Regions& regions() {
  static Regions& all = *new Regions();  // storages may outlive static destruction
  return all;
}

}  // namespace

Ref<Storage> allocate_shared(std::size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  check(data != MAP_FAILED, ErrorKind::Runtime, "no shared memory of {} bytes: {}", bytes,
        std::strerror(errno));
  {
    const std::lock_guard lock(regions().mutex);
    regions().starts.insert(data);
  }
  Ref<Storage> storage = Storage::wrap(data, bytes, kCPU, [data, bytes] {
    {
      const std::lock_guard lock(regions().mutex);
      regions().starts.erase(data);
    }
    munmap(data, bytes);
  });
  storage->exposures.store(1, std::memory_order_release);
  return storage;
}

bool is_shared(const Storage& storage) {
  const std::lock_guard lock(regions().mutex);
  return regions().starts.contains(storage.data());
}

}  // namespace tenon

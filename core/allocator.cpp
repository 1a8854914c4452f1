#include "core/allocator.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>

#include "core/chunks.h"
#include "core/env.h"
#include "core/error.h"
#include "core/log.h"
#include "core/poison.h"
#include "core/size_classes.h"
#include "core/system_memory.h"

namespace tenon {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
// Above this, asking the system whether it has so much costs nothing beside the page faults.
constexpr std::size_t kAskSystem = std::size_t{256} << 20;
constexpr std::size_t kMaxBytes = std::size_t{1} << 56;

std::int64_t total_memory() {
  return static_cast<std::int64_t>(
      std::min<std::size_t>(system_memory().total, std::size_t{1} << 62));
}

std::string readable(std::size_t bytes) {
  constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  int unit = 0;
  auto value = static_cast<double>(bytes);
  for (; value >= 1024 && unit < 6; ++unit) value /= 1024;
  if (unit == 0) return fmt::format("{} bytes", bytes);
  return fmt::format("{:.2f} {} ({} bytes)", value, kUnits[unit], bytes);
}

}  // namespace

// One for the process, never destroyed: storages may go during static destruction.
class Allocator {
 public:
  static Allocator& get() {
    static Allocator* allocator = new Allocator;
    return *allocator;
  }

  Ref<Storage> allocate(std::size_t bytes);
  void release(void* data, std::size_t capacity) noexcept;
  std::size_t trim() {
    const std::lock_guard lock(mutex_);
    return trim_to(0);
  }
  AllocatorStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }
  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.allocated;
    stats_.peak_reserved = stats_.reserved;
  }
  void set_cache_limit(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    cache_limit_ = bytes;
    trim_to(bytes);
  }
  std::size_t cache_limit() {
    const std::lock_guard lock(mutex_);
    return cache_limit_;
  }
  void set_memory_limit(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    memory_limit_ = bytes;
  }
  std::size_t memory_limit() {
    const std::lock_guard lock(mutex_);
    return memory_limit_;
  }
  std::size_t memory_room() {
    const std::lock_guard lock(mutex_);
    return memory_limit_ - std::min(memory_limit_, stats_.allocated);
  }
  void fail_every(std::uint64_t first, std::uint64_t then) {
    const std::lock_guard lock(mutex_);
    until_failure_ = first;
    fail_every_ = then;
  }

 private:
  Allocator();

  void push(std::size_t index, void* data, std::size_t capacity) noexcept;
  void* pop(std::size_t index, std::size_t capacity) noexcept;
  void* take(std::size_t capacity);
  void* system_allocate(std::size_t capacity);
  void system_free(void* data, std::size_t capacity) noexcept;
  std::size_t cached() const { return stats_.reserved - stats_.allocated; }
  std::size_t trim_to(std::size_t bytes, std::size_t keep_class = kSizeClasses) noexcept;
  [[noreturn]] void fail_out_of_memory(std::size_t bytes, bool injected);

  std::mutex mutex_;
  FreeBlock* free_[kSizeClasses] = {};
  Chunks chunks_;
  AllocatorStats stats_;
  std::size_t cache_limit_;
  std::size_t memory_limit_;
  std::uint64_t fail_every_ = 0;
  std::uint64_t until_failure_ = 0;
};

Allocator::Allocator() {
  memory_limit_ = default_memory_limit();
  cache_limit_ = static_cast<std::size_t>(env_bytes("TENON_CACHE_BYTES", total_memory() / 4));
  pthread_atfork([] { get().mutex_.lock(); }, [] { get().mutex_.unlock(); },
                 [] { get().mutex_.unlock(); });
}

void Allocator::push(std::size_t index, void* data, std::size_t capacity) noexcept {
  free_[index] = new (data) FreeBlock{free_[index]};
  // But for the link, which the leak checker follows.
  ASAN_POISON_MEMORY_REGION(free_[index] + 1, capacity - sizeof(FreeBlock));
}

// nullptr when the system has no more.
void* Allocator::system_allocate(std::size_t capacity) {
  if (Chunks::serves(capacity)) return chunks_.take(capacity);
  if (capacity < kHugePage) return std::aligned_alloc(kAlignment, capacity);
  if (capacity >= kAskSystem && capacity > system_memory().available) return nullptr;
  return map_huge(capacity, kHugePage);
}

void Allocator::system_free(void* data, std::size_t capacity) noexcept {
  ASAN_UNPOISON_MEMORY_REGION(data, capacity);
  if (Chunks::serves(capacity)) {
    chunks_.give_back(data, capacity);
  } else if (capacity < kHugePage) {
    std::free(data);
  } else {
    munmap(data, capacity);
  }
}

// nullptr if the class has no cached block.
void* Allocator::pop(std::size_t index, std::size_t capacity) noexcept {
  FreeBlock* block = free_[index];
  if (!block) return nullptr;
  ASAN_UNPOISON_MEMORY_REGION(block, capacity);
  free_[index] = block->next;
  return block;
}

// Frees cached blocks, the largest first and those of `keep_class` last, until `bytes` remain.
std::size_t Allocator::trim_to(std::size_t bytes, std::size_t keep_class) noexcept {
  std::size_t freed = 0;
  const auto empty_class = [&](std::size_t index) {
    const std::size_t capacity = class_capacity(index);
    while (cached() > bytes) {
      void* data = pop(index, capacity);
      if (!data) return;
      system_free(data, capacity);
      stats_.reserved -= capacity;
      freed += capacity;
    }
  };
  for (std::size_t index = kSizeClasses; index-- > 0 && cached() > bytes;) {
    if (index != keep_class) empty_class(index);
  }
  if (keep_class < kSizeClasses) empty_class(keep_class);
  return freed;
}

// A block from the cache or the system, nullptr if neither has one. The lock is held.
void* Allocator::take(std::size_t capacity) {
  if (stats_.allocated + capacity > memory_limit_) return nullptr;
  if (void* data = pop(class_index(capacity), capacity)) return data;
  if (stats_.reserved + capacity > memory_limit_) {
    trim_to(memory_limit_ - stats_.allocated - capacity);
  }
  void* data = system_allocate(capacity);
  if (!data) {
    if (const std::size_t freed = trim_to(0)) {
      log(Category::Memory, "out of memory: gave {} back to the system and tried again",
          readable(freed));
      data = system_allocate(capacity);
    }
  }
  if (data) {
    stats_.reserved += capacity;
    ++stats_.system_allocations;
  }
  return data;
}

Ref<Storage> Allocator::allocate(std::size_t bytes) {
  void* data = nullptr;
  bool injected = false;
  const std::size_t capacity = bytes <= kMaxBytes ? class_bytes(bytes) : 0;
  {
    const std::lock_guard lock(mutex_);
    if (until_failure_ > 0) injected = --until_failure_ == 0;
    if (injected) {
      until_failure_ = fail_every_;
    } else if (capacity) {
      data = take(capacity);
    }
    if (data) {
      stats_.allocated += capacity;
      stats_.peak = std::max(stats_.peak, stats_.allocated);
      stats_.peak_reserved = std::max(stats_.peak_reserved, stats_.reserved);
      ++stats_.allocations;
    }
  }
  if (!data) fail_out_of_memory(bytes, injected);
  try {
    return Ref<Storage>(new Storage(data, bytes, capacity, kCPU, true, false, nullptr));
  } catch (const std::bad_alloc&) {
    release(data, capacity);
    fail_out_of_memory(bytes, false);
  }
}

void Allocator::release(void* data, std::size_t capacity) noexcept {
  const std::size_t index = class_index(capacity);
  const std::lock_guard lock(mutex_);
  stats_.allocated -= capacity;
  ++stats_.frees;
  if (capacity <= cache_limit_) {
    // What other sizes left behind goes before what was used last.
    if (cached() > cache_limit_) trim_to(cache_limit_, index);
    return push(index, data, capacity);
  }
  stats_.reserved -= capacity;
  system_free(data, capacity);
}

void Allocator::fail_out_of_memory(std::size_t bytes, bool injected) {
  const AllocatorStats now = stats();
  const std::size_t limit = memory_limit();
  const std::size_t allowed = limit - std::min(limit, now.allocated);
  const std::size_t available = std::min(allowed, system_memory().available);
  fail(ErrorKind::OutOfMemory,
       "out of memory{}: asked for {}, free {}; live tensors hold {}, the cache {}. Use smaller "
       "batches, or release tensors that are no longer needed",
       injected ? " (injected)" : "", readable(bytes), readable(available), readable(now.allocated),
       readable(now.reserved - now.allocated));
}

namespace {
// Made when the library is loaded: a fork during its construction would leave the child waiting for
// a thread it doesn't have.
[[maybe_unused]] const Allocator& g_allocator = Allocator::get();
}  // namespace

Ref<Storage> allocate(std::size_t bytes) { return Allocator::get().allocate(bytes); }
AllocatorStats allocator_stats() { return Allocator::get().stats(); }
void reset_peak() { Allocator::get().reset_peak(); }
std::size_t trim() { return Allocator::get().trim(); }
void set_cache_limit(std::size_t bytes) { Allocator::get().set_cache_limit(bytes); }
std::size_t cache_limit() { return Allocator::get().cache_limit(); }
void set_memory_limit(std::size_t bytes) { Allocator::get().set_memory_limit(bytes); }
std::size_t memory_limit() { return Allocator::get().memory_limit(); }
std::size_t default_memory_limit() {
  return static_cast<std::size_t>(env_bytes("TENON_MEMORY_LIMIT", total_memory()));
}
std::size_t memory_room() { return Allocator::get().memory_room(); }
void fail_every(std::uint64_t k) { Allocator::get().fail_every(k, k); }
void fail_once(std::uint64_t k) { Allocator::get().fail_every(k, 0); }

namespace detail {
void release_block(void* data, std::size_t capacity) noexcept {
  Allocator::get().release(data, capacity);
}
}  // namespace detail

}  // namespace tenon

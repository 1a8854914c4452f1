#include "core/allocator.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include "core/device.h"
#include "tests/core/expect_error.h"

using namespace tenon;

namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

// Restores limits, and starts and ends with an empty cache.
class CleanAllocator {
 public:
  CleanAllocator() : cache_(cache_limit()), memory_(memory_limit()) { trim(); }
  ~CleanAllocator() {
    fail_every(0);
    set_cache_limit(cache_);
    set_memory_limit(memory_);
    trim();
  }

 private:
  std::size_t cache_;
  std::size_t memory_;
};

std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * 4096;
}

std::uintptr_t address(const Ref<Storage>& storage) {
  return reinterpret_cast<std::uintptr_t>(storage->data());
}

}  // namespace

TEST_CASE("alignment and capacity for every size class") {
  const CleanAllocator clean;
  for (std::size_t bytes = 0; bytes < 80 * kMiB; bytes += bytes / 13 + 1) {
    const Ref<Storage> storage = allocate(bytes);
    REQUIRE(storage->data() != nullptr);
    REQUIRE(storage->bytes() == bytes);
    REQUIRE(storage->capacity() >= bytes);
    REQUIRE(storage->capacity() <= std::max<std::size_t>(bytes + bytes / 8 + 64, 64));
    REQUIRE(address(storage) % (storage->capacity() >= 2 * kMiB ? 2 * kMiB : 64) == 0);
    std::memset(storage->data(), 0xab, storage->capacity() > kMiB ? 64 : storage->capacity());
    storage->as<char>()[storage->capacity() - 1] = 1;
  }
  trim();
  const AllocatorStats stats = allocator_stats();
  CHECK(stats.reserved == stats.allocated);  // each block went back with the size it came with
}

TEST_CASE("freed blocks are used again") {
  const CleanAllocator clean;
  Ref<Storage> first = allocate(3 * kMiB);
  void* data = first->data();
  first.reset();
  const AllocatorStats before = allocator_stats();
  const Ref<Storage> second = allocate(3 * kMiB - 100);
  CHECK(second->data() == data);
  CHECK(allocator_stats().system_allocations == before.system_allocations);
  CHECK(allocator_stats().allocations == before.allocations + 1);
}

TEST_CASE("medium blocks are cut from huge pages, which go back when none is in use") {
  const CleanAllocator clean;
  trim();
  std::vector<Ref<Storage>> blocks;
  std::mt19937 random(3);
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 200; ++i) {
      blocks.push_back(allocate((64 << 10) + random() % ((2 << 20) - (64 << 10))));
      const std::size_t bytes = blocks.back()->bytes();
      std::memset(blocks.back()->data(), i, bytes);
      std::swap(blocks[random() % blocks.size()], blocks.back());
    }
    for (int i = 0; i < 150; ++i) blocks.pop_back();
    if (round % 2 == 0) trim();                 // beside blocks that live
    for (const Ref<Storage>& block : blocks) {  // nobody else writes there
      const auto* bytes = block->as<unsigned char>();
      REQUIRE(bytes[0] == bytes[block->bytes() - 1]);
      REQUIRE(bytes[0] == bytes[block->bytes() / 2]);
    }
  }
  const std::size_t before = resident_bytes();
  blocks.clear();
  trim();
  CHECK(allocator_stats().reserved == allocator_stats().allocated);
  CHECK(resident_bytes() + (100 << 20) < before);
}

TEST_CASE("statistics") {
  const CleanAllocator clean;
  const AllocatorStats start = allocator_stats();
  reset_peak();
  {
    const Ref<Storage> a = allocate(4 * kMiB);
    const Ref<Storage> b = allocate(8 * kMiB);
    CHECK(allocator_stats().allocated == start.allocated + 12 * kMiB);
  }
  AllocatorStats now = allocator_stats();
  CHECK(now.allocated == start.allocated);
  CHECK(now.peak == start.allocated + 12 * kMiB);
  CHECK(now.reserved == start.reserved + 12 * kMiB);
  CHECK(now.allocations - now.frees == start.allocations - start.frees);
  CHECK(trim() == 12 * kMiB);
  now = allocator_stats();
  CHECK(now.reserved == start.reserved);
  reset_peak();
  CHECK(allocator_stats().peak == now.allocated);
}

TEST_CASE("the cache stays below its limit, and old sizes go first") {
  const CleanAllocator clean;
  const AllocatorStats start = allocator_stats();
  const auto cached = [&] {
    const AllocatorStats now = allocator_stats();
    return now.reserved - now.allocated;
  };
  set_cache_limit(16 * kMiB);
  allocate(12 * kMiB);
  CHECK(cached() == 12 * kMiB);
  void* data = nullptr;
  {
    const Ref<Storage> kept = allocate(8 * kMiB);
    data = kept->data();
  }
  CHECK(cached() == 8 * kMiB);
  CHECK(allocate(8 * kMiB)->data() == data);
  allocate(32 * kMiB);  // larger than the limit: never cached
  CHECK(cached() == 8 * kMiB);
  set_cache_limit(0);
  CHECK(cached() == 0);
  allocate(64);
  CHECK(cached() == 0);
  CHECK(allocator_stats().allocated == start.allocated);
}

TEST_CASE("128 TiB are refused with what was asked and what is free") {
  const CleanAllocator clean;
  const AllocatorStats start = allocator_stats();
  for (const std::size_t bytes : {std::size_t{128} << 40, SIZE_MAX, SIZE_MAX / 2}) {
    testing::expect_error(ErrorKind::OutOfMemory,
                          {"asked for", std::to_string(bytes).c_str(), "free"},
                          [&] { allocate(bytes); });
  }
  testing::expect_error(ErrorKind::OutOfMemory, {"128.00 TiB (140737488355328 bytes)"},
                        [] { allocate(std::size_t{128} << 40); });
  CHECK(allocator_stats().allocated == start.allocated);
  CHECK(allocate(1000)->data() != nullptr);
}

TEST_CASE("at the memory limit the cache makes room") {
  const CleanAllocator clean;
  const std::size_t live = allocator_stats().allocated;
  set_memory_limit(live + 20 * kMiB);
  allocate(12 * kMiB);  // freed at once: cached
  const Ref<Storage> other = allocate(16 * kMiB);
  CHECK(allocator_stats().reserved <= live + 20 * kMiB);
  testing::expect_error(ErrorKind::OutOfMemory, {"asked for 8.00 MiB", "free 4.00 MiB"},
                        [] { allocate(8 * kMiB); });
  CHECK(allocate(4 * kMiB)->data() != nullptr);
}

TEST_CASE("every k-th allocation fails on request, and nothing leaks") {
  const CleanAllocator clean;
  const AllocatorStats start = allocator_stats();
  fail_every(3);
  int failures = 0;
  for (int i = 0; i < 30; ++i) {
    try {
      const Ref<Storage> storage = allocate(1000);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::OutOfMemory);
      ++failures;
      CHECK(i % 3 == 2);
    }
  }
  CHECK(failures == 10);
  fail_every(0);
  for (int i = 0; i < 10; ++i) allocate(1000);
  CHECK(allocator_stats().allocated == start.allocated);
}

TEST_CASE("wrapped memory calls its deleter once") {
  int deleted = 0;
  char bytes[16] = {};
  {
    const Ref<Storage> storage =
        Storage::wrap(bytes, sizeof(bytes), kCPU, [&] { ++deleted; }, true);
    const Ref<Storage> other = storage;
    CHECK(storage->data() == bytes);
    CHECK(storage->read_only());
    CHECK_FALSE(storage->is_owned());
    CHECK_FALSE(storage->is_exposed());
    ++storage->exposures;
    CHECK(other->is_exposed());
    CHECK(deleted == 0);
  }
  CHECK(deleted == 1);
  CHECK_NOTHROW(Storage::wrap(bytes, 16, kCPU, nullptr));
  const Ref<Storage> meta = Storage::meta(1000);
  CHECK(meta->data() == nullptr);
  CHECK(meta->bytes() == 1000);
  CHECK(meta->device() == kMeta);
}

TEST_CASE("threads allocate and free each other's blocks") {
  const CleanAllocator clean;
  const AllocatorStats start = allocator_stats();
  std::vector<std::thread> threads;
  std::vector<Ref<Storage>> exchange(64);
  std::mutex mutex;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 3000; ++i) {
        const std::size_t bytes = std::size_t{1} << (random() % 18);
        Ref<Storage> mine = allocate(bytes);
        std::memset(mine->data(), static_cast<int>(t), bytes);
        REQUIRE(mine->as<unsigned char>()[bytes - 1] == t);
        const std::lock_guard lock(mutex);
        exchange[random() % exchange.size()].swap(mine);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  exchange.clear();
  CHECK(allocator_stats().allocated == start.allocated);
}

#include "core/chunks.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#include "core/poison.h"

namespace tenon {
namespace {
constexpr std::uintptr_t kPage = 4096;
}

void* map_huge(std::size_t bytes, std::size_t alignment) {
  // mmap aligns to 4 KiB: map more and cut off both ends.
  const std::size_t mapped = bytes + alignment;
  void* raw = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  const auto misaligned = reinterpret_cast<std::uintptr_t>(raw) % alignment;
  const std::size_t before = misaligned ? alignment - misaligned : 0;
  const std::size_t after = mapped - before - bytes;
  std::byte* data = static_cast<std::byte*>(raw) + before;
  if (before) munmap(raw, before);
  if (after) munmap(data + bytes, after);
  madvise(data, bytes, MADV_HUGEPAGE);  // only a hint: not all kernels have it
  return data;
}

Chunks::Chunk& Chunks::chunk_of(void* block) {
  const std::size_t inside = reinterpret_cast<std::uintptr_t>(block) % kBytes;
  return *reinterpret_cast<Chunk*>(static_cast<std::byte*>(block) - inside);
}

void* Chunks::take(std::size_t capacity) {
  FreeBlock*& holes = holes_of(capacity);
  void* block = holes;
  if (block) {
    ASAN_UNPOISON_MEMORY_REGION(block, capacity);
    holes = holes->next;
  } else {
    if (static_cast<std::size_t>(end_ - open_) < capacity && !open()) return nullptr;
    block = open_;
    open_ += capacity;
  }
  ++chunk_of(block).used;
  return block;
}

bool Chunks::open() {
  void* data = map_huge(kBytes, kBytes);
  if (!data) return false;
  close();
  new (data) Chunk{0};
  open_ = static_cast<std::byte*>(data) + kHeader;
  end_ = static_cast<std::byte*>(data) + kBytes;
  return true;
}

// What is left of the open chunk becomes blocks of smaller classes.
void Chunks::close() noexcept {
  for (std::size_t index = kClasses; index-- > 0;) {
    const std::size_t capacity = class_capacity(kFirst + index);
    while (static_cast<std::size_t>(end_ - open_) >= capacity) {
      put(open_, capacity);
      open_ += capacity;
    }
  }
}

void Chunks::put(void* block, std::size_t capacity) noexcept {
  FreeBlock*& list = holes_of(capacity);
  list = new (block) FreeBlock{list};
  ASAN_POISON_MEMORY_REGION(list + 1, capacity - sizeof(FreeBlock));
}

void Chunks::give_back(void* block, std::size_t capacity) noexcept {
  Chunk& chunk = chunk_of(block);
  ASAN_UNPOISON_MEMORY_REGION(block, capacity);
  if (--chunk.used == 0) return unmap(chunk);
  const auto begin = reinterpret_cast<std::uintptr_t>(block);
  // But for the page of the link.
  const std::uintptr_t from = (begin + sizeof(FreeBlock) + kPage - 1) / kPage * kPage;
  const std::uintptr_t to = (begin + capacity) / kPage * kPage;
  madvise(static_cast<std::byte*>(block) + (from - begin), to - from, MADV_DONTNEED);
  put(block, capacity);
}

void Chunks::unmap(Chunk& chunk) noexcept {
  for (FreeBlock*& list : holes_) {
    for (FreeBlock** at = &list; *at;) {
      if (&chunk_of(*at) == &chunk) {
        *at = (*at)->next;
      } else {
        at = &(*at)->next;
      }
    }
  }
  auto* data = reinterpret_cast<std::byte*>(&chunk);
  if (end_ == data + kBytes) open_ = end_ = nullptr;
  ASAN_UNPOISON_MEMORY_REGION(data, kBytes);
  munmap(data, kBytes);
}

}  // namespace tenon

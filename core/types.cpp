#include "core/types.h"

#include <pthread.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "core/error.h"
#include "core/hash.h"
#include "core/shape.h"

namespace tenon {

namespace detail {
std::atomic<const Type*> type_chunks[kTypeChunks];
}  // namespace detail

namespace {

using detail::kTypeChunkBits;
using detail::kTypeChunks;
using detail::kTypeChunkSize;

// All types of the process. Never destroyed: ids may be used during static destruction.
class Table {
 public:
  static Table& get() {
    static Table* table = new Table;
    return *table;
  }

  TypeId find_or_add(DType dtype, Device device, std::span<const std::int64_t> dims,
                     std::span<const std::int64_t> strides);
  std::uint32_t count() {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  Table() : slots_(1024, kNoType) {
    // A fork while another thread interns must not leave the child with a locked table.
    pthread_atfork([] { get().mutex_.lock(); }, [] { get().mutex_.unlock(); },
                   [] { get().mutex_.unlock(); });
  }

  TypeId add(const Type& type);
  const std::int64_t* store(std::span<const std::int64_t> values);
  void grow();

  std::mutex mutex_;
  std::uint32_t count_ = 0;
  std::vector<TypeId> slots_;              // open addressing, a power of two
  std::vector<std::uint32_t> hashes_;      // by id
  std::unique_ptr<std::int64_t[]> block_;  // where dims and strides are written
  std::size_t block_left_ = 0;
  std::vector<std::unique_ptr<std::int64_t[]>> full_blocks_;
};

// Made when the library is loaded: a fork during its construction would leave the child waiting for
// a thread it doesn't have.
[[maybe_unused]] const Table& g_table = Table::get();

std::uint32_t full_hash(DType dtype, Device device, std::span<const std::int64_t> dims,
                        std::span<const std::int64_t> strides) {
  const std::uint64_t seed =
      static_cast<std::uint64_t>(dtype) | static_cast<std::uint64_t>(device.kind) << 8 |
      static_cast<std::uint64_t>(static_cast<std::uint8_t>(device.index)) << 16;
  return static_cast<std::uint32_t>(
      hash64(std::as_bytes(strides), hash64(std::as_bytes(dims), seed)));
}

bool equal(std::span<const std::int64_t> a, const std::int64_t* b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

const std::int64_t* Table::store(std::span<const std::int64_t> values) {
  constexpr std::size_t kBlock = 8192;
  if (values.size() > block_left_) {
    if (block_) full_blocks_.push_back(std::move(block_));
    block_ = std::make_unique<std::int64_t[]>(kBlock);
    block_left_ = kBlock;
  }
  std::int64_t* where = block_.get() + (kBlock - block_left_);
  std::ranges::copy(values, where);
  block_left_ -= values.size();
  return where;
}

TypeId Table::add(const Type& type) {
  const TypeId id = count_;
  const std::uint32_t chunk = id >> kTypeChunkBits;
  check(chunk < kTypeChunks, ErrorKind::Runtime, "more than {} different tensor types",
        std::uint64_t{kTypeChunks} * kTypeChunkSize);
  // Written before the id is handed out; whoever has the id got it through a synchronization.
  Type* types = const_cast<Type*>(detail::type_chunks[chunk].load(std::memory_order_relaxed));
  if (!types) {
    types = new Type[kTypeChunkSize];
    detail::type_chunks[chunk].store(types, std::memory_order_release);
  }
  types[id & (kTypeChunkSize - 1)] = type;
  ++count_;
  return id;
}

void Table::grow() {
  std::vector<TypeId> slots(slots_.size() * 2, kNoType);
  for (TypeId id = 0; id < count_; ++id) {
    std::size_t at = hashes_[id] & (slots.size() - 1);
    while (slots[at] != kNoType) at = (at + 1) & (slots.size() - 1);
    slots[at] = id;
  }
  slots_ = std::move(slots);
}

TypeId Table::find_or_add(DType dtype, Device device, std::span<const std::int64_t> dims,
                          std::span<const std::int64_t> strides) {
  const std::uint32_t hash = full_hash(dtype, device, dims, strides);
  const std::lock_guard lock(mutex_);
  std::size_t at = hash & (slots_.size() - 1);
  for (; slots_[at] != kNoType; at = (at + 1) & (slots_.size() - 1)) {
    const TypeId id = slots_[at];
    if (hashes_[id] != hash) continue;
    const Type& type = type_of(id);
    if (type.dtype == dtype && type.device == device && type.rank == dims.size() &&
        equal(dims, type.dims_) && equal(strides, type.strides_)) {
      return id;
    }
  }
  // So that nothing throws once the type is in its chunk.
  if (hashes_.size() == hashes_.capacity()) hashes_.reserve(2 * hashes_.size() + 1024);

  Type type;
  type.dtype = dtype;
  type.device = device;
  type.rank = static_cast<std::uint8_t>(dims.size());
  type.numel = checked_numel(dims);
  type.contiguous = is_contiguous(dims, strides);
  type.canonical = contiguous_strides(dims) == Dims(strides);
  type.dims_ = store(dims);
  type.strides_ = store(strides);
  const TypeId id = add(type);
  hashes_.push_back(hash);
  slots_[at] = id;
  if (2 * std::size_t{count_} > slots_.size()) grow();
  return id;
}

// What this thread interned lately: sets of two, the newer first. A cheap hash suffices: a
// collision costs a visit to the table, never a wrong answer.
struct CacheEntry {
  std::uint32_t tag = 0;  // bits of the cheap hash, so that a foreign entry is not dereferenced
  TypeId id = kNoType;
};
constexpr int kSetBits = 10;

struct CacheSet {
  CacheEntry ways[2];

  // The id in the set that `matches` accepts, or kNoType.
  template <class Matches>
  TypeId find(std::uint32_t tag, Matches matches) const {
    for (const CacheEntry& entry : ways) {
      if (entry.tag == tag && entry.id != kNoType && matches(type_of(entry.id))) return entry.id;
    }
    return kNoType;
  }
  void add(CacheEntry entry) {
    ways[1] = ways[0];
    ways[0] = entry;
  }
};

struct Cache {
  CacheSet sets[1 << kSetBits];
};
// A pointer, not the cache itself: a library that is loaded late finds little thread-local space.
constinit thread_local std::unique_ptr<Cache> t_cache;

constexpr std::uint64_t kMultiplier = 0x9e3779b97f4a7c15u;

inline std::uint64_t mix(std::uint64_t hash, std::int64_t value) {
  return (hash ^ static_cast<std::uint64_t>(value)) * kMultiplier;
}

inline std::uint64_t cheap_hash(DType dtype, Device device, std::span<const std::int64_t> dims,
                                std::uint64_t salt) {
  std::uint64_t hash = (static_cast<std::uint64_t>(dtype) | dims.size() << 8 | salt << 16 |
                        static_cast<std::uint64_t>(device.kind) << 24 |
                        static_cast<std::uint64_t>(static_cast<std::uint8_t>(device.index)) << 32) *
                       kMultiplier;
  for (const std::int64_t dim : dims) hash = mix(hash >> 29 ^ hash, dim);
  return hash;
}

inline CacheSet& set_of(std::uint64_t hash) {
  if (!t_cache) [[unlikely]]
    t_cache = std::make_unique<Cache>();
  return t_cache->sets[hash >> (64 - kSetBits)];
}

void check_rank(std::size_t rank) {
  check(rank <= kMaxRank, ErrorKind::Runtime, "a tensor has at most {} dimensions, got {}",
        kMaxRank, rank);
}

}  // namespace

TypeId intern(DType dtype, Device device, std::span<const std::int64_t> dims,
              std::span<const std::int64_t> strides) {
  std::uint64_t hash = cheap_hash(dtype, device, dims, 1);
  for (const std::int64_t stride : strides) hash = mix(hash >> 29 ^ hash, stride);
  const auto tag = static_cast<std::uint32_t>(hash >> 16);
  CacheSet& set = set_of(hash);
  const TypeId known = set.find(tag, [&](const Type& type) {
    return type.dtype == dtype && type.rank == dims.size() && type.device == device &&
           strides.size() == dims.size() && equal(dims, type.dims_) &&
           equal(strides, type.strides_);
  });
  if (known != kNoType) return known;

  check_rank(dims.size());
  check(dims.size() == strides.size(), ErrorKind::Internal, "dims {} with strides {}", shown(dims),
        shown(strides));
  const TypeId id = Table::get().find_or_add(dtype, device, dims, strides);
  set.add({tag, id});
  return id;
}

TypeId intern_contiguous(DType dtype, Device device, std::span<const std::int64_t> dims) {
  const std::uint64_t hash = cheap_hash(dtype, device, dims, 0);
  const auto tag = static_cast<std::uint32_t>(hash >> 16);
  CacheSet& set = set_of(hash);
  const TypeId known = set.find(tag, [&](const Type& type) {
    return type.dtype == dtype && type.rank == dims.size() && type.canonical &&
           type.device == device && equal(dims, type.dims_);
  });
  if (known != kNoType) return known;

  check_rank(dims.size());
  const TypeId id = Table::get().find_or_add(dtype, device, dims, contiguous_strides(dims));
  set.add({tag, id});
  return id;
}

bool is_dense(const Type& type) {
  if (type.canonical) return true;
  std::int64_t span = 1;
  for (int i = 0; i < type.rank; ++i) {
    if (type.dims()[i] == 0) return true;
    span += (type.dims()[i] - 1) * type.strides()[i];
  }
  return span == type.numel;
}

TypeId dense_type(TypeId id) {
  const Type& type = type_of(id);
  return is_dense(type) ? id : intern_contiguous(type.dtype, type.device, type.dims());
}

std::uint32_t type_count() { return Table::get().count(); }

std::int64_t dense_bytes(const Type& type) {
  std::int64_t bytes = 0;
  check(!__builtin_mul_overflow(type.numel, static_cast<std::int64_t>(size_of(type.dtype)), &bytes),
        ErrorKind::Runtime, "Storage size calculation overflowed with sizes={} of {}",
        shown(type.dims()), name_of(type.dtype));
  return bytes;
}

}  // namespace tenon

// Interned tensor types: (dtype, device, dims, strides) as one integer.
//
// Ids are process-wide and live as long as the process. type_of() takes no lock: types sit in
// chunks that never move. intern() of a type seen before costs about 10 ns: a small cache of the
// thread answers; behind it is one table under a mutex.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "core/device.h"
#include "core/dtype.h"
#include "core/small_vector.h"

namespace tenon {

using TypeId = std::uint32_t;
inline constexpr TypeId kNoType = 0xffffffffu;

struct Type {
  DType dtype;
  Device device;
  std::uint8_t rank;
  bool contiguous;  // as PyTorch's is_contiguous
  bool canonical;   // strides are exactly those of intern_contiguous
  std::int64_t numel;
  const std::int64_t* dims_;
  const std::int64_t* strides_;  // in elements, PyTorch's logical strides

  std::span<const std::int64_t> dims() const { return {dims_, rank}; }
  std::span<const std::int64_t> strides() const { return {strides_, rank}; }
  std::int64_t dim(int i) const { return dims_[i]; }
};
static_assert(sizeof(Type) == 32);

inline constexpr int kMaxRank = 64;  // as PyTorch

namespace detail {
inline constexpr int kTypeChunkBits = 10;
inline constexpr std::uint32_t kTypeChunkSize = 1u << kTypeChunkBits;
inline constexpr std::uint32_t kTypeChunks = 1u << 16;  // 64 Mi types
extern std::atomic<const Type*> type_chunks[kTypeChunks];
}  // namespace detail

// Runtime error with the sizes for a negative dimension, a product above 2^63 - 1, or more than
// kMaxRank dims.
TypeId intern(DType dtype, Device device, std::span<const std::int64_t> dims,
              std::span<const std::int64_t> strides);
// The type with row-major strides.
TypeId intern_contiguous(DType dtype, Device device, std::span<const std::int64_t> dims);

inline const Type& type_of(TypeId id) {
  const Type* chunk =
      detail::type_chunks[id >> detail::kTypeChunkBits].load(std::memory_order_acquire);
  return chunk[id & (detail::kTypeChunkSize - 1)];
}

// Whether its elements fill its range of memory, in some order.
bool is_dense(const Type& type);
// The same where it is dense, else the type with row-major strides.
TypeId dense_type(TypeId id);

// How many types exist.
std::uint32_t type_count();

// Bytes of a dense buffer for the type. Runtime error if they don't fit 63 bits.
std::int64_t dense_bytes(const Type& type);

}  // namespace tenon

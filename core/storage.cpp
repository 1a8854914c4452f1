#include "core/storage.h"

#include <utility>

#include "core/allocator.h"

namespace tenon {

Storage::Storage(void* data, std::size_t bytes, std::size_t capacity, Device device, bool owned,
                 bool read_only, std::function<void()> deleter)
    : data_(data),
      bytes_(bytes),
      capacity_(capacity),
      device_(device),
      owned_(owned),
      read_only_(read_only),
      deleter_(std::move(deleter)) {}

Storage::~Storage() {
  if (deleter_) {
    deleter_();
  } else if (owned_) {
    detail::release_block(data_, capacity_);
  }
}

Ref<Storage> Storage::wrap(void* data, std::size_t bytes, Device device,
                           std::function<void()> deleter, bool read_only) {
  return Ref<Storage>(
      new Storage(data, bytes, bytes, device, false, read_only, std::move(deleter)));
}

Ref<Storage> Storage::own(void* data, std::size_t bytes, Device device,
                          std::function<void()> deleter) {
  return Ref<Storage>(new Storage(data, bytes, bytes, device, true, false, std::move(deleter)));
}

Ref<Storage> Storage::meta(std::size_t bytes) {
  return Ref<Storage>(new Storage(nullptr, bytes, bytes, kMeta, false, false, nullptr));
}

}  // namespace tenon

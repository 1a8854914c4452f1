#include "nn/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <unordered_set>

#include "core/allocator.h"
#include "core/error.h"
#include "nn/atomic_file.h"

namespace tenon {

using safetensors::Entry;
using safetensors::Header;

static_assert(std::endian::native == std::endian::little, "safetensors files are little endian");

namespace {

constexpr uint64_t kPrefixBytes = 8;

class InputFile {
 public:
  explicit InputFile(const std::string& path) : path_(path) {
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0) {
      const int code = errno;
      fail(ErrorKind::OS, "loading '{}': {} ({})", path, std::strerror(code), code);
    }
  }
  ~InputFile() { ::close(descriptor_); }
  InputFile(const InputFile&) = delete;

  uint64_t size() const {
    struct stat status;
    check(::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode), ErrorKind::Value,
          "safetensors: '{}' is not a regular file", path_);
    return static_cast<uint64_t>(status.st_size);
  }

  void read(void* into, uint64_t bytes, uint64_t offset) const {
    auto* at = static_cast<char*>(into);
    while (bytes > 0) {
      constexpr uint64_t kMost = uint64_t{1} << 30;
      const ssize_t got =
          ::pread(descriptor_, at, std::min(bytes, kMost), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        const int code = errno;
        fail(ErrorKind::OS, "reading '{}': {} ({})", path_, std::strerror(code), code);
      }
      check(got > 0, ErrorKind::Value, "safetensors: '{}' was shortened while it was read", path_);
      at += got;
      offset += static_cast<uint64_t>(got);
      bytes -= static_cast<uint64_t>(got);
    }
  }

 private:
  std::string path_;
  int descriptor_;
};

Header header_of(const TensorDict& tensors, const safetensors::Metadata& metadata) {
  Header header{{}, metadata};
  std::unordered_set<std::string_view> seen;
  for (const auto& [name, tensor] : tensors) {
    check(name != "__metadata__" && safetensors::is_utf8(name), ErrorKind::Value,
          "safetensors: '{}' can't be the name of a tensor", name);
    check(seen.insert(name).second, ErrorKind::Value, "safetensors: the name '{}' comes twice",
          name);
    header.entries.push_back({name, tensor.dtype(), Dims(tensor.dims()), 0, 0});
  }
  for (const auto& [key, text] : metadata) {
    check(safetensors::is_utf8(key) && safetensors::is_utf8(text), ErrorKind::Value,
          "safetensors: metadata must be UTF-8");
  }
  return header;
}

}  // namespace

void save_safetensors(const std::string& path, const TensorDict& tensors,
                      const safetensors::Metadata& metadata) {
  Header header = header_of(tensors, metadata);
  // Wide elements first, so that every tensor is aligned to its elements.
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0);
  const auto width = [&](size_t i) { return size_of(header.entries[i].dtype); };
  std::ranges::sort(order, [&](size_t a, size_t b) {
    return width(a) != width(b) ? width(a) > width(b) : a < b;
  });
  uint64_t reached = 0;
  for (const size_t i : order) {
    Entry& entry = header.entries[i];
    entry.begin = reached;
    const auto numel = static_cast<uint64_t>(tensors[i].second.numel());
    entry.end = reached += numel * size_of(entry.dtype);
  }
  const std::string text = safetensors::format_header(header);
  check(text.size() <= safetensors::kMaxHeaderBytes, ErrorKind::Value,
        "safetensors: a header of {} bytes, more than readers accept", text.size());
  for (const auto& [name, tensor] : tensors) tensor.evaluate();  // errors come before any file

  AtomicFile file(path);
  const uint64_t length = text.size();
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(text)));
  for (const size_t i : order) {
    const Tensor& tensor = tensors[i].second;
    const Buffer buffer = tensor.evaluate();
    const Type& type = type_of(buffer.type);
    if (type.contiguous && type.device.is_cpu()) {
      const size_t width = size_of(type.dtype);
      const auto* data = buffer.storage->as<std::byte>() + buffer.offset * width;
      file.write({data, static_cast<size_t>(type.numel) * width});
    } else {
      file.write(tensor.to_bytes());
    }
  }
  file.commit();
}

SafetensorsFile load_safetensors(const std::string& path) {
  const InputFile file(path);
  const uint64_t size = file.size();
  check(size >= kPrefixBytes, ErrorKind::Value,
        "safetensors: '{}' has {} bytes, too few for the length of a header", path, size);
  uint64_t length = 0;
  file.read(&length, kPrefixBytes, 0);
  check(length <= safetensors::kMaxHeaderBytes && length <= size - kPrefixBytes, ErrorKind::Value,
        "safetensors: '{}' claims a header of {} bytes (the file has {}, readers accept {})", path,
        length, size, safetensors::kMaxHeaderBytes);
  std::string text(length, '\0');
  file.read(text.data(), length, kPrefixBytes);
  const uint64_t start = kPrefixBytes + length;
  Header header = safetensors::parse_header(text, size - start);

  SafetensorsFile result{{}, std::move(header.metadata)};
  result.tensors.reserve(header.entries.size());
  for (Entry& entry : header.entries) {
    const uint64_t bytes = entry.end - entry.begin;
    Buffer buffer{allocate(bytes), 0, intern_contiguous(entry.dtype, Device{}, entry.dims)};
    file.read(buffer.storage->data(), bytes, start + entry.begin);
    if (entry.dtype == DType::Bool) {  // any other byte than 0 and 1 is no bool
      auto* elements = buffer.storage->as<uint8_t>();
      std::transform(elements, elements + bytes, elements, [](uint8_t b) { return b != 0; });
    }
    result.tensors.emplace_back(std::move(entry.name), from_buffer(std::move(buffer)));
  }
  return result;
}

}  // namespace tenon

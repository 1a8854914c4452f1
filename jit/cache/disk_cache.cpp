#include "jit/cache/disk_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <mutex>

#include "core/env.h"
#include "core/log.h"

namespace tenon::jit {

namespace fs = std::filesystem;

namespace {

constexpr uint32_t kFormat = 1;
constexpr char kMagic[8] = {'T', 'E', 'N', 'O', 'N', 'O', 'B', 'J'};
constexpr const char* kSuffix = ".kernel";
constexpr const char* kTemporary = ".writing-";

struct Header {
  char magic[8];
  uint32_t format;
  uint32_t header_bytes;
  Hash128 key;
  Hash128 maker;
  Hash128 checksum;
  uint64_t payload_bytes;
};
static_assert(sizeof(Header) == 72);

struct File {
  int descriptor;
  explicit File(int descriptor) : descriptor(descriptor) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor >= 0) ::close(descriptor);
  }
};

bool read_all(int descriptor, void* to, size_t bytes) {
  auto* at = static_cast<std::byte*>(to);
  while (bytes > 0) {
    const ssize_t got = ::read(descriptor, at, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

bool write_all(int descriptor, const void* from, size_t bytes) {
  const auto* at = static_cast<const std::byte*>(from);
  while (bytes > 0) {
    const ssize_t put = ::write(descriptor, at, bytes);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    at += put;
    bytes -= static_cast<size_t>(put);
  }
  return true;
}

struct Entry {
  fs::path path;
  int64_t bytes;
  fs::file_time_type used;
};

std::vector<Entry> list_entries(const fs::path& folder) {
  std::vector<Entry> entries;
  std::error_code error;
  const auto now = fs::file_time_type::clock::now();
  for (const auto& file : fs::directory_iterator(folder, error)) {
    std::error_code gone;  // another process may delete it meanwhile
    const auto used = file.last_write_time(gone);
    const auto bytes = gone ? 0 : file.file_size(gone);
    if (gone) continue;
    const std::string name = file.path().filename().string();
    if (name.starts_with(kTemporary)) {
      // Left by a process that was killed while it wrote.
      if (now - used > std::chrono::hours(1)) fs::remove(file.path(), gone);
    } else if (name.ends_with(kSuffix)) {
      entries.push_back({file.path(), static_cast<int64_t>(bytes), used});
    }
  }
  return entries;
}

}  // namespace

DiskCache::DiskCache(fs::path folder, int64_t limit_bytes, Hash128 maker)
    : folder_(std::move(folder)), limit_bytes_(limit_bytes), maker_(maker) {}

fs::path DiskCache::path_of(Hash128 key) const { return folder_ / (to_hex(key) + kSuffix); }

std::optional<std::vector<std::byte>> DiskCache::load(Hash128 key) {
  const fs::path path = path_of(key);
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.descriptor < 0) return std::nullopt;
  Header header;
  struct stat status;
  std::vector<std::byte> bytes;
  const bool is_whole = [&] {
    if (::fstat(file.descriptor, &status) != 0 || !S_ISREG(status.st_mode)) return false;
    if (!read_all(file.descriptor, &header, sizeof header)) return false;
    if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0 || header.format != kFormat ||
        header.header_bytes != sizeof header || header.key != key || header.maker != maker_) {
      return false;
    }
    // The size on disk bounds what a damaged header can ask for.
    if (header.payload_bytes != static_cast<uint64_t>(status.st_size) - sizeof header) return false;
    bytes.resize(header.payload_bytes);
    return read_all(file.descriptor, bytes.data(), bytes.size()) &&
           hash128(bytes) == header.checksum;
  }();
  if (!is_whole) {
    log(Category::Cache, "deleted the damaged or foreign entry {}", path.string());
    ::unlink(path.c_str());
    return std::nullopt;
  }
  ::futimens(file.descriptor, nullptr);  // used now; a failure (read-only folder) does no harm
  return bytes;
}

std::vector<Hash128> DiskCache::keys() const {
  std::vector<Hash128> result;
  for (const Entry& entry : list_entries(folder_)) {
    const std::string name = entry.path.stem().string();
    Hash128 key;
    const auto read = [&](size_t begin, uint64_t& word) {
      const char* end = name.data() + begin + 16;
      return std::from_chars(name.data() + begin, end, word, 16).ptr == end;
    };
    if (name.size() == 32 && read(0, key.high) && read(16, key.low)) result.push_back(key);
  }
  return result;
}

bool DiskCache::prepare_folder() {
  const std::lock_guard lock(mutex_);
  if (is_prepared_) return true;
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) {
    errno = error.value();
    return false;
  }
  is_prepared_ = true;
  return true;
}

void DiskCache::give_up(const char* what) {
  const int reason = errno;
  if (!is_writable_.exchange(false)) return;
  warn(
      "the kernel cache {} can't be used ({}: {}); kernels compiled now won't be kept. Set "
      "TENON_CACHE_DIR to a folder that can be written, or TENON_CACHE=0",
      folder_.string(), what, std::strerror(reason));
}

void DiskCache::store(Hash128 key, std::span<const std::byte> bytes) {
  if (!is_writable_.load(std::memory_order_relaxed)) return;
  if (!prepare_folder()) return give_up("creating it");
  write_entry(key, bytes);
}

void DiskCache::write_entry(Hash128 key, std::span<const std::byte> bytes) {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.format = kFormat;
  header.header_bytes = sizeof header;
  header.key = key;
  header.maker = maker_;
  header.checksum = hash128(bytes);
  header.payload_bytes = bytes.size();

  const fs::path temporary =
      folder_ / fmt::format("{}{}-{}", kTemporary, ::getpid(), written_.fetch_add(1));
  {
    const File file(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR));
    if (file.descriptor < 0) return give_up("creating an entry");
    if (!write_all(file.descriptor, &header, sizeof header) ||
        !write_all(file.descriptor, bytes.data(), bytes.size())) {
      give_up("writing an entry");
      ::unlink(temporary.c_str());
      return;
    }
  }
  if (::rename(temporary.c_str(), path_of(key).c_str()) != 0) {
    give_up("renaming an entry");
    ::unlink(temporary.c_str());
    return;
  }
  const std::lock_guard lock(mutex_);
  if (known_bytes_ < 0) {
    known_bytes_ = 0;
    for (const Entry& entry : list_entries(folder_)) known_bytes_ += entry.bytes;
  } else {
    known_bytes_ += static_cast<int64_t>(sizeof header + bytes.size());
  }
  if (known_bytes_ > limit_bytes_) evict();
}

// Deletes the least recently used entries until a quarter of the limit is free. Called with the
// lock.
void DiskCache::evict() {
  std::vector<Entry> entries = list_entries(folder_);
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.used < b.used; });
  int64_t total = 0;
  for (const Entry& entry : entries) total += entry.bytes;
  size_t deleted = 0;
  for (; deleted < entries.size() && total > limit_bytes_ / 4 * 3; ++deleted) {
    std::error_code ignored;
    fs::remove(entries[deleted].path, ignored);
    total -= entries[deleted].bytes;
  }
  known_bytes_ = total;
  log(Category::Cache, "evicted {} entries, {} bytes left", deleted, total);
}

std::optional<fs::path> cache_folder() {
  if (!env_flag("TENON_CACHE", true)) return std::nullopt;
  if (const auto folder = env_value("TENON_CACHE_DIR")) return fs::path(*folder);
  if (const auto folder = env_value("XDG_CACHE_HOME")) return fs::path(*folder) / "tenon";
  if (const auto home = env_value("HOME")) return fs::path(*home) / ".cache" / "tenon";
  static std::once_flag said;
  std::call_once(said, [] {
    warn(
        "no folder for the kernel cache: HOME, XDG_CACHE_HOME and TENON_CACHE_DIR are unset; "
        "kernels won't be kept");
  });
  return std::nullopt;
}

int64_t cache_limit_bytes() { return env_bytes("TENON_CACHE_SIZE", int64_t{1} << 30); }

std::shared_ptr<DiskCache> ProcessCache::open(const std::filesystem::path& folder) const {
  return std::make_shared<DiskCache>(folder, cache_limit_bytes(), maker_());
}

std::shared_ptr<DiskCache> ProcessCache::get() {
  const std::lock_guard lock(mutex_);
  if (!is_known_) {
    if (const auto folder = cache_folder()) {
      disk_ = open(subfolder_.empty() ? *folder : *folder / subfolder_);
    }
    is_known_ = true;
  }
  return disk_;
}

void ProcessCache::set_folder(const std::optional<std::filesystem::path>& folder) {
  auto disk = folder ? open(*folder) : nullptr;
  const std::lock_guard lock(mutex_);
  is_known_ = true;
  disk_ = std::move(disk);
}

}  // namespace tenon::jit

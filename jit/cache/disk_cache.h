// Compiled objects on disk, shared by all processes of a user.
//
// One file an entry, named by its 128-bit key: a header (magic, format, key, what made it, size,
// checksum) and the bytes. Files are written under another name and renamed, so a reader sees a
// whole entry or none; whatever is damaged or foreign is a miss and is deleted. The folder is
// bounded: past the limit the least recently used entries go. A folder that can't be written gives
// one warning, and the process goes on without it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/hash.h"

namespace tenon::jit {

class DiskCache {
 public:
  // `maker` says what the entries depend on besides their key: generator, compiler, processor.
  DiskCache(std::filesystem::path folder, int64_t limit_bytes, Hash128 maker);

  std::optional<std::vector<std::byte>> load(Hash128 key);
  void store(Hash128 key, std::span<const std::byte> bytes);

  std::vector<Hash128> keys() const;  // of the entries there are

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path path_of(Hash128 key) const;

 private:
  bool prepare_folder();
  void write_entry(Hash128 key, std::span<const std::byte> bytes);
  void give_up(const char* what);
  void evict();

  const std::filesystem::path folder_;
  const int64_t limit_bytes_;
  const Hash128 maker_;
  std::atomic<bool> is_writable_{true};
  std::atomic<uint32_t> written_{0};
  std::mutex mutex_;  // of the members below
  bool is_prepared_ = false;
  int64_t known_bytes_ = -1;  // in the folder, as far as this process knows; -1: not yet counted
};

// The disk cache of one kind of code in this process: opened when it is first asked for, replaced
// only by tests and settings.
class ProcessCache {
 public:
  // Its folder in that of the environment ("": that itself), and what makes the entries.
  ProcessCache(std::string subfolder, Hash128 (*maker)())
      : subfolder_(std::move(subfolder)), maker_(maker) {}

  std::shared_ptr<DiskCache> get();  // null: none
  void set_folder(const std::optional<std::filesystem::path>& folder);

 private:
  std::shared_ptr<DiskCache> open(const std::filesystem::path& folder) const;

  const std::string subfolder_;
  Hash128 (*const maker_)();
  std::mutex mutex_;
  bool is_known_ = false;
  std::shared_ptr<DiskCache> disk_;
};

// Folder of the environment: TENON_CACHE_DIR, else $XDG_CACHE_HOME/tenon, else ~/.cache/tenon.
// Nothing if TENON_CACHE=0, or if none is set (then with a warning).
std::optional<std::filesystem::path> cache_folder();
// TENON_CACHE_SIZE ("512M"); 1 GiB.
int64_t cache_limit_bytes();

}  // namespace tenon::jit

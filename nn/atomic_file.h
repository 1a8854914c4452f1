// A file that is either wholly written or not there: what was there before stays until commit().
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace tenon {

// Writes to a temporary file in the target's folder; commit() makes it durable (fsync), moves it
// over the target (rename, atomic in POSIX) and makes that durable (fsync of the folder). Killed or
// failing before the rename, it leaves the target as it was. OSError for what the system refuses.
class AtomicFile {
 public:
  // A link is followed; anything there that is not a regular file is refused.
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();  // without commit(): removes the temporary file
  AtomicFile(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void commit();

 private:
  [[noreturn]] void fail_with_errno(const char* doing) const;

  std::string path_, folder_, temporary_;
  int descriptor_ = -1;
};

}  // namespace tenon

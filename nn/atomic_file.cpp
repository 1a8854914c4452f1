#include "nn/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "core/error.h"

namespace tenon {

namespace {

// The path behind links, as far as it exists.
std::string resolved(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  return real ? std::string(real.get()) : path;
}

}  // namespace

void AtomicFile::fail_with_errno(const char* doing) const {
  const int code = errno;
  fail(ErrorKind::OS, "{} '{}': {} ({})", doing, path_, std::strerror(code), code);
}

AtomicFile::AtomicFile(const std::string& path) : path_(resolved(path)) {
  check(!path_.empty() && path_.find('\0') == std::string::npos, ErrorKind::OS,
        "saving: '{}' is no path of a file", path_);
  const size_t slash = path_.rfind('/');
  folder_ = slash == std::string::npos ? "." : path_.substr(0, std::max<size_t>(slash, 1));
  const std::string name = slash == std::string::npos ? path_ : path_.substr(slash + 1);

  struct stat old;
  const bool exists = ::stat(path_.c_str(), &old) == 0;
  check(!exists || S_ISREG(old.st_mode), ErrorKind::OS, "saving: '{}' is not a regular file",
        path_);
  static std::atomic<unsigned> counter{0};
  do {
    temporary_ = fmt::format("{}/.{}.{}-{}.tmp", folder_, name.substr(0, 200), ::getpid(),
                             counter.fetch_add(1));
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) fail_with_errno("saving");
  if (exists && ::fchmod(descriptor_, old.st_mode & 07777) != 0) {
    const int code = errno;
    ::close(std::exchange(descriptor_, -1));
    ::unlink(temporary_.c_str());
    errno = code;
    fail_with_errno("saving");
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    constexpr size_t kMost = size_t{1} << 30;  // Linux writes at most 2 GiB a call
    const ssize_t written = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kMost));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail_with_errno("writing");
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail_with_errno("writing");
  if (::close(std::exchange(descriptor_, -1)) != 0) fail_with_errno("writing");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_with_errno("replacing");
  temporary_.clear();
  // The data are safe under their new name; some file systems can't sync a folder (EINVAL).
  const int folder = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  const bool synced = ::fsync(folder) == 0 || errno == EINVAL;
  ::close(folder);
  if (!synced) fail_with_errno("writing the folder of");
}

}  // namespace tenon

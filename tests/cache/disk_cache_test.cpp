// FAULTS 23 to 25: damaged entries, folders that can't be used, several processes, eviction.
#include "jit/cache/disk_cache.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <string>

#include "core/log.h"
#include "tests/cache/temporary_folder.h"

using namespace tenon;
using jit::DiskCache;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kLimit = 1 << 20;
const Hash128 kMaker{1, 2};

std::vector<std::byte> payload(size_t bytes, int seed) {
  std::vector<std::byte> result(bytes);
  for (size_t i = 0; i < bytes; ++i) result[i] = static_cast<std::byte>(i * 31 + seed);
  return result;
}

std::vector<std::string> warnings;
void remember(std::string_view message) { warnings.emplace_back(message); }

size_t count_files(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), {}));
}

}  // namespace

TEST_CASE("what was stored is loaded, also by another instance") {
  const TemporaryFolder folder;
  DiskCache cache(folder.path / "deep" / "er", kLimit, kMaker);
  CHECK(!cache.load({3, 4}));
  cache.store({3, 4}, payload(5000, 1));
  CHECK(cache.load({3, 4}) == payload(5000, 1));
  CHECK(!cache.load({4, 3}));
  cache.store({3, 4}, payload(10, 2));
  CHECK(DiskCache(cache.folder(), kLimit, kMaker).load({3, 4}) == payload(10, 2));
  cache.store({5, 5}, {});
  CHECK(cache.load({5, 5})->empty());
  CHECK(count_files(cache.folder()) == 2);  // nothing temporary is left
}

TEST_CASE("every truncation and every flipped byte is a miss, and deleted") {
  const TemporaryFolder folder;
  DiskCache cache(folder.path, kLimit, kMaker);
  const Hash128 key{7, 8};
  cache.store(key, payload(100, 3));
  std::ifstream whole(cache.path_of(key), std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(whole)), {});
  const auto replace = [&](const std::string& bytes) {
    std::ofstream(cache.path_of(key), std::ios::binary) << bytes;
  };
  for (size_t size = 0; size < text.size(); ++size) {
    replace(text.substr(0, size));
    CHECK(!cache.load(key));
    CHECK(!fs::exists(cache.path_of(key)));
  }
  for (size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    replace(damaged);
    CHECK(!cache.load(key));
    CHECK(!fs::exists(cache.path_of(key)));
  }
  replace(text + "x");
  CHECK(!cache.load(key));
  replace(text);
  CHECK(cache.load(key));
}

TEST_CASE("an entry of another processor, version or key is a miss") {
  const TemporaryFolder folder;
  DiskCache cache(folder.path, kLimit, kMaker), other(folder.path, kLimit, Hash128{1, 3});
  cache.store({1, 1}, payload(10, 1));
  CHECK(!other.load({1, 1}));
  CHECK(!fs::exists(cache.path_of({1, 1})));
  cache.store({1, 1}, payload(10, 1));
  fs::copy_file(cache.path_of({1, 1}), cache.path_of({2, 2}));
  CHECK(!cache.load({2, 2}));
  fs::create_directory(cache.path_of({3, 3}));
  CHECK(!cache.load({3, 3}));
}

TEST_CASE("a folder that can't be used gives one warning, and everything goes on") {
  const TemporaryFolder folder;
  std::ofstream(folder.path / "file") << "not a folder";
  set_warning_handler(remember);
  warnings.clear();
  DiskCache cache(folder.path / "file" / "cache", kLimit, kMaker);
  for (uint64_t i = 0; i < 3; ++i) cache.store({i, 1}, payload(10, 1));
  CHECK(!cache.load({1, 1}));
  CHECK(warnings.size() == 1);
  CHECK(warnings[0].find("TENON_CACHE_DIR") != std::string::npos);

  // A full device: writing to it fails where opening does not.
  if (fs::exists("/dev/full")) {
    const TemporaryFolder full;
    warnings.clear();
    DiskCache limited(full.path, kLimit, kMaker);
    // Root may write to read-only folders, so a limit on file sizes stands in for a full disk.
    const pid_t child = ::fork();
    if (child == 0) {
      ::signal(SIGXFSZ, SIG_IGN);
      const rlimit none{50, 50};
      ::setrlimit(RLIMIT_FSIZE, &none);
      limited.store({1, 1}, payload(1000, 1));
      limited.store({2, 1}, payload(1000, 1));
      const bool is_right =
          warnings.size() == 1 && !limited.load({1, 1}) && count_files(full.path) == 0;
      ::_exit(is_right ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  set_warning_handler(nullptr);
}

TEST_CASE("the environment chooses the folder") {
  const auto set = [](const char* name, const char* value) {
    if (value)
      ::setenv(name, value, 1);
    else
      ::unsetenv(name);
  };
  const std::string home = ::getenv("HOME") ? ::getenv("HOME") : "";
  set("TENON_CACHE", nullptr);
  set("TENON_CACHE_DIR", "/a");
  CHECK(jit::cache_folder() == fs::path("/a"));
  set("TENON_CACHE_DIR", nullptr);
  set("XDG_CACHE_HOME", "/b");
  CHECK(jit::cache_folder() == fs::path("/b/tenon"));
  set("XDG_CACHE_HOME", nullptr);
  set("HOME", "/c");
  CHECK(jit::cache_folder() == fs::path("/c/.cache/tenon"));
  set_warning_handler(remember);
  warnings.clear();
  set("HOME", nullptr);
  CHECK(!jit::cache_folder());
  CHECK(warnings.size() == 1);
  set("HOME", "/c");
  set("TENON_CACHE", "0");
  CHECK(!jit::cache_folder());
  CHECK(warnings.size() == 1);
  set("TENON_CACHE", nullptr);
  set("HOME", home.c_str());
  set_warning_handler(nullptr);
}

TEST_CASE("past the limit the least recently used go") {
  const TemporaryFolder folder;
  DiskCache cache(folder.path, 10 * 1072, kMaker);
  for (uint64_t i = 0; i < 10; ++i) {
    cache.store({i, 9}, payload(1000, 1));
    const auto age = std::chrono::minutes(100 - static_cast<int>(i));
    fs::last_write_time(cache.path_of({i, 9}), fs::file_time_type::clock::now() - age);
  }
  CHECK(count_files(folder.path) == 10);
  CHECK(cache.load({0, 9}));  // now the most recently used
  cache.store({10, 9}, payload(1000, 1));
  CHECK(count_files(folder.path) == 7);
  CHECK(cache.load({0, 9}));
  CHECK(cache.load({10, 9}));
  CHECK(!cache.load({1, 9}));
  CHECK(cache.load({9, 9}));
}

TEST_CASE("many processes write and read one folder; one is killed while it does") {
  const TemporaryFolder folder;
  std::vector<pid_t> children;
  for (int process = 0; process < 8; ++process) {
    const pid_t child = ::fork();
    if (child == 0) {
      DiskCache cache(folder.path, 40 * 2000, kMaker);
      bool is_right = true;
      for (int round = 0; round < 300; ++round) {
        const auto number = static_cast<uint64_t>(round % 60);
        const auto expected = payload(1000 + 10 * number, static_cast<int>(number));
        const auto found = cache.load({number, 1});
        is_right = is_right && (!found || *found == expected);
        if (!found) cache.store({number, 1}, expected);
        if (process == 0 && round == 100) ::kill(::getpid(), SIGKILL);
      }
      ::_exit(is_right ? 0 : 1);
    }
    children.push_back(child);
  }
  for (size_t process = 0; process < children.size(); ++process) {
    int status = 0;
    ::waitpid(children[process], &status, 0);
    if (process == 0)
      CHECK(WIFSIGNALED(status));
    else
      CHECK(status == 0);
  }
}

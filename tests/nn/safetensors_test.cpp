// Tensors in files: rows 30 and 31 of the fault table (damaged files, interrupted saves).
#include "nn/safetensors.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "core/allocator.h"
#include "core/error.h"

using namespace tenon;
namespace fs = std::filesystem;

namespace {

// A folder of its own for each test, removed at the end.
struct TemporaryFolder {
  fs::path path;
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "tenon-test-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return (path / name).string(); }
};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string with_length(const std::string& header, const std::string& data = "") {
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), 8);
  return file + header + data;
}

Tensor floats(std::initializer_list<int64_t> dims, std::vector<float> numbers) {
  const Dims extents(dims);
  return from_bytes(DType::Float32, extents, std::as_bytes(std::span(numbers)));
}

std::string message_of(const std::string& path) {
  try {
    load_safetensors(path);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::Value);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("what is saved is loaded: names, dtypes, shapes, elements, order, metadata") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.safetensors";
  const uint8_t bytes[] = {1, 0, 1};
  const int64_t three = 3;
  const TensorDict saved{
      {"flags", from_bytes(DType::Bool, {&three, 1}, std::as_bytes(std::span(bytes)))},
      {"w\"\\\n\u00e9", floats({2, 2}, {1.5f, -0.0f, 3e38f, 1e-40f})},
      {"scalar", floats({}, {7})},
      {"none", floats({0, 3}, {})},
  };
  save_safetensors(path, saved, {{"format", "pt"}, {"note", "a \"b\""}});
  const SafetensorsFile loaded = load_safetensors(path);
  REQUIRE(loaded.tensors.size() == saved.size());
  for (size_t i = 0; i < saved.size(); ++i) {
    CHECK(loaded.tensors[i].first == saved[i].first);
    CHECK(loaded.tensors[i].second.type_id() == saved[i].second.type_id());
    CHECK(loaded.tensors[i].second.to_bytes() == saved[i].second.to_bytes());
  }
  CHECK(loaded.metadata == safetensors::Metadata{{"format", "pt"}, {"note", "a \"b\""}});
}

TEST_CASE("a damaged file is a ValueError that says what is wrong, before anything is allocated") {
  const TemporaryFolder folder;
  const std::string path = folder / "damaged.safetensors";
  const std::string eight(8, 'x');
  const struct {
    std::string file, expected;
  } cases[] = {
      {"", "too few"},
      {"1234567", "too few"},
      {std::string(8, '\0'), "doesn't start with"},
      {std::string(8, '\xff'), "claims a header"},
      {with_length("{}").substr(0, 9), "claims a header"},
      {with_length("{}", "x"), "the file has 1 bytes of data"},
      {with_length("{"), "text ends"},
      {with_length("{}}"), "after the end"},
      {with_length("[]"), "doesn't start with"},
      {with_length("{\"\xff\": 1}"), "not UTF-8"},
      {with_length(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", eight + "y"),
       "the file has 9"},
      {with_length(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "1234"),
       "[0, 8] in a file with 4"},
      {with_length(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", eight), "needs 12"},
      {with_length(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", eight),
       "after a hole from 0"},
      {with_length(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                   R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
                   eight),
       "inside the tensor that ends at 4"},
      {with_length(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                   R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                   eight),
       "'a' comes twice"},
      {with_length(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                   eight),
       "'dtype' comes twice"},
      {with_length(R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", eight),
       "unknown dtype 'F31'"},
      {with_length(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", eight),
       "whole number"},
      {with_length(R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", eight),
       "whole number"},
      {with_length(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", eight), "[8, 0]"},
      {with_length(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", eight), "two"},
      {with_length(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}})", eight), "two"},
      {with_length(R"({"a":{"dtype":"F32","shape":[2]}})", eight), "needs dtype"},
      {with_length(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", eight),
       "unknown field 'x'"},
      {with_length(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})"),
       "too many elements"},
      {with_length(R"({"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})"),
       "too many elements"},
      {with_length(R"({"a":{"dtype":"U8","shape":[0,9223372036854775807,9223372036854775807],)"
                   R"("data_offsets":[0,0]}})"),
       "too many elements"},
      {with_length(R"({"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,0]}})"),
       "above 2^63"},
      {with_length(R"({"a":{"dtype":"U8","shape":[18446744073709551617],"data_offsets":[0,1]}})",
                   "x"),
       "above 2^63"},
      {with_length(R"({"a\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"), "surrogate"},
      {with_length(R"({"__metadata__":{"a":1}})"), "'\"' expected"},
  };
  for (const auto& [file, expected] : cases) {
    CAPTURE(expected);
    write_file(path, file);
    const auto before = allocator_stats().allocations;
    const std::string message = message_of(path);
    CAPTURE(message);
    CHECK(message.find(expected) != std::string::npos);
    CHECK(allocator_stats().allocations == before);
  }
}

TEST_CASE("no flipped byte, and no cut, of a good file does harm") {
  const TemporaryFolder folder;
  const std::string path = folder / "flipped.safetensors";
  save_safetensors(path, {{"a", floats({2}, {1, 2})}, {"b", floats({1, 3}, {3, 4, 5})}});
  const std::string good = read_file(path);
  std::mt19937 random(0);
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << random() % 8));
    write_file(path, bad);
    try {
      const size_t count = load_safetensors(path).tensors.size();
      CHECK(count == 2);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::Value);
    }
    write_file(path, good.substr(0, at));
    CHECK(message_of(path) != "");
  }
}

TEST_CASE("a missing file and a folder are OSError and ValueError") {
  const TemporaryFolder folder;
  try {
    load_safetensors(folder / "missing");
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::OS);
  }
  CHECK(message_of(folder.path.string()).find("not a regular file") != std::string::npos);
}

TEST_CASE("saving refuses names that can't be read back and targets that are no files") {
  const TemporaryFolder folder;
  const Tensor x = floats({1}, {1});
  CHECK_THROWS_AS(save_safetensors(folder / "a", {{"x", x}, {"x", x}}), Error);
  CHECK_THROWS_AS(save_safetensors(folder / "a", {{"__metadata__", x}}), Error);
  CHECK_THROWS_AS(save_safetensors(folder / "a", {{"\xff", x}}), Error);
  CHECK_THROWS_AS(save_safetensors("/dev/null", {{"x", x}}), Error);
  CHECK_THROWS_AS(save_safetensors(folder / "no/such/folder", {{"x", x}}), Error);
  CHECK(fs::is_empty(folder.path));
}

TEST_CASE("saving through a link replaces what it points to and keeps the permissions") {
  const TemporaryFolder folder;
  save_safetensors(folder / "real", {{"x", floats({1}, {1})}});
  fs::permissions(folder / "real", fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("real", folder / "link");
  save_safetensors(folder / "link", {{"x", floats({1}, {2})}});
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(load_safetensors(folder / "real").tensors[0].second.item<float>() == 2);
  CHECK(fs::status(folder / "real").permissions() ==
        (fs::perms::owner_read | fs::perms::owner_write));
}

// A child saves with so many bytes of disk; at every limit the old file is whole afterwards.
TEST_CASE("a full disk at any byte, or a kill at any write, leaves the old file intact") {
  const TemporaryFolder folder;
  const std::string path = folder / "model";
  save_safetensors(path, {{"x", floats({2}, {1, 2})}});
  const std::string old = read_file(path);
  const TensorDict larger{{"x", floats({4}, {1, 2, 3, 4})}, {"y", floats({1}, {5})}};
  save_safetensors(folder / "whole", larger);
  const size_t whole = fs::file_size(folder / "whole");

  for (const bool killed : {false, true}) {
    for (size_t limit = 0; limit < whole; limit += 3) {
      CAPTURE(limit);
      const pid_t child = ::fork();
      if (child == 0) {
        // Beyond the limit a write fails (EFBIG), or, by default, SIGXFSZ kills the process.
        std::signal(SIGXFSZ, killed ? SIG_DFL : SIG_IGN);
        const struct rlimit no_core{0, 0}, bytes{limit, limit};
        ::setrlimit(RLIMIT_CORE, &no_core);
        ::setrlimit(RLIMIT_FSIZE, &bytes);
        try {
          save_safetensors(path, larger);
        } catch (const Error& error) {
          ::_exit(error.kind() == ErrorKind::OS ? 7 : 1);
        }
        ::_exit(0);
      }
      int status = 0;
      REQUIRE(::waitpid(child, &status, 0) == child);
      if (killed) {
        CHECK(WIFSIGNALED(status));
      } else {
        CHECK(WEXITSTATUS(status) == 7);
      }
      CHECK(read_file(path) == old);
      const auto files = std::distance(fs::directory_iterator(folder.path), {});
      if (!killed) CHECK(files == 2);  // no temporary file stays behind
    }
  }
  save_safetensors(path, larger);
  CHECK(read_file(path) == read_file(folder / "whole"));
}

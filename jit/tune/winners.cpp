#include "jit/tune/winners.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <mutex>
#include <sstream>
#include <unordered_map>
#include <unordered_set>

#include "core/log.h"
#include "core/threads.h"
#include "jit/cache/disk_cache.h"
#include "jit/jit_hash.h"
#include "jit/llvm/compiler.h"
#include "jit/plan/counters.h"
#include "jit/plan/key.h"

namespace tenon::jit {
namespace {

constexpr const char* kForm = "tenon-tuned 1";
constexpr int64_t kMostBytes = 16 << 20;

Hash128 maker() {
  static const Hash128 hash = hash128(llvm_jit::host_description() + " " TENON_JIT_HASH);
  return hash;
}

std::string text_of(const Winner& w) {
  return fmt::format("{}\n{}\n{}\n{}\n{} {:.9g} {:.9g} {} {:.9g}\n", kForm, w.what, w.sizes,
                     write(w.choices), w.threads, w.before, w.after, w.trials, w.seconds);
}

std::optional<Winner> winner_of(std::span<const std::byte> bytes) {
  std::istringstream in(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  Winner w;
  std::string form, choices;
  std::getline(in, form);
  std::getline(in, w.what);
  std::getline(in, w.sizes);
  std::getline(in, choices);
  if (form != kForm || !(in >> w.threads >> w.before >> w.after >> w.trials >> w.seconds)) {
    return std::nullopt;
  }
  const auto read = read_choices(choices);
  if (!read) return std::nullopt;
  w.choices = *read;
  return w;
}

class Winners {
 public:
  static Winners& instance() {
    static Winners* const table = new Winners;  // threads may run until the process ends
    return *table;
  }

  std::optional<Winner> find(const Program& program) {
    {
      const std::lock_guard lock(mutex_);
      open();
      if (known_.empty() && on_disk_.empty()) return std::nullopt;
    }
    const Hash128 key = tuning_key(program);
    const std::lock_guard lock(mutex_);
    return find_locked(key);
  }

  void keep(Hash128 key, Winner winner) {
    const std::string text = text_of(winner);
    const std::lock_guard lock(mutex_);
    open();
    if (disk_) {
      disk_->store(key, std::as_bytes(std::span(text)));
      drop_old(disk_->folder().parent_path());
    }
    known_.insert_or_assign(key, std::move(winner));
  }

  std::vector<Winner> all() {
    const std::lock_guard lock(mutex_);
    open();
    if (disk_) {
      for (Hash128 key : disk_->keys()) on_disk_.insert(key);
    }
    for (Hash128 key : std::vector<Hash128>(on_disk_.begin(), on_disk_.end())) find_locked(key);
    std::vector<Winner> result;
    for (const auto& [key, winner] : known_) result.push_back(winner);
    std::sort(result.begin(), result.end(), [](const Winner& a, const Winner& b) {
      return a.before != b.before ? a.before > b.before : a.what < b.what;
    });
    return result;
  }

  void clear(bool on_disk) {
    const std::lock_guard lock(mutex_);
    if (on_disk && (open(), disk_)) {
      for (Hash128 key : disk_->keys()) {
        std::error_code ignored;
        std::filesystem::remove(disk_->path_of(key), ignored);
      }
    }
    is_open_ = false;
    known_.clear();
    on_disk_.clear();
    disk_.reset();
  }

 private:
  void open() {
    if (is_open_) return;
    is_open_ = true;
    const auto folder = cache_folder();
    if (!folder) return;
    disk_ = std::make_unique<DiskCache>(*folder / "tuned" / to_hex(maker()), kMostBytes, maker());
    for (Hash128 key : disk_->keys()) on_disk_.insert(key);
  }

  std::optional<Winner> find_locked(Hash128 key) {
    if (const auto it = known_.find(key); it != known_.end()) return it->second;
    if (on_disk_.erase(key) == 0) return std::nullopt;
    const std::filesystem::path path = disk_->path_of(key);
    std::error_code error;
    if (!std::filesystem::exists(path, error)) return std::nullopt;  // evicted
    const auto bytes = disk_->load(key);
    auto winner = bytes ? winner_of(*bytes) : std::nullopt;
    if (winner) {
      known_.emplace(key, *winner);
    } else {
      warn("the tuned choices in {} are damaged; they are ignored", path.string());
    }
    return winner;
  }

  // Of other machines and versions, which nobody has written to for long.
  static void drop_old(const std::filesystem::path& folder) {
    constexpr auto kKept = std::chrono::hours(24 * 90);
    std::error_code ignored;
    for (const auto& other : std::filesystem::directory_iterator(folder, ignored)) {
      const auto written = other.last_write_time(ignored);
      if (!ignored && std::filesystem::file_time_type::clock::now() - written > kKept) {
        std::filesystem::remove_all(other.path(), ignored);
      }
    }
  }

  std::mutex mutex_;
  bool is_open_ = false;
  std::unique_ptr<DiskCache> disk_;
  std::unordered_map<Hash128, Winner> known_;
  std::unordered_set<Hash128> on_disk_;  // and not yet read
};

}  // namespace

Hash128 tuning_key(const Program& program) {
  std::vector<uint64_t> words{static_cast<uint64_t>(num_threads()), disabled_optimizations(),
                              static_cast<uint64_t>(recompute()),
                              static_cast<uint64_t>(recompute_threshold())};
  for (const ProgramNode& node : program.nodes) {
    const Type& type = type_of(node.type);
    uint64_t word = 0;
    for (int64_t extent : type.dims()) {
      word = word * 64 + std::bit_width(static_cast<uint64_t>(extent));
    }
    words.push_back(word);
  }
  return combine(combine(key_of(program), maker()), hash128_of(std::span<const uint64_t>(words)));
}

std::optional<Winner> find_winner(const Program& program) {
  return Winners::instance().find(program);
}
void keep_winner(const Program& program, Winner winner) {
  Winners::instance().keep(tuning_key(program), std::move(winner));
}
std::vector<Winner> winners() { return Winners::instance().all(); }
void clear_winners(bool on_disk) { Winners::instance().clear(on_disk); }

}  // namespace tenon::jit

#include "jit/cuda/library.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <mutex>

#include "core/env.h"

namespace tenon::cuda {

namespace {

struct Folders {
  std::mutex mutex;
  std::vector<std::string> added;
};
Folders& folders() {
  static Folders* const instance = new Folders;
  return *instance;
}

void append_parts(std::vector<std::string>& to, const std::string& list) {
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(':', begin), list.size());
    if (end > begin) to.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
}

}  // namespace

void add_library_folder(std::string folder) {
  Folders& f = folders();
  const std::lock_guard lock(f.mutex);
  f.added.push_back(std::move(folder));
}

std::vector<std::string> library_folders() {
  std::vector<std::string> result;
  append_parts(result, env_string("TENON_CUDA_LIBRARY_PATH", ""));
  {
    Folders& f = folders();
    const std::lock_guard lock(f.mutex);
    result.insert(result.end(), f.added.begin(), f.added.end());
  }
  if (const auto prefix = env_value("CONDA_PREFIX")) result.push_back(*prefix + "/lib");
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const auto home = env_value(name)) result.push_back(*home + "/lib64");
  }
  result.emplace_back("/usr/local/cuda/lib64");
  return result;
}

Library Library::open(const std::string& path) {
  Library library;
  library.handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library.handle_) {
    library.path_ = path;
  } else {
    library.reason_ = dlerror();
  }
  return library;
}

Library Library::find(std::initializer_list<const char*> names) {
  const std::vector<std::string> places = library_folders();
  std::string broken;  // there, but not to be loaded
  for (const char* name : names) {
    for (const std::string& folder : places) {
      const std::string path = folder + "/" + name;
      std::error_code ignored;
      if (!std::filesystem::exists(path, ignored)) continue;
      Library library = open(path);
      if (library.is_loaded()) return library;
      broken += "; " + library.reason_;
    }
    Library library = open(name);  // wherever the system's loader looks
    if (library.is_loaded()) return library;
  }
  Library missing;
  missing.reason_ = fmt::format("{} not found by the system's loader or in {}{}",
                                fmt::join(names, ", "), fmt::join(places, ", "), broken);
  return missing;
}

void* Library::symbol(const char* name) const { return handle_ ? dlsym(handle_, name) : nullptr; }

}  // namespace tenon::cuda

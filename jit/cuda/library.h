// A shared library found and loaded at run time: one build serves machines with and without CUDA.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

namespace tenon::cuda {

// Folders that are searched before the system's own: TENON_CUDA_LIBRARY_PATH (separated by ':'),
// those added here (Python's site-packages), CONDA_PREFIX, CUDA_HOME or CUDA_PATH, /usr/local/cuda.
void add_library_folder(std::string folder);
std::vector<std::string> library_folders();

class Library {
 public:
  // The first of `names` that is found stays loaded for ever: code from it may run until the end.
  static Library find(std::initializer_list<const char*> names);
  static Library open(const std::string& path);

  bool is_loaded() const { return handle_ != nullptr; }
  const std::string& path() const { return path_; }
  // Why it isn't loaded: what was looked for, where, and the loader's own words.
  const std::string& reason() const { return reason_; }
  void* symbol(const char* name) const;  // null if there is none
  // The function of that name. Where there is none, and nothing was missing so far, `missing` says
  // which.
  template <class Function>
  void take(Function& function, const char* name, std::string& missing) const {
    function = reinterpret_cast<Function>(symbol(name));
    if (!function && missing.empty()) missing = path_ + " has no " + name;
  }

 private:
  void* handle_ = nullptr;
  std::string path_, reason_;
};

}  // namespace tenon::cuda
